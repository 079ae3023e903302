package testenv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestDiskBesidePrograms uses a disk while other tests start programs. Each holds, until it
// is executed, what this process had open when it was forked.
func TestDiskBesidePrograms(t *testing.T) {
	disk := testenv.NewDisk(t, "size=1m")
	stop := make(chan struct{})
	var programs sync.WaitGroup
	for range 4 {
		programs.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.CommandContext(t.Context(), "true").Run()
				}
			}
		})
	}
	defer programs.Wait()
	defer close(stop)
	file := filepath.Join(disk.Dir, "file")
	for i := range 100 {
		disk.Fill(t)
		disk.Empty(t)
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatalf("write after Empty, round %d: %v", i, err)
		}
		disk.Protect(t)
		if err := os.WriteFile(file, []byte("x"), 0o600); err == nil {
			t.Fatalf("write after Protect, round %d: no error", i)
		}
		disk.Unprotect(t)
	}
}
