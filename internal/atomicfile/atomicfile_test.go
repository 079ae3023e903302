package atomicfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/bakestone-go/bakestone/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, test := range []struct {
		text string
		mode fs.FileMode
	}{{"first", 0o600}, {"second, and longer", 0o644}, {"", 0o600}} {
		if err := atomicfile.Write(path, []byte(test.text), test.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != test.text {
			t.Errorf("after Write(%q), the file contains %q, %v", test.text, got, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode() != test.mode {
			t.Errorf("after Write with mode %v, the mode is %v", test.mode, info.Mode())
		}
	}
	wantEntries(t, filepath.Dir(path), 1)
}

// TestWriteFailure replaces a directory, which the rename refuses.
func TestWriteFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d")
	if err := os.MkdirAll(filepath.Join(path, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("x"), 0o600); err == nil {
		t.Error("Write to the path of a directory = nil, want an error")
	}
	wantEntries(t, dir, 1)
	if err := atomicfile.Write(filepath.Join(dir, "missing", "f"), nil, 0o600); err == nil {
		t.Error("Write in a missing directory = nil, want an error")
	}
}

// wantEntries checks that no temporary file is left.
func wantEntries(t *testing.T, dir string, want int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != want {
		t.Errorf("%s contains %v, want %d entries", dir, entries, want)
	}
}

// TestMkdirAll creates directories below one that exists, and not below a file.
func TestMkdirAll(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	for range 2 {
		if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("after MkdirAll, Stat = %v, %v, want a directory with mode 0700", info, err)
	}
	file := filepath.Join(root, "file")
	if err := atomicfile.Write(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := atomicfile.MkdirAll(path, 0o700); err == nil {
			t.Errorf("MkdirAll(%s) = nil, want an error: there is a file", path)
		}
	}
}
