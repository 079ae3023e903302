// Package blockstore stores the contents of disks in blocks of 512 KiB, in one
// temporary file.
//
//	store := blockstore.New("")
//	defer store.Close()
//	block, err := store.Put(data)
//	err = store.Read(block, into)
//
// Equal blocks and blocks of zeros take no additional space. The space of a block
// is reused when the block is no longer referenced.
package blockstore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"weak"
)

// Size is the number of bytes of a block.
const Size = 512 << 10

// A Block is what one Put stored. It is immutable, and distinct from the blocks
// of other Puts, even of those with the same data.
type Block struct {
	sum  [sha256.Size]byte
	data *slot // nil for zeros
}

// Sum returns the SHA-256 of the data.
func (b *Block) Sum() [sha256.Size]byte { return b.sum }

// IsZero reports whether the block consists of zeros.
func (b *Block) IsZero() bool { return b.data == nil }

// slot is a place in the file. It is freed when no block refers to it.
type slot struct {
	index   int64
	written chan struct{} // closed when the data has been written
	err     error
}

// A Store holds blocks. Its methods may be called from any goroutine.
type Store struct {
	dir  string
	zero func() [sha256.Size]byte // the sum of zeros

	mu     sync.Mutex
	closed bool
	file   *os.File
	slots  map[[sha256.Size]byte]weak.Pointer[slot]
	free   []int64
	next   int64
}

// New returns an empty store. The file is created by the first Put, in dir, or in
// the default directory for temporary files if dir is empty.
func New(dir string) *Store {
	return &Store{dir: dir, zero: sync.OnceValue(zeroSum), slots: make(map[[sha256.Size]byte]weak.Pointer[slot])}
}

// errClosed is the error of using a closed store.
var errClosed = errors.New("block store is closed")

// Put stores a block of Size bytes.
func (s *Store) Put(data []byte) (*Block, error) { return s.PutSummed(data, sha256.Sum256(data)) }

// PutSummed is like Put, for a caller that knows the SHA-256 of the data.
func (s *Store) PutSummed(data []byte, sum [sha256.Size]byte) (*Block, error) {
	if len(data) != Size {
		return nil, fmt.Errorf("block of %d bytes, want %d", len(data), Size)
	}
	b := &Block{sum: sum}
	if b.sum == s.zero() {
		return b, nil
	}
	place, isNew, err := s.place(b.sum)
	if err != nil {
		return nil, err
	}
	if isNew {
		_, place.err = s.file.WriteAt(data, place.index*Size)
		close(place.written)
	}
	if <-place.written; place.err != nil {
		return nil, fmt.Errorf("write block: %w", place.err)
	}
	b.data = place
	return b, nil
}

func zeroSum() [sha256.Size]byte { return sha256.Sum256(make([]byte, Size)) }

// place returns the slot of the data with a sum, which is new if the caller has to
// write the data.
func (s *Store) place(sum [sha256.Size]byte) (_ *slot, isNew bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, errClosed
	}
	if known := s.slots[sum].Value(); known != nil {
		select {
		case <-known.written:
			if known.err == nil {
				return known, false, nil
			}
		default:
			return known, false, nil
		}
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "blocks-*")
		if err != nil {
			return nil, false, fmt.Errorf("create block store: %w", err)
		}
		_ = os.Remove(f.Name()) // where open files can be removed; see Close
		s.file = f
	}
	made := &slot{index: s.next, written: make(chan struct{})}
	if last := len(s.free) - 1; last >= 0 {
		made.index, s.free = s.free[last], s.free[:last]
	} else {
		s.next++
	}
	s.slots[sum] = weak.Make(made)
	runtime.AddCleanup(made, func(index int64) { s.release(sum, index) }, made.index)
	return made, true, nil
}

// release frees a slot whose blocks are gone.
func (s *Store) release(sum [sha256.Size]byte, index int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, index)
	if s.slots[sum].Value() == nil { // not stored again meanwhile
		delete(s.slots, sum)
	}
}

// Read reads the data of a block into a buffer of Size bytes.
func (s *Store) Read(b *Block, into []byte) error {
	if len(into) != Size {
		return fmt.Errorf("buffer of %d bytes, want %d", len(into), Size)
	}
	if b.IsZero() {
		clear(into)
		return nil
	}
	defer runtime.KeepAlive(b)
	if _, err := s.file.ReadAt(into, b.data.index*Size); err != nil {
		return fmt.Errorf("read block: %w", err)
	}
	return nil
}

// Allocated returns how many bytes the file has for blocks, including unused ones.
func (s *Store) Allocated() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next * Size
}

// InUse returns how many bytes of the file hold blocks.
func (s *Store) InUse() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (s.next - int64(len(s.free))) * Size
}

// Close removes the file. Reading and writing blocks then fails.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	_ = os.Remove(s.file.Name()) // usually removed when it was created
	return err
}

// A Disk is the contents of a disk: its written blocks by index. Others are zeros.
type Disk map[int]*Block

// Indexes returns the indexes of the written blocks, in order.
func (d Disk) Indexes() []int {
	all := make([]int, 0, len(d))
	for index := range d {
		all = append(all, index)
	}
	slices.Sort(all)
	return all
}

// Sum returns the SHA-256 of the sums of the blocks with given indexes, joined in
// that order.
func (d Disk) Sum(indexes []int) [sha256.Size]byte {
	h := sha256.New()
	for _, index := range indexes {
		sum := d[index].Sum()
		_, _ = h.Write(sum[:]) // a hash never fails
	}
	return [sha256.Size]byte(h.Sum(nil))
}
