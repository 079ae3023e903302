//go:build unix

package qemu_test

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/qemu"
)

// longOnly skips what takes long in the short form of the tests.
func longOnly(t *testing.T) {
	t.Helper()
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("takes long: set BAKESTONE_LONG=1")
	}
}

// newHost returns a Host with the fake QEMU and the path of a source disk.
func newHost(t *testing.T) (host *qemu.Host, source string) {
	t.Helper()
	t.Setenv(fakeRunning, t.TempDir())
	return fakeHost(t)
}

// fakeHost is newHost for parallel tests. Existing does not list its running machines.
func fakeHost(t *testing.T) (host *qemu.Host, source string) {
	t.Helper()
	dir := t.TempDir()
	source = filepath.Join(dir, "source.qcow2")
	d := &fakeDisk{Size: 1 << 30, Files: map[string]fakeFile{}}
	if err := d.dump(sandbox.NewRoot(nil), "/"); err != nil {
		t.Fatal(err)
	}
	if err := d.write(source); err != nil {
		t.Fatal(err)
	}
	return qemu.NewHost(filepath.Join(dir, "host"), &qemu.HostOptions{Programs: fakePrograms(t), Machines: 8}), source
}

// existing lists the images, the directories of machines and the running machines.
func existing(t *testing.T, host *qemu.Host) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"building/*", "images/*/*"} {
		found, err := filepath.Glob(filepath.Join(host.Dir(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if os.Getenv(fakeRunning) == "" {
		return all // QEMU is real
	}
	entries, err := os.ReadDir(os.Getenv(fakeRunning))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(os.Getenv(fakeRunning), e.Name()))
		if err != nil {
			continue // it has just ended
		}
		lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
		if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if lock.Type != syscall.F_UNLCK {
			all = append(all, "process "+e.Name())
		}
	}
	return all
}

func TestBuilderConforms(t *testing.T) {
	baketest.Conform(t, func(t *testing.T) baketest.Platform {
		t.Helper()
		host, source := newHost(t)
		data := []qemu.DataDisk{{Name: "data", Size: 1 << 30}}
		return baketest.Platform{
			Builder:  qemu.Builder{Host: host, Source: qemu.DiskFile(source), Disks: data, Accelerator: qemu.TCG},
			Layers:   qemu.Builder{Host: host, Accelerator: qemu.TCG},
			Existing: func() []string { return existing(t, host) },
		}
	}, nil)
}
