package provision_test

import (
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
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

// write creates a file in a new directory on the baking host.
func write(t *testing.T, name, content string, mode fs.FileMode) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFile(t *testing.T) {
	local := write(t, "conf", "local", 0o600)
	tree := fstest.MapFS{"etc/conf": {Data: []byte("fs"), Mode: 0o444}, "etc/plain": {Data: []byte("plain")}}
	tests := map[string]struct {
		file provision.File
		want baketest.File
	}{
		"content": {
			provision.File{Content: "hello\n", Dest: "/tmp/f"},
			baketest.File{Path: "/tmp/f", Mode: 0o644, Owner: "ubuntu", Group: "ubuntu", Content: []byte("hello\n")},
		},
		"host file": {
			provision.File{Source: local, Dest: "/tmp/f"},
			baketest.File{Path: "/tmp/f", Mode: 0o600, Owner: "ubuntu", Group: "ubuntu", Content: []byte("local")},
		},
		"set-user-id": {
			provision.File{Source: local, Dest: "/etc/app/f", Mode: fs.ModeSetuid | 0o755, Owner: "app", Group: "adm", Sudo: true},
			baketest.File{Path: "/etc/app/f", Mode: fs.ModeSetuid | 0o755, Owner: "app", Group: "adm", Content: []byte("local")},
		},
		"in FS": {
			provision.File{Source: "etc/conf", FS: tree, Dest: "/tmp/f"},
			baketest.File{Path: "/tmp/f", Mode: 0o444, Owner: "ubuntu", Group: "ubuntu", Content: []byte("fs")},
		},
		"in FS with another mode": {
			provision.File{Source: "etc/conf", FS: tree, Dest: "/tmp/f", Mode: 0o640},
			baketest.File{Path: "/tmp/f", Mode: 0o640, Owner: "ubuntu", Group: "ubuntu", Content: []byte("fs")},
		},
		"in FS without modes": {
			provision.File{Source: "etc/plain", FS: tree, Dest: "/tmp/f"},
			baketest.File{Path: "/tmp/f", Mode: 0o644, Owner: "ubuntu", Group: "ubuntu", Content: []byte("plain")},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			run(t, m, test.file)
			got, err := m.Stat(test.file.Dest)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilePermissionDenied(t *testing.T) {
	err := provision.File{Content: "x", Dest: "/etc/motd"}.Provision(t.Context(), baketest.NewMachine(nil))
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Provision() = %v, want %v", err, fs.ErrPermission)
	}
}

// The error of an owner that does not exist names the field.
func TestFileUnknownOwner(t *testing.T) {
	m, _ := embedded(t, sandbox.Options{})
	for _, p := range []bake.Provisioner{
		provision.File{Content: "x", Dest: "/etc/x", Owner: "nobody-at-all", Sudo: true},
		provision.File{Content: "x", Dest: "/etc/x", Group: "nobody-at-all", Sudo: true},
	} {
		err := p.Provision(t.Context(), m)
		if err == nil || !strings.Contains(err.Error(), "File.Owner and Group must exist on the machine") {
			t.Errorf("Provision() = %v, want an error that names File.Owner", err)
		}
	}
}

func TestFileValidate(t *testing.T) {
	local := write(t, "conf", "x", 0o600)
	tests := map[string]struct {
		file provision.File
		want []string
	}{
		"nothing":        {provision.File{}, []string{"File: exactly one", "File.Dest: is required"}},
		"two":            {provision.File{Source: local, Content: "x", Dest: "/x"}, []string{"File: exactly one"}},
		"missing":        {provision.File{Source: local + "x", Dest: "/x"}, []string{"File.Source: "}},
		"a directory":    {provision.File{Source: filepath.Dir(local), Dest: "/x"}, []string{"File.Source: "}},
		"FS alone":       {provision.File{Content: "x", FS: fstest.MapFS{}, Dest: "/x"}, []string{"File.FS: "}},
		"not in the FS":  {provision.File{Source: "x", FS: fstest.MapFS{}, Dest: "/x"}, []string{"File.Source: "}},
		"relative":       {provision.File{Source: local, Dest: "etc/x"}, []string{"File.Dest: "}},
		"into directory": {provision.File{Source: local, Dest: "/etc/"}, []string{"File.Dest: "}},
		"owner":          {provision.File{Source: local, Dest: "/x", Owner: "--reference=/x", Group: "a b"}, []string{"File.Owner: invalid name"}},
		"group":          {provision.File{Source: local, Dest: "/x", Owner: "app", Group: "a b"}, []string{"File.Group: invalid name"}},
		"dot":            {provision.File{Source: local, Dest: "~/app/."}, []string{"File.Dest: "}},
		"parent":         {provision.File{Source: local, Dest: "/srv/app/.."}, []string{"File.Dest: "}},
		"decimal mode":   {provision.File{Source: local, Dest: "/x", Mode: 644}, []string{"File.Mode: "}},
		"Unix mode":      {provision.File{Source: local, Dest: "/x", Mode: 0o4755}, []string{"File.Mode: "}},
		"good":           {provision.File{Source: local, Dest: "/x", Mode: 0o644}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { invalid(t, test.file, test.want) })
	}
}

func TestDir(t *testing.T) {
	local := filepath.Dir(write(t, "index.html", "local", 0o640))
	tree := fstest.MapFS{
		"dist/index.html": {Data: []byte("fs"), Mode: 0o644},
		"dist/app.js.map": {Data: []byte("{}"), Mode: 0o644},
		"main.go":         {Data: []byte("package main"), Mode: 0o644},
	}
	tests := map[string]struct {
		dir  provision.Dir
		want []string
	}{
		"of the host":     {provision.Dir{Source: local, Dest: "/srv/app"}, []string{"/srv/app/index.html"}},
		"a FS":            {provision.Dir{FS: tree, Dest: "/srv/app", Exclude: []string{"dist"}}, []string{"/srv/app/main.go"}},
		"of a FS":         {provision.Dir{FS: tree, Source: "dist", Dest: "/srv/app"}, []string{"/srv/app/app.js.map", "/srv/app/index.html"}},
		"but for the map": {provision.Dir{FS: tree, Source: "dist", Dest: "/srv/app", Exclude: []string{"*.map"}}, []string{"/srv/app/index.html"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			test.dir.Sudo, test.dir.Owner, test.dir.Group = true, "www", "web"
			run(t, m, test.dir)
			if diff := cmp.Diff(test.want, m.Files()); diff != "" {
				t.Fatal(diff)
			}
			if f, err := m.Stat(test.want[0]); err != nil || f.Owner != "www" || f.Group != "web" {
				t.Errorf("owner = %s:%s, want www:web (error %v)", f.Owner, f.Group, err)
			}
		})
	}
}

func TestDirValidate(t *testing.T) {
	local := write(t, "index.html", "x", 0o600)
	tests := map[string]struct {
		dir  provision.Dir
		want []string
	}{
		"nothing":         {provision.Dir{}, []string{"Dir: at least one of", "Dir.Dest: is required"}},
		"missing":         {provision.Dir{Source: local + "x", Dest: "/x"}, []string{"Dir.Source: "}},
		"a file":          {provision.Dir{Source: local, Dest: "/x"}, []string{"Dir.Source: "}},
		"missing in FS":   {provision.Dir{Source: "x", FS: fstest.MapFS{}, Dest: "/x"}, []string{"Dir.Source: "}},
		"a file in FS":    {provision.Dir{Source: "x", FS: fstest.MapFS{"x": {}}, Dest: "/x"}, []string{"Dir.Source: "}},
		"relative":        {provision.Dir{FS: fstest.MapFS{}, Dest: "x"}, []string{"Dir.Dest: "}},
		"not patterns":    {provision.Dir{FS: fstest.MapFS{}, Dest: "/x", Exclude: []string{"", "[", "ok"}}, []string{`Dir.Exclude: invalid patterns: "", "["`}},
		"good":            {provision.Dir{Source: filepath.Dir(local), Dest: "/x/", Exclude: []string{"**/*.o"}}, nil},
		"good, all of FS": {provision.Dir{FS: fstest.MapFS{}, Dest: "/x"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { invalid(t, test.dir, test.want) })
	}
}

func TestDownload(t *testing.T) {
	m := baketest.NewMachine(nil)
	for name, mode := range map[string]fs.FileMode{"/var/log/app.log": 0o600, "/var/log/old/1.gz": 0o644} {
		if err := m.WriteFile(name, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	to := t.TempDir()
	run(t, m, provision.Download{Source: "/var/log/app.log", Dest: filepath.Join(to, "new", "app.log"), Sudo: true})
	run(t, m, provision.Download{Source: "/var/log", Dest: filepath.Join(to, "logs"), Sudo: true, Exclude: []string{"*.gz"}})
	for _, name := range []string{"new/app.log", "logs/app.log"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != "/var/log/app.log" {
			t.Errorf("content of %s = %q (error %v), want /var/log/app.log", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "logs", "old", "1.gz")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("excluded file was copied (Stat error %v)", err)
	}
	err := provision.Download{Source: "/var/log/app.log", Dest: filepath.Join(to, "denied")}.Provision(t.Context(), m)
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Provision() without Sudo = %v, want %v", err, fs.ErrPermission)
	}
}

func TestDownloadValidate(t *testing.T) {
	tests := map[string]struct {
		download provision.Download
		want     []string
	}{
		"nothing":  {provision.Download{}, []string{"Download.Source: is required", "Download.Dest: is required"}},
		"relative": {provision.Download{Source: "log", Dest: "x", Exclude: []string{"["}}, []string{"Download.Source: ", "Download.Exclude: "}},
		"good":     {provision.Download{Source: "/log", Dest: "x"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { invalid(t, test.download, test.want) })
	}
}

// Validate reports a file without read permission.
func TestUnreadableSource(t *testing.T) {
	if os.Getuid() <= 0 {
		t.Skip("root reads all files, and Windows has no Unix file modes")
	}
	invalid(t, provision.File{Source: write(t, "x", "x", 0), Dest: "/x"}, []string{"File.Source: "})
}
