package memfs_test

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

func TestMount(t *testing.T) {
	f := memfs.New(nil)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(f *memfs.FS, name string) string {
		t.Helper()
		data, err := f.ReadFile(name)
		if err != nil {
			return err.Error()[strings.LastIndex(err.Error(), ":")+2:]
		}
		return string(data)
	}
	do(f.MkdirAll("/mnt/deep", 0o755))
	do(f.WriteFile("/mnt/hidden", []byte("below"), 0o644))
	do(f.WriteFile("/top", []byte("top"), 0o644))
	tree := f.NewTree()
	do(f.Mount(tree, "/mnt"))
	if got := read(f, "/mnt/hidden"); !strings.Contains(got, "no such file") {
		t.Errorf("a covered file reads %q, want it hidden", got)
	}
	do(f.MkdirAll("/mnt/etc/sub", 0o755))
	do(f.WriteFile("/mnt/etc/a", []byte("on the tree"), 0o600))
	do(f.Link("/mnt/etc/a", "/mnt/etc/b"))
	do(f.Symlink("/etc/a", "/mnt/abs"))
	if got := read(f, "/mnt/etc/../../top"); got != "top" {
		t.Errorf(".. out of a mount reads %q, want top", got)
	}
	for name, err := range map[string]error{"rename": f.Rename("/top", "/mnt/top"), "link": f.Link("/top", "/mnt/top")} {
		if !errors.Is(err, syscall.EXDEV) {
			t.Errorf("%s to another file system = %v, want EXDEV", name, err)
		}
	}
	if err := f.Remove("/mnt"); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("Remove of a mount = %v, want EBUSY", err)
	}
	inner, err := f.Chroot("/mnt")
	do(err)
	if got := read(inner, "/abs") + read(inner, "/../../etc/b"); got != "on the treeon the tree" {
		t.Errorf("in the chroot: %q", got)
	}
	do(f.MkdirAll("/dev", 0o755))
	do(f.WriteFile("/dev/x", nil, 0o644))
	do(f.Mkdir("/mnt/dev", 0o755))
	do(f.Bind("/dev", "/mnt/dev"))
	if got := read(inner, "/dev/x"); got != "" {
		t.Errorf("bound file reads %q, want it", got)
	}

	// A clone is the root file system only, an extract the tree only.
	clone, other := f.Clone(), f.Extract(tree)
	if got := read(clone, "/mnt/hidden") + read(clone, "/mnt/etc/a"); !strings.HasPrefix(got, "below") || strings.Contains(got, "tree") {
		t.Errorf("clone: %q, want what the mount covered", got)
	}
	do(f.WriteFile("/mnt/etc/a", []byte("later"), 0o600))
	info, err := other.Stat("/etc/a")
	do(err)
	if got := read(other, "/etc/a") + read(other, "/dev/x"); !strings.HasPrefix(got, "on the tree") || info.Mode() != 0o600 || info.Nlink() != 2 {
		t.Errorf("extract: %q, %v, want the tree as it was", got, info)
	}
	entries, err := other.ReadDir("/etc/sub/..")
	if err != nil || len(entries) != 3 {
		t.Errorf("ReadDir(/etc/sub/..) of the extract = %v, %v, want 3 entries", entries, err)
	}
	do(other.Rename("/etc", "/moved"))

	do(f.Unmount("/mnt/dev"))
	do(f.Unmount("/mnt"))
	if err := f.Unmount("/mnt"); !errors.Is(err, syscall.EINVAL) || read(f, "/mnt/hidden") != "below" {
		t.Errorf("second Unmount = %v, /mnt/hidden = %q, want EINVAL and below", err, read(f, "/mnt/hidden"))
	}
	again := f.Import(other)
	do(f.Mount(again, "/mnt/deep"))
	if got := read(f, "/mnt/deep/moved/b"); got != "on the tree" {
		t.Errorf("imported: %q", got)
	}
	used, _ := f.Usage()
	do(f.Unmount("/mnt/deep"))
	do(f.RemoveTree(again))
	if after, _ := f.Usage(); after >= used {
		t.Errorf("RemoveTree left %d of %d bytes", after, used)
	}
	if _, err := f.As(memfs.Cred{UID: 5}, 0).Chroot("/mnt"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Chroot by a user = %v, want a permission error", err)
	}
}
