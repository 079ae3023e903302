package testenv

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// A Disk is a small file system that a test may fill or make read-only.
type Disk struct {
	Dir string // where it is mounted; everyone may write there

	filled string
}

// NewDisk mounts a file system of the given size, such as "1m", until the test ends. Only
// root on Linux may; else t is skipped.
func NewDisk(t testing.TB, size string) *Disk {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root on Linux can mount a small disk")
	}
	dir, err := os.MkdirTemp("", "disk") //nolint:usetesting // other users must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	d := &Disk{Dir: dir, filled: filepath.Join(dir, "filled")}
	if out, err := d.mount("-t", "tmpfs", "-o", "mode=1777,size="+size, "tmpfs"); err != nil {
		t.Skipf("cannot mount a small disk: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil { //nolint:gosec,noctx // after the test's context
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	return d
}

func (d *Disk) mount(args ...string) ([]byte, error) {
	return exec.Command("mount", append(args, d.Dir)...).CombinedOutput() //nolint:gosec,noctx // it takes no time
}

// Fill fills the disk.
func (d *Disk) Fill(t testing.TB) {
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

// Empty removes what Fill has written.
func (d *Disk) Empty(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.filled); err != nil {
		t.Fatal(err)
	}
}

// Protect makes the disk read-only, or writable again.
func (d *Disk) Protect(t testing.TB, readOnly bool) {
	t.Helper()
	how := "remount,rw"
	if readOnly {
		how = "remount,ro"
	}
	if out, err := d.mount("-o", how); err != nil {
		t.Fatalf("%s: %v: %s", how, err, out)
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
