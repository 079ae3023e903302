package memfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error = %v, want %v", what, err, want)
	}
}

func read(t *testing.T, f *memfs.FS, name string) string {
	t.Helper()
	data, err := f.ReadFile(name)
	must(t, err)
	return string(data)
}

func write(t *testing.T, f *memfs.FS, name, text string) {
	t.Helper()
	must(t, f.WriteFile(name, []byte(text), 0o644))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	must(t, f.MkdirAll("/d/e", 0o755))
	write(t, f, "/f", "x")
	must(t, f.Symlink("loop", "/loop"))
	must(t, f.Symlink("/nowhere", "/dangling"))
	stat := func(name string) error { _, err := f.Stat(name); return err }
	open := func(name string, flag int) error { _, err := f.OpenFile(name, flag, 0o644); return err }
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"stat missing file", stat("/nope"), fs.ErrNotExist},
		{"stat below missing directory", stat("/nope/x"), syscall.ENOENT},
		{"stat below file", stat("/f/x"), syscall.ENOTDIR},
		{"stat file with trailing slash", stat("/f/"), syscall.ENOTDIR},
		{"stat link loop", stat("/loop"), syscall.ELOOP},
		{"stat empty name", stat(""), syscall.ENOENT},
		{"stat dangling link", stat("/dangling"), fs.ErrNotExist},
		{"stat long name", stat("/" + strings.Repeat("x", 256)), syscall.ENAMETOOLONG},
		{"mkdir over file", f.Mkdir("/f", 0o755), fs.ErrExist},
		{"mkdir root", f.Mkdir("/", 0o755), fs.ErrExist},
		{"mkdir below file", f.MkdirAll("/f/x", 0o755), syscall.ENOTDIR},
		{"mkdir below missing directory", f.Mkdir("/nope/x", 0o755), fs.ErrNotExist},
		{"remove non-empty directory", f.Remove("/d"), syscall.ENOTEMPTY},
		{"remove root", f.Remove("/"), syscall.EBUSY},
		{"open directory for writing", open("/d", os.O_WRONLY), syscall.EISDIR},
		{"exclusive open", open("/f", os.O_CREATE|os.O_EXCL|os.O_WRONLY), fs.ErrExist},
		{"exclusive open of dangling link", open("/dangling", os.O_CREATE|os.O_EXCL|os.O_WRONLY), fs.ErrExist},
		{"create with trailing slash", open("/new/", os.O_CREATE|os.O_WRONLY), syscall.EISDIR},
		{"rename missing file", f.Rename("/nope", "/x"), fs.ErrNotExist},
		{"rename directory into itself", f.Rename("/d", "/d/e/x"), syscall.EINVAL},
		{"rename file over directory", f.Rename("/f", "/d"), syscall.EISDIR},
		{"rename directory over file", f.Rename("/d", "/f"), syscall.ENOTDIR},
		{"rename over non-empty directory", f.Rename("/d/e", "/d"), syscall.ENOTEMPTY},
		{"readlink file", func() error { _, err := f.Readlink("/f"); return err }(), syscall.EINVAL},
		{"link directory", f.Link("/d", "/l"), syscall.EPERM},
		{"truncate directory", f.Truncate("/d", 0), syscall.EISDIR},
		{"remove all below missing directory", f.RemoveAll("/nope/x"), nil},
	} {
		wantIs(t, c.what, c.err, c.want)
	}
}

func TestFileReadWrite(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	h, err := f.Create("/f")
	must(t, err)
	_, err = h.WriteString("hello")
	must(t, err)
	_, err = h.WriteAt([]byte("!"), 7)
	must(t, err)
	_, err = h.Seek(1, io.SeekStart)
	must(t, err)
	rest, err := io.ReadAll(h)
	must(t, err)
	if got, want := string(rest), "ello\x00\x00!"; got != want {
		t.Errorf("content from offset 1 = %q, want %q", got, want)
	}
	must(t, f.Remove("/f"))
	if _, err := h.ReadAt(make([]byte, 2), 0); err != nil {
		t.Errorf("ReadAt of removed open file: %v", err)
	}
	must(t, h.Close())
	wantIs(t, "second close", h.Close(), fs.ErrClosed)
	_, err = h.Read(make([]byte, 1))
	wantIs(t, "read after close", err, fs.ErrClosed)

	a, err := f.OpenFile("/log", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(t, err)
	b, err := f.OpenFile("/log", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	for range 3 {
		_, err = a.WriteString("a")
		must(t, err)
		_, err = b.WriteString("b")
		must(t, err)
	}
	if got, want := read(t, f, "/log"), "ababab"; got != want {
		t.Errorf("content after appends = %q, want %q", got, want)
	}
	_, err = a.Read(make([]byte, 1))
	wantIs(t, "read of file open for writing", err, syscall.EBADF)
}

// TestContentMatchesModel applies random changes to a file and a byte slice and
// compares them.
func TestContentMatchesModel(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	h, err := f.Create("/f")
	must(t, err)
	var model []byte
	var clones []*memfs.FS
	var models [][]byte
	seed := uint64(1)
	random := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
	for i := range 400 {
		switch random(5) {
		case 0:
			size := random(300_000)
			must(t, h.Truncate(int64(size)))
			model = append(model[:min(size, len(model)):min(size, len(model))], make([]byte, max(0, size-len(model)))...)
		case 1:
			clones, models = append(clones, f.Clone()), append(models, bytes.Clone(model))
		default:
			at, n := random(300_000), random(100_000)
			_, err := h.WriteAt(bytes.Repeat([]byte{byte(i)}, n), int64(at))
			must(t, err)
			if n > 0 {
				model = append(model, make([]byte, max(0, at+n-len(model)))...)
				copy(model[at:], bytes.Repeat([]byte{byte(i)}, n))
			}
		}
	}
	if got := read(t, f, "/f"); got != string(model) {
		t.Error("file differs from model")
	}
	for i, c := range clones {
		if got := read(t, c, "/f"); got != string(models[i]) {
			t.Errorf("file in clone %d differs from model", i)
		}
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	ann := f.As(memfs.Cred{UID: 1000, GID: 1000, Groups: []int{50}}, 0o022)
	bob := f.As(memfs.Cred{UID: 1001, GID: 1001}, 0o077)
	must(t, f.Mkdir("/tmp", 0o777|fs.ModeSticky))
	must(t, f.Mkdir("/private", 0o700))
	must(t, f.Mkdir("/shared", 0o770|fs.ModeSetgid))
	must(t, f.Chown("/shared", 0, 50))
	write(t, f, "/private/f", "x")
	must(t, ann.WriteFile("/tmp/ann", []byte("a"), 0o666))
	must(t, bob.WriteFile("/tmp/bob", []byte("b"), 0o666))
	must(t, ann.WriteFile("/shared/f", nil, 0o664))
	for name, want := range map[string]string{"/tmp/ann": "-rw-r--r-- 1000 1000", "/tmp/bob": "-rw------- 1001 1001", "/shared/f": "-rw-r--r-- 1000 50"} {
		info, err := f.Stat(name)
		must(t, err)
		if got := fmt.Sprint(info.Mode(), info.UID(), info.GID()); got != want {
			t.Errorf("mode and owner of %s = %s, want %s", name, got, want)
		}
	}
	_, readErr := ann.ReadFile("/tmp/bob")
	_, searchErr := ann.Stat("/private/f")
	_, listErr := ann.ReadDir("/private")
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"read", readErr, syscall.EACCES},
		{"search", searchErr, syscall.EACCES},
		{"list", listErr, fs.ErrPermission},
		{"write", bob.WriteFile("/tmp/ann", nil, 0), syscall.EACCES},
		{"create", bob.WriteFile("/f", nil, 0o644), syscall.EACCES},
		{"create in group directory", bob.WriteFile("/shared/g", nil, 0o644), syscall.EACCES},
		{"remove in sticky directory", bob.Remove("/tmp/ann"), syscall.EPERM},
		{"rename in sticky directory", bob.Rename("/tmp/ann", "/tmp/x"), syscall.EPERM},
		{"replace in sticky directory", bob.Rename("/tmp/bob", "/tmp/ann"), syscall.EPERM},
		{"chmod", bob.Chmod("/tmp/ann", 0o777), syscall.EPERM},
		{"chown to another user", ann.Chown("/tmp/ann", 1001, -1), syscall.EPERM},
		{"chown to foreign group", ann.Chown("/tmp/ann", -1, 1001), syscall.EPERM},
		{"chtimes", bob.Chtimes("/tmp/ann", time.Time{}, time.Unix(1, 0)), syscall.EPERM},
		{"mknod", ann.Mknod("/tmp/null", 0o666, memfs.Null), syscall.EPERM},
		{"remove all", ann.RemoveAll("/private"), syscall.EACCES},
	} {
		wantIs(t, c.what, c.err, c.want)
	}
	must(t, ann.Chown("/tmp/ann", -1, 50))
	must(t, ann.Chmod("/tmp/ann", 0o750|fs.ModeSetuid))
	must(t, ann.Remove("/tmp/ann"))
	must(t, f.Remove("/tmp/bob"))
}

func TestAccessExecute(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	must(t, f.MkdirAll("/tmp/d", 0o755))
	must(t, f.WriteFile("/tmp/d/run", nil, 0o755))
	must(t, f.WriteFile("/plain", nil, 0o644))
	must(t, f.Symlink("/tmp/d/run", "/link"))
	wantIs(t, "root, no execute bit", f.Access("/plain", memfs.Execute), syscall.EACCES)
	must(t, f.Access("/link", memfs.Execute))
	must(t, f.SetNoExec("/tmp", true))
	wantIs(t, "noexec", f.Access("/tmp/d/run", memfs.Execute), syscall.EACCES)
	wantIs(t, "noexec through link", f.Access("/link", memfs.Execute), syscall.EACCES)
	wantIs(t, "noexec in clone", f.Clone().Access("/link", memfs.Execute), syscall.EACCES)
	must(t, f.Access("/tmp/d", memfs.Execute))
	must(t, f.SetNoExec("/tmp", false))
	must(t, f.Access("/link", memfs.Execute))
}

func TestLinksAndPaths(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	must(t, f.MkdirAll("/a/b", 0o755))
	write(t, f, "/a/b/f", "x")
	must(t, f.Symlink("b/../b", "/a/up"))
	must(t, f.Symlink("/a/up/f", "/abs"))
	for name, want := range map[string]string{
		"/a/./b//f": "/a/b/f", "/abs": "/a/b/f", "/a/up/f": "/a/b/f", "/../a/b/..": "/a", "/a/up/../up/": "/a/b", "a/b": "/a/b",
	} {
		if got, err := f.EvalSymlinks(name); err != nil || got != want {
			t.Errorf("EvalSymlinks(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	must(t, f.Rename("/a/b", "/moved"))
	if got, err := f.EvalSymlinks("/moved/.."); err != nil || got != "/" {
		t.Errorf("EvalSymlinks of parent after rename = %q, %v, want /", got, err)
	}
	must(t, f.Link("/moved/f", "/hard"))
	write(t, f, "/hard", "changed")
	if got := read(t, f, "/moved/f"); got != "changed" {
		t.Errorf("content after write through hard link = %q, want %q", got, "changed")
	}
	must(t, f.RemoveAll("/moved"))
	if info, err := f.Stat("/hard"); err != nil || info.Nlink() != 1 {
		t.Errorf("Stat of hard link = %v, %v, want one link", info, err)
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	must(t, f.Mkdir("/d", 0o755))
	write(t, f, "/d/f", "one")
	c := f.Clone()
	write(t, f, "/d/f", "two")
	write(t, c, "/d/g", "clone's")
	must(t, c.Chmod("/d", 0o700))
	if got := read(t, c, "/d/f"); got != "one" {
		t.Errorf("clone reads %q after the original changed, want %q", got, "one")
	}
	_, err := f.Stat("/d/g")
	wantIs(t, "stat of clone's file in original", err, fs.ErrNotExist)
	if info, err := f.Stat("/d"); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("Stat in original = %v, %v, want mode 755", info, err)
	}
	// Clone more often than maxDepth.
	for i := range 40 {
		name := fmt.Sprintf("/layer%d", i)
		write(t, c, name, name)
		if i > 0 {
			must(t, c.Remove(fmt.Sprintf("/layer%d", i-1)))
		}
		c = c.Clone()
	}
	entries, err := c.ReadDir("/")
	must(t, err)
	if len(entries) != 2 || read(t, c, "/layer39") != "/layer39" || read(t, c, "/d/g") != "clone's" {
		t.Errorf("entries of last clone = %v, want d and layer39 with their content", entries)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	for name, device := range map[string]memfs.Device{"/null": memfs.Null, "/zero": memfs.Zero, "/full": memfs.Full, "/random": memfs.Random} {
		must(t, f.Mknod(name, 0o666, device))
	}
	if data := read(t, f, "/null"); data != "" {
		t.Errorf("read of null device = %q, want nothing", data)
	}
	must(t, f.WriteFile("/null", []byte("x"), 0))
	wantIs(t, "write to full device", f.WriteFile("/full", []byte("x"), 0), syscall.ENOSPC)
	h, err := f.Open("/zero")
	must(t, err)
	p := []byte{1, 2}
	if n, err := h.Read(p); n != 2 || err != nil || p[0] != 0 {
		t.Errorf("Read of zero device = %d, %v with data %v, want zeros", n, err, p)
	}
}

func TestFSConformance(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	must(t, f.MkdirAll("/d/e", 0o755))
	write(t, f, "/d/f", "text")
	write(t, f, "/d/e/g", strings.Repeat("x", 100_000))
	must(t, f.Symlink("f", "/d/l"))
	if err := fstest.TestFS(f.IO(), "d/f", "d/e/g", "d/l"); err != nil {
		t.Error(err)
	}
	sub, err := fs.Sub(f.IO(), "d")
	must(t, err)
	if err := fstest.TestFS(sub, "f", "e/g"); err != nil {
		t.Error(err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	f := memfs.New(nil)
	must(t, f.Mkdir("/d", 0o777))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				name := fmt.Sprintf("/d/%d-%d", i, j)
				if err := f.WriteFile(name, []byte(name), 0o644); err != nil {
					t.Error(err)
				}
				c := f.Clone()
				if data, err := c.ReadFile(name); err != nil || string(data) != name {
					t.Errorf("ReadFile(%s) in clone = %q, %v", name, data, err)
				}
				if err := c.RemoveAll("/d"); err != nil {
					t.Error(err)
				}
				_, _ = f.ReadDir("/d")
			}
		})
	}
	wg.Wait()
	if entries, err := f.ReadDir("/d"); err != nil || len(entries) != 400 {
		t.Errorf("ReadDir(/d) = %d entries, %v, want 400", len(entries), err)
	}
}
