package baketest_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

func TestPutFile(t *testing.T) {
	local := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(local, []byte("ELF"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		up   bake.Upload
		want baketest.File
		err  error
	}{
		"content": {
			up:   bake.Upload{Content: strings.NewReader("x"), Dest: "/tmp/d/f"},
			want: baketest.File{Path: "/tmp/d/f", Mode: 0o644, Owner: "ubuntu", Group: "ubuntu", Content: []byte("x")},
		},
		"of the host, keeping its mode": {
			up:   bake.Upload{Path: local, Dest: "/tmp/f"},
			want: baketest.File{Path: "/tmp/f", Mode: 0o700, Owner: "ubuntu", Group: "ubuntu", Content: []byte("ELF")},
		},
		"as root for another": {
			up:   bake.Upload{Content: strings.NewReader("x"), Dest: "/etc/f", Mode: 0o640, Owner: "www", Group: "web", Sudo: true},
			want: baketest.File{Path: "/etc/f", Mode: 0o640, Owner: "www", Group: "web", Content: []byte("x")},
		},
		"not allowed":         {up: bake.Upload{Content: strings.NewReader("x"), Dest: "/etc/f"}, err: fs.ErrPermission},
		"not allowed to give": {up: bake.Upload{Content: strings.NewReader("x"), Dest: "/tmp/f", Owner: "root"}, err: fs.ErrPermission},
		"missing":             {up: bake.Upload{Path: local + ".missing", Dest: "/tmp/f"}, err: fs.ErrNotExist},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			err := m.Put(t.Context(), &test.up)
			if !errors.Is(err, test.err) {
				t.Fatalf("Put = %v, want %v", err, test.err)
			}
			got, statErr := m.Stat(test.up.Dest)
			if test.err != nil {
				if !errors.Is(statErr, fs.ErrNotExist) {
					t.Errorf("Stat after a failed Put = %v, want fs.ErrNotExist", statErr)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPutAndGetTree(t *testing.T) {
	source := fstest.MapFS{
		"a.conf":            {Data: []byte("a"), Mode: 0o600},
		"sub/run":           {Data: []byte("r"), Mode: 0o755},
		"sub/.git/HEAD":     {Data: []byte("h"), Mode: 0o644},
		"node_modules/x/y":  {Data: []byte("y"), Mode: 0o644},
		"sub/deep/file.log": {Data: []byte("l"), Mode: 0o644},
		"kept/.gitignore":   {Data: []byte("g"), Mode: 0o644},
	}
	m := baketest.NewMachine(nil)
	var done int64
	put(t, m, &bake.Upload{
		FS: source, Dest: "/srv/app", Sudo: true, Owner: "app", Group: "app",
		Exclude:  []string{".git", "node_modules/**", "**/*.log", "node_modules"},
		Progress: func(n, _ int64) { done = n },
	})
	if diff := cmp.Diff([]string{"/srv/app/a.conf", "/srv/app/kept/.gitignore", "/srv/app/sub/run"}, m.Files()); diff != "" {
		t.Error(diff)
	}
	if run, err := m.Stat("/srv/app/sub/run"); err != nil || run.Mode != 0o755 || run.Owner != "app" {
		t.Errorf("Stat(sub/run) = %+v, %v", run, err)
	}
	if done != 3 {
		t.Errorf("progress ended at %d bytes, want 3", done)
	}
	if diff := cmp.Diff([]string{"a.conf", "kept/.gitignore", "sub/run"}, m.Calls()[0].Files); diff != "" {
		t.Error(diff)
	}

	back := filepath.Join(t.TempDir(), "new", "dir")
	if err := m.Get(t.Context(), &bake.Download{Source: "/srv/app", Path: back, Exclude: []string{"kept"}, Sudo: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(back, "sub", "run")); err != nil || string(got) != "r" {
		t.Errorf("sub/run after Get: %q, %v; want \"r\"", got, err)
	}
	if _, err := os.Stat(filepath.Join(back, "kept")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("excluded directory after Get: %v, want fs.ErrNotExist", err)
	}
}

func TestPutTreeDelete(t *testing.T) {
	file := &fstest.MapFile{Data: []byte("x"), Mode: 0o644}
	m := baketest.NewMachine(nil)
	put := func(up *bake.Upload) {
		t.Helper()
		if err := m.Put(t.Context(), up); err != nil {
			t.Fatalf("Put(%+v) = %v", up, err)
		}
	}
	put(&bake.Upload{Dest: "/tmp/t", FS: fstest.MapFS{"old/x": file, "kept/a.log": file, "kept/b": file, "cache/c": file, "a": file}})
	put(&bake.Upload{Dest: "/tmp/other", Content: strings.NewReader("")})
	put(&bake.Upload{Dest: "/tmp/t", FS: fstest.MapFS{"a": file}, Delete: true, Exclude: []string{"*.log", "cache"}})
	for name, want := range map[string]bool{"t/a": true, "t/kept/a.log": true, "t/cache/c": true, "other": true, "t/old": false, "t/old/x": false, "t/kept/b": false} {
		if _, err := m.Stat("/tmp/" + name); (err == nil) != want {
			t.Errorf("Stat(%s) after Put with Delete = %v, want it to exist: %t", name, err, want)
		}
	}
	single := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(single, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(t.Context(), &bake.Upload{Dest: "/tmp/f", Path: single, Delete: true}); err == nil || !strings.Contains(err.Error(), "Upload.Delete") {
		t.Errorf("Put of a file with Delete = %v, want an error that names Upload.Delete", err)
	}
}

func TestGetFile(t *testing.T) {
	m := baketest.NewMachine(nil)
	if err := m.WriteFile("/etc/shadow", []byte("root:*"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := m.Get(t.Context(), &bake.Download{Source: "/etc/shadow", Content: &got}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Get without sudo = %v, want %v", err, fs.ErrPermission)
	}
	if err := m.Get(t.Context(), &bake.Download{Source: "/etc/shadow", Content: &got, Sudo: true}); err != nil || got.String() != "root:*" {
		t.Errorf("Get with sudo: %q, %v", got.String(), err)
	}
	if err := m.Get(t.Context(), &bake.Download{Source: "/missing", Content: &got}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get(missing) = %v, want %v", err, fs.ErrNotExist)
	}
}

func TestFailPutAndFailGet(t *testing.T) {
	full := errors.New("disk full")
	m := baketest.NewMachine(nil)
	m.FailPut("/tmp/**", full)
	m.FailGet("/etc/*", full)
	if err := m.Put(t.Context(), &bake.Upload{Content: strings.NewReader("x"), Dest: "/tmp/a/b"}); !errors.Is(err, full) {
		t.Errorf("Put = %v, want the prepared error", err)
	}
	if err := m.Get(t.Context(), &bake.Download{Source: "/etc/x", Path: t.TempDir()}); !errors.Is(err, full) {
		t.Errorf("Get = %v, want the prepared error", err)
	}
	put(t, m, &bake.Upload{Content: strings.NewReader("x"), Dest: "/home/ubuntu/b"})
}

func TestMkdirAndRm(t *testing.T) {
	m := baketest.NewMachine(nil)
	run := func(args ...string) error { return m.Run(t.Context(), &bake.Cmd{Args: args}) }
	if err := run("mkdir", "-m", "0700", "/tmp/bakestone-1"); err != nil {
		t.Fatal(err)
	}
	if dir, err := m.Stat("/tmp/bakestone-1"); err != nil || dir.Mode != fs.ModeDir|0o700 || dir.Owner != "ubuntu" {
		t.Errorf("Stat = %+v, %v; want mode 0700, owner ubuntu", dir, err)
	}
	put(t, m, &bake.Upload{Content: strings.NewReader("x"), Dest: "/tmp/bakestone-1/f"})
	var exit *bake.ExitError
	for _, args := range [][]string{
		{"mkdir", "/tmp/bakestone-1"}, {"mkdir", "/missing/dir"}, {"mkdir", "/etc"}, {"rm", "/tmp/bakestone-1"}, {"rm", "/tmp/missing"},
	} {
		if err := run(args...); !errors.As(err, &exit) {
			t.Errorf("Run(%v) = %v, want a *bake.ExitError", args, err)
		}
	}
	if err := run("rm", "-rf", "/tmp/bakestone-1"); err != nil {
		t.Fatal(err)
	}
	if got := m.Files(); len(got) != 0 {
		t.Errorf("Files() after rm = %v, want none", got)
	}
	want := []string{"mkdir /missing/dir", "mkdir /etc", "rm /tmp/missing"}
	if diff := cmp.Diff(want, m.Commands()); diff != "" {
		t.Error(diff)
	}
}

func TestLinks(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "target"), []byte("behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"relative": "target", "absolute": "/tmp/d/target", "loop": "loop", "dangling": "missing"} {
		if err := os.Symlink(to, filepath.Join(source, name)); err != nil {
			t.Skip(err)
		}
	}
	m := baketest.NewMachine(nil)
	put(t, m, &bake.Upload{Path: source, Dest: "/tmp/d"})
	for _, name := range []string{"/tmp/d/relative", "/tmp/d/absolute"} {
		if got, err := m.ReadFile(name); err != nil || string(got) != "behind" {
			t.Errorf("ReadFile(%s) = %q, %v; want \"behind\"", name, got, err)
		}
	}
	if _, err := m.ReadFile("/tmp/d/loop"); err == nil {
		t.Error("ReadFile(loop) = nil, want an error")
	}
	if _, err := m.ReadFile("/tmp/d/dangling"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile(dangling) = %v, want %v", err, fs.ErrNotExist)
	}
	back := t.TempDir()
	if err := m.Get(t.Context(), &bake.Download{Source: "/tmp/d", Path: back}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(filepath.Join(back, "relative")); err != nil || got != "target" {
		t.Errorf("link after Get: %q, %v; want \"target\"", got, err)
	}
}

func TestFileConflicts(t *testing.T) {
	m := baketest.NewMachine(nil)
	if err := m.WriteFile("/srv/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"read a directory":    func() error { _, err := m.ReadFile("/srv"); return err }(),
		"write a directory":   m.WriteFile("/srv", nil, 0o644),
		"write below a file":  m.WriteFile("/srv/file/below", nil, 0o644),
		"upload to a file":    m.Put(t.Context(), &bake.Upload{FS: fstest.MapFS{"a": {}}, Dest: "/srv/file", Sudo: true}),
		"directory on a file": m.Put(t.Context(), &bake.Upload{FS: fstest.MapFS{"file/a": {}}, Dest: "/srv", Sudo: true}),
		"stream a directory":  m.Get(t.Context(), &bake.Download{Source: "/srv", Content: &bytes.Buffer{}}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if diff := cmp.Diff([]string{"/srv/file"}, m.Files()); diff != "" {
		t.Error(diff)
	}
}
