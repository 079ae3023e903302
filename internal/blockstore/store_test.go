package blockstore_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/blockstore"
)

func block(fill byte) []byte { return bytes.Repeat([]byte{fill}, blockstore.Size) }

func put(t *testing.T, s *blockstore.Store, data []byte) *blockstore.Block {
	t.Helper()
	b, err := s.Put(data)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return b
}

func newStore(t *testing.T) *blockstore.Store {
	t.Helper()
	s := blockstore.New(t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestEqualBlocksShareSpace(t *testing.T) {
	s := newStore(t)
	kept := []*blockstore.Block{put(t, s, block(1)), put(t, s, block(1)), put(t, s, block(0)), put(t, s, block(2))}
	if kept[0] == kept[1] {
		t.Error("two Puts returned the same block")
	}
	if !kept[2].IsZero() || kept[0].IsZero() {
		t.Errorf("IsZero = %t of zeros and %t of ones", kept[2].IsZero(), kept[0].IsZero())
	}
	if got := s.InUse(); got != 2*blockstore.Size {
		t.Errorf("InUse = %d, want two blocks", got)
	}
	into := block(9)
	for i, fill := range []byte{1, 1, 0, 2} {
		if err := s.Read(kept[i], into); err != nil || !bytes.Equal(into, block(fill)) {
			t.Errorf("Read of block %d: %v, or other data", i, err)
		}
		if kept[i].Sum() != sha256.Sum256(block(fill)) {
			t.Errorf("Sum of block %d is wrong", i)
		}
	}
}

func TestSpaceOfDroppedBlocksIsReused(t *testing.T) {
	s := newStore(t)
	kept := put(t, s, block(1))
	for fill := range byte(20) {
		put(t, s, block(fill+2))
		for range 100 { // cleanups run in the background after a collection
			if runtime.GC(); s.InUse() == blockstore.Size {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if got := s.Allocated(); got > 4*blockstore.Size {
		t.Errorf("Allocated = %d bytes for one block in use, want few", got)
	}
	into := make([]byte, blockstore.Size)
	if err := s.Read(kept, into); err != nil || into[0] != 1 {
		t.Errorf("Read of the kept block = %d, %v", into[0], err)
	}
}

func TestConcurrentPutsOfSameData(t *testing.T) {
	s := newStore(t)
	blocks := make([]*blockstore.Block, 64)
	fills := []byte{1, 2, 3, 4}
	var all sync.WaitGroup
	for i := range blocks {
		all.Go(func() {
			b, err := s.Put(block(fills[i%4]))
			if err != nil {
				t.Errorf("Put: %v", err)
			}
			blocks[i] = b
		})
	}
	all.Wait()
	into := make([]byte, blockstore.Size)
	for i, b := range blocks {
		if err := s.Read(b, into); err != nil || into[blockstore.Size-1] != fills[i%4] {
			t.Errorf("Read of block %d = %d, %v", i, into[blockstore.Size-1], err)
		}
	}
	if got := s.Allocated(); got != 4*blockstore.Size {
		t.Errorf("Allocated = %d, want four blocks", got)
	}
	runtime.KeepAlive(blocks)
}

func TestDiskOrder(t *testing.T) {
	s := newStore(t)
	d := blockstore.Disk{7: put(t, s, block(7)), 2: put(t, s, block(2)), 5: put(t, s, block(0))}
	indexes := d.Indexes()
	if len(indexes) != 3 || indexes[0] != 2 || indexes[1] != 5 || indexes[2] != 7 {
		t.Errorf("Indexes = %v, want 2 5 7", indexes)
	}
	h := sha256.New()
	for _, fill := range []byte{2, 0, 7} {
		sum := sha256.Sum256(block(fill))
		h.Write(sum[:])
	}
	if got := d.Sum(indexes); !bytes.Equal(got[:], h.Sum(nil)) {
		t.Errorf("Sum = %x, want %x", got, h.Sum(nil))
	}
}

func TestCloseRemovesFile(t *testing.T) {
	dir := t.TempDir()
	s := blockstore.New(dir)
	kept := put(t, s, block(1))
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
	if _, err := s.Put(block(2)); err == nil {
		t.Error("Put after Close succeeded")
	}
	if err := s.Read(kept, make([]byte, blockstore.Size)); err == nil {
		t.Error("Read after Close succeeded")
	}
	if _, err := s.Put(block(1)[1:]); err == nil {
		t.Error("Put of a short block succeeded")
	}
}
