package diskimage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A QCOW2Writer writes a qcow2 file whose clusters are written once, in any order. WriteAt
// must not be called concurrently.
type QCOW2Writer struct {
	file io.WriterAt
	size int64
	next int64            // offset of the next cluster
	at   map[int64]uint64 // entries of the clusters that were written
}

const (
	writeBits    = 19 // clusters of 512 KiB, as the blocks of EBS
	writeCluster = 1 << writeBits
)

// NewQCOW2Writer begins to write a disk of a size to an empty file.
func NewQCOW2Writer(file io.WriterAt, size int64) (*QCOW2Writer, error) {
	if size <= 0 || size > mostSize {
		return nil, fmt.Errorf("a disk of %d bytes", size)
	}
	return &QCOW2Writer{file: file, size: size, next: writeCluster, at: map[int64]uint64{}}, nil
}

// WriteCluster writes a cluster of 512 KiB at its offset on the disk. Nil is zeros.
func (w *QCOW2Writer) WriteCluster(off int64, data []byte) error {
	n := off >> writeBits
	if off%writeCluster != 0 || off < 0 || off >= w.size || data != nil && len(data) != writeCluster {
		return fmt.Errorf("a cluster of %d bytes at %d", len(data), off)
	}
	if _, written := w.at[n]; written {
		return fmt.Errorf("the cluster at %d is written twice", off)
	}
	if data == nil {
		w.at[n] = zeroFlag
		return nil
	}
	w.at[n] = uint64(w.next) | 1<<63 //nolint:gosec // positive
	_, err := w.file.WriteAt(data, w.next)
	w.next += writeCluster
	return err
}

// Close writes the tables, and the head at the end: the file is not a disk before.
func (w *QCOW2Writer) Close() error {
	const perTable = writeCluster / 8
	tables := map[int64][]byte{}
	for n, entry := range w.at {
		t := tables[n/perTable]
		if t == nil {
			t = make([]byte, writeCluster)
			tables[n/perTable] = t
		}
		binary.BigEndian.PutUint64(t[n%perTable*8:], entry)
	}
	l1Entries := (w.size + writeCluster*perTable - 1) / (writeCluster * perTable)
	l1 := make([]byte, (l1Entries*8+writeCluster-1)/writeCluster*writeCluster)
	indexes := make([]int64, 0, len(tables))
	for index := range tables {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	var failed error
	put := func(data []byte) int64 {
		at := w.next
		_, err := w.file.WriteAt(data, at)
		failed = errors.Join(failed, err)
		w.next += int64(len(data))
		return at
	}
	for _, index := range indexes {
		binary.BigEndian.PutUint64(l1[index*8:], uint64(put(tables[index]))|1<<63) //nolint:gosec // positive
	}
	l1At := put(l1)
	// The counts of references: each cluster has one, those of the counts as well.
	const perBlock = writeCluster / 2 // counts have 16 bits
	clusters := w.next / writeCluster
	blocks := int64(1)
	for (clusters+1+blocks+perBlock-1)/perBlock > blocks {
		blocks++
	}
	counts := make([]byte, blocks*writeCluster)
	for n := range clusters + 1 + blocks {
		binary.BigEndian.PutUint16(counts[n*2:], 1)
	}
	if blocks*8 > writeCluster {
		return errors.New("the disk is too large")
	}
	countsAt := put(counts)
	table := make([]byte, writeCluster)
	for n := range blocks {
		binary.BigEndian.PutUint64(table[n*8:], uint64(countsAt+n*writeCluster)) //nolint:gosec // positive
	}
	tableAt := put(table)
	const headerLength, countBits = 104, 4
	head := make([]byte, writeCluster)
	copy(head, qcow2Magic)
	binary.BigEndian.PutUint32(head[4:], 3)
	binary.BigEndian.PutUint32(head[20:], writeBits)
	binary.BigEndian.PutUint64(head[24:], uint64(w.size))    //nolint:gosec // positive
	binary.BigEndian.PutUint32(head[36:], uint32(l1Entries)) //nolint:gosec // small
	binary.BigEndian.PutUint64(head[40:], uint64(l1At))      //nolint:gosec // positive
	binary.BigEndian.PutUint64(head[48:], uint64(tableAt))   //nolint:gosec // positive
	binary.BigEndian.PutUint32(head[56:], 1)
	binary.BigEndian.PutUint32(head[96:], countBits)
	binary.BigEndian.PutUint32(head[100:], headerLength)
	_, err := w.file.WriteAt(head, 0)
	return errors.Join(failed, err)
}
