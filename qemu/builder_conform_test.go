//go:build unix

package qemu_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	dir := t.TempDir()
	source = filepath.Join(dir, "source.qcow2")
	d := &fakeDisk{Size: 1 << 30, Files: map[string]fakeFile{}}
	if err := d.dump(sandbox.NewRoot(nil), "/"); err != nil {
		t.Fatal(err)
	}
	if err := d.write(source); err != nil {
		t.Fatal(err)
	}
	host = qemu.NewHost(filepath.Join(dir, "host"), &qemu.HostOptions{Programs: filepath.Join(dir, "programs"), Machines: 8})
	linkFakes(t, programsOf(host))
	return host, source
}

// programsOf returns the directory of the fake programs of a host.
func programsOf(host *qemu.Host) string { return filepath.Join(filepath.Dir(host.Dir()), "programs") }

// runningOf returns the directory with a file for each running fake of a host.
func runningOf(host *qemu.Host) string { return filepath.Join(programsOf(host), fakeRunning) }

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
	entries, err := os.ReadDir(runningOf(host))
	if errors.Is(err, os.ErrNotExist) {
		return all // QEMU is real
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(runningOf(host), e.Name()))
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

// TestBuilderConforms breaks each step of a bake; in the long form, also those of a machine
// that checks, which do the same as the first steps of a bake.
func TestBuilderConforms(t *testing.T) {
	t.Parallel()
	o := &baketest.ConformOptions{Parallel: true}
	if os.Getenv("BAKESTONE_LONG") == "" {
		o.Breaks = func(step string) bool { return !strings.HasPrefix(step, "check: ") }
	}
	baketest.Conform(t, func(t *testing.T) baketest.Platform {
		t.Helper()
		host, source := newHost(t)
		data := []qemu.DataDisk{{Name: "data", Size: 1 << 30}}
		return baketest.Platform{
			Builder:  qemu.Builder{Host: host, Source: qemu.DiskFile(source), Disks: data, Accelerator: qemu.TCG},
			Layers:   qemu.Builder{Host: host, Accelerator: qemu.TCG},
			Existing: func() []string { return existing(t, host) },
		}
	}, o)
}
