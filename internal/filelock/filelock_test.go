package filelock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bakestone-go/bakestone/internal/filelock"
)

// TestLock lets goroutines, each with a file of its own, take turns.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var all sync.WaitGroup
	var inside, most, count atomic.Int64 // the race detector does not see locks of files
	for range 8 {
		all.Go(func() {
			for range 50 {
				unlock, err := filelock.Lock(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), inside.Add(1)))
				count.Add(1)
				inside.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || count.Load() != 8*50 {
		t.Errorf("%d holders at once, %d turns; want 1, 400", most.Load(), count.Load())
	}
}

func TestLockEndsWithContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := filelock.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := filelock.Lock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("Lock(locked file) = %v, want %v", err, context.Canceled)
	}
	unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat after unlock = %v, want none", err)
	}
	if _, err := filelock.Lock(t.Context(), filepath.Join(t.TempDir(), "missing", "lock")); err == nil {
		t.Error("Lock in a missing directory = nil, want an error")
	}
}
