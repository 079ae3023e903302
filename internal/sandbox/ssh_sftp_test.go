package sandbox_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

func TestSFTP(t *testing.T) {
	t.Parallel()
	h, c := login(t, sandbox.Options{})
	client, err := sftp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	f, err := client.Create("up")
	check("create", err)
	_, err = f.ReadFrom(bytes.NewReader(content))
	check("write", err)
	check("chmod", f.Chmod(0o640))
	check("close", f.Close())
	info, err := h.FS().Stat("/home/ubuntu/up")
	check("stat", err)
	if err == nil && (info.Mode().Perm() != 0o640 || info.UID() != 1000 || info.Size() != int64(len(content))) {
		t.Errorf("got mode %v, owner %d, size %d", info.Mode(), info.UID(), info.Size())
	}
	r, err := client.Open("/home/ubuntu/up")
	check("open", err)
	got, err := io.ReadAll(r)
	check("read", err)
	_ = r.Close()
	if !bytes.Equal(got, content) {
		t.Error("what came back differs")
	}
	check("mkdir", client.MkdirAll("d/e"))
	check("symlink", client.Symlink("../up", "d/l"))
	if target, err := client.ReadLink("d/l"); err != nil || target != "../up" {
		t.Errorf("readlink: got %q, %v", target, err)
	}
	if info, err := client.Lstat("d/l"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("lstat: got %v, %v", info, err)
	}
	when := time.Unix(1_700_000_000, 0)
	check("chtimes", client.Chtimes("up", when, when))
	if info, err := client.Stat("d/l"); err != nil || !info.ModTime().Equal(when) {
		t.Errorf("stat: got %v, %v", info, err)
	}
	check("truncate", client.Truncate("up", 3))
	check("create", func() error { f, err := client.Create("new"); _ = f.Close(); return err }())
	if err := client.Rename("new", "up"); err == nil {
		t.Error("a plain rename replaced a file")
	}
	check("posix rename", client.PosixRename("new", "up"))
	if info, err := client.Stat("up"); err != nil || info.Size() != 0 {
		t.Errorf("stat: got %v, %v", info, err)
	}
	entries, err := client.ReadDir("d")
	if err != nil || len(entries) != 2 {
		t.Errorf("readdir: got %v, %v", entries, err)
	}
	check("remove", client.Remove("d/l"))
	check("remove directory", client.RemoveDirectory("d/e"))
	if _, err := client.Stat("nope"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat: got %v", err)
	}
	if _, err := client.Create("/etc/f"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("create: got %v", err)
	}
	if _, err := client.OpenFile("up", os.O_WRONLY|os.O_CREATE|os.O_EXCL); err == nil {
		t.Error("an exclusive open of a file that exists succeeded")
	}
	if wd, err := client.RealPath("."); err != nil || wd != "/home/ubuntu" {
		t.Errorf("realpath: got %q, %v", wd, err)
	}
}

// TestSCP plays the local side of the scp protocol.
func TestSCP(t *testing.T) {
	t.Parallel()
	h, c := login(t, sandbox.Options{})
	s := session(t, c)
	s.Stdin = strings.NewReader("D0755 0 dir\nT1000 0 2000 0\nC0600 3 f\nabc\x00E\n")
	out, err := s.Output("scp -r -p -t .")
	if want := strings.Repeat("\x00", 6); err != nil || string(out) != want {
		t.Fatalf("sink: got %q, %v, want %q", out, err, want)
	}
	info, err := h.FS().Stat("/home/ubuntu/dir/f")
	if err != nil || info.Mode() != 0o600 || info.ModTime().Unix() != 1000 {
		t.Errorf("got %v, %v", info, err)
	}
	s = session(t, c)
	s.Stdin = strings.NewReader(strings.Repeat("\x00", 5))
	out, err = s.Output("scp -r -f dir")
	if want := "D0755 0 dir\nC0600 3 f\nabc\x00E\n"; err != nil || string(out) != want {
		t.Errorf("source: got %q, %v, want %q", out, err, want)
	}
	s = session(t, c)
	s.Stdin = strings.NewReader("\x00")
	out, err = s.Output("scp -f nope")
	if err == nil || string(out) != "\x01scp: nope: No such file or directory\n" {
		t.Errorf("source: got %q, %v", out, err)
	}
}
