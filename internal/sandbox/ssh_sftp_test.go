package sandbox_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
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
		t.Errorf("uploaded file: mode %v, owner %d, size %d, want 640, 1000, %d", info.Mode(), info.UID(), info.Size(), len(content))
	}
	r, err := client.Open("/home/ubuntu/up")
	check("open", err)
	got, err := io.ReadAll(r)
	check("read", err)
	_ = r.Close()
	if !bytes.Equal(got, content) {
		t.Error("downloaded content differs")
	}
	check("mkdir", client.MkdirAll("d/e"))
	check("symlink", client.Symlink("../up", "d/l"))
	if target, err := client.ReadLink("d/l"); err != nil || target != "../up" {
		t.Errorf("ReadLink(d/l) = %q, %v, want ../up", target, err)
	}
	if info, err := client.Lstat("d/l"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("Lstat(d/l) = %v, %v, want a symbolic link", info, err)
	}
	when := time.Unix(1_700_000_000, 0)
	check("chtimes", client.Chtimes("up", when, when))
	if info, err := client.Stat("d/l"); err != nil || !info.ModTime().Equal(when) {
		t.Errorf("Stat(d/l) = %v, %v, want time %v", info, err, when)
	}
	check("truncate", client.Truncate("up", 3))
	check("create", func() error { f, err := client.Create("new"); _ = f.Close(); return err }())
	if err := client.Rename("new", "up"); err == nil {
		t.Error("Rename replaced a file")
	}
	check("posix rename", client.PosixRename("new", "up"))
	if info, err := client.Stat("up"); err != nil || info.Size() != 0 {
		t.Errorf("Stat(up) = %v, %v, want size 0", info, err)
	}
	entries, err := client.ReadDir("d")
	if err != nil || len(entries) != 2 {
		t.Errorf("ReadDir(d) = %v, %v, want 2 entries", entries, err)
	}
	check("remove", client.Remove("d/l"))
	check("remove directory", client.RemoveDirectory("d/e"))
	if _, err := client.Stat("nope"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat(nope): error = %v, want ErrNotExist", err)
	}
	if _, err := client.Create("/etc/f"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Create(/etc/f): error = %v, want ErrPermission", err)
	}
	if _, err := client.OpenFile("up", os.O_WRONLY|os.O_CREATE|os.O_EXCL); err == nil {
		t.Error("exclusive OpenFile of an existing file succeeded")
	}
	if wd, err := client.RealPath("."); err != nil || wd != "/home/ubuntu" {
		t.Errorf("RealPath(.) = %q, %v, want /home/ubuntu", wd, err)
	}
}
