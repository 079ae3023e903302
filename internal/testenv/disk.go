package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// A Disk is a small file system that a test may fill or make read-only.
type Disk struct {
	Dir string // where it is mounted; everyone may write there

	filled string
}

// NewDisk mounts a file system with the given options, such as "size=1m", until the test
// ends. Only root on Linux may; else t is skipped.
func NewDisk(t testing.TB, options string) *Disk {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root on Linux can mount a small disk")
	}
	dir, err := os.MkdirTemp("", "disk") //nolint:usetesting // other users must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := &Disk{Dir: dir, filled: filepath.Join(dir, "filled")}
	if err := whenIdle("mount", "-t", "tmpfs", "-o", "mode=1777,"+options, "tmpfs", dir); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := whenIdle("umount", dir); err != nil {
			t.Error(err)
		}
	})
	return d
}

// whenIdle runs mount or umount. A program that starts holds what this process had open
// when it was forked, until it is executed: so a disk may be busy for a moment.
func whenIdle(program string, args ...string) error {
	for end := time.Now().Add(goneTimeout); ; time.Sleep(pollInterval) {
		out, err := exec.Command(program, args...).CombinedOutput() //nolint:noctx // it takes no time
		if err == nil {
			return nil
		}
		if !bytes.Contains(out, []byte("busy")) || time.Now().After(end) {
			return fmt.Errorf("%s %q: %w: %s", program, args, err, out)
		}
	}
}

// Fill fills the disk.
func (d *Disk) Fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(d.filled)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, zeros{})
	_ = f.Close() // it is full
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill %s: %v, want that there is no space", d.Dir, err)
	}
}

// Empty removes what Fill has written. A program that starts may still hold the file open
// for a moment, as with whenIdle, and so its space, unless it is truncated.
func (d *Disk) Empty(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.Truncate(d.filled, 0), os.Remove(d.filled)); err != nil {
		t.Fatal(err)
	}
}

// Protect makes the disk read-only.
func (d *Disk) Protect(t *testing.T) {
	t.Helper()
	d.remount(t, "remount,ro")
}

// Unprotect makes the disk writable again.
func (d *Disk) Unprotect(t *testing.T) {
	t.Helper()
	d.remount(t, "remount,rw")
}

func (d *Disk) remount(t *testing.T, how string) {
	t.Helper()
	if err := whenIdle("mount", "-o", how, d.Dir); err != nil {
		t.Fatal(err)
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
