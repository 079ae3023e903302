package sshmachine_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// machineWithout returns a machine whose login does not find the given tools.
func machineWithout(t testing.TB, opts *testenv.SSHDOptions, tools ...string) *sshmachine.Machine {
	t.Helper()
	bin := t.TempDir()
	for _, dir := range []string{"/usr/local/bin", "/bin", "/usr/bin", "/usr/sbin", "/sbin"} {
		names, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			_ = os.Symlink(filepath.Join(dir, name.Name()), filepath.Join(bin, name.Name()))
		}
	}
	for _, tool := range tools {
		must(t, os.Remove(filepath.Join(bin, tool)))
	}
	// The machine's scripts add the usual directories to PATH.
	const command = `c=$SSH_ORIGINAL_COMMAND p=:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; ` +
		`while case $c in *"$p"*) ;; *) false;; esac; do c=${c%%"$p"*}${c#*"$p"}; done; ` +
		`case $c in *:/usr/bin:*) echo "PATH has all tools" >&2; exit 99;; esac; eval "$c"`
	opts.Config = append(opts.Config, "ForceCommand export PATH="+bin+`; case "$SSH_ORIGINAL_COMMAND" in internal-sftp) exec `+sftpServer(t)+`;; esac; `+command)
	return connect(t, sshdConfig(testenv.SSHD(t, opts)))
}

func sftpServer(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server"} {
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	return "false"
}

// transferMachines returns machines that transfer trees by different methods.
func transferMachines(t *testing.T) map[string]*sshmachine.Machine {
	t.Helper()
	testenv.Need(t, "sshd")
	return map[string]*sshmachine.Machine{
		"tar":            sshdMachine(t),
		"tar, no xargs":  machineWithout(t, &testenv.SSHDOptions{}, "xargs"),
		"tar, no digest": machineWithout(t, &testenv.SSHDOptions{}, "sha256sum", "openssl"),
		"sftp":           machineWithout(t, &testenv.SSHDOptions{}, "tar"),
		"scp":            machineWithout(t, &testenv.SSHDOptions{NoSFTP: true}, "tar"),
	}
}

func fileDigest(t testing.TB, name string) string {
	t.Helper()
	file, err := os.Open(name)
	must(t, err)
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	must(t, err)
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// checkNoLeftovers fails the test if dir contains temporary files.
func checkNoLeftovers(t testing.TB, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && strings.Contains(name, ".bakestone") {
			t.Errorf("temporary file left: %s", name)
		}
		return err
	}))
}

func TestPutFile(t *testing.T) {
	m := sshdMachine(t)
	big := make([]byte, 3<<20)
	_, err := rand.Read(big)
	must(t, err)
	from := filepath.Join(t.TempDir(), "from")
	must(t, os.WriteFile(from, big, 0o600))
	must(t, os.Chmod(from, 0o751))
	for _, test := range []struct {
		name string
		up   bake.Upload
		want []byte
		mode fs.FileMode
	}{
		{name: "small", up: bake.Upload{Content: strings.NewReader("hello")}, want: []byte("hello"), mode: 0o644},
		{name: "empty", up: bake.Upload{Content: strings.NewReader("")}, mode: 0o644},
		{name: "mode", up: bake.Upload{Content: strings.NewReader("x"), Mode: 0o4750 & 0o777}, want: []byte("x"), mode: 0o750},
		{name: "set-id mode", up: bake.Upload{Content: strings.NewReader("x"), Mode: 0o750 | fs.ModeSetuid}, want: []byte("x"), mode: 0o750 | fs.ModeSetuid},
		{name: "big reader of unknown size", up: bake.Upload{Content: bytes.NewReader(big)}, want: big, mode: 0o644},
		{name: "big reader", up: bake.Upload{Content: bytes.NewReader(big), Size: int64(len(big)), Sudo: os.Getuid() == 0}, want: big, mode: 0o644},
		{name: "path", up: bake.Upload{Path: from}, want: big, mode: 0o751},
		{name: "path and mode", up: bake.Upload{Path: from, Mode: 0o400}, want: big, mode: 0o400},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			dest := filepath.Join(dir, "new dir", "it's a file")
			test.up.Dest = dest
			var done, total int64
			test.up.Progress = func(d, all int64) {
				if d < done {
					t.Errorf("progress went back from %d to %d", done, d)
				}
				done, total = d, all
			}
			must(t, m.Put(t.Context(), &test.up))
			got, err := os.ReadFile(dest)
			must(t, err)
			if !bytes.Equal(got, test.want) {
				t.Errorf("Put wrote %d bytes, want %d", len(got), len(test.want))
			}
			info, err := os.Stat(dest)
			must(t, err)
			if info.Mode() != test.mode {
				t.Errorf("Put set mode %v, want %v", info.Mode(), test.mode)
			}
			if done != int64(len(test.want)) || total != 0 && total != done {
				t.Errorf("last progress = %d of %d, want %d", done, total, len(test.want))
			}
			checkNoLeftovers(t, dir)
		})
	}
}

func TestPutFileErrors(t *testing.T) {
	m := sshdMachine(t)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"file": "old", "dir/": ""})
	broken := errors.New("broken")
	big := func() io.Reader { return io.LimitReader(rand.Reader, 1<<20) }
	for name, up := range map[string]*bake.Upload{
		"directory":              {Dest: dir + "/dir", Content: strings.NewReader("x")},
		"big into a directory":   {Dest: dir + "/dir", Content: big()},
		"parent is a file":       {Dest: dir + "/file/below", Content: strings.NewReader("x")},
		"big, parent is a file":  {Dest: dir + "/file/below", Content: big()},
		"reader fails":           {Dest: dir + "/file", Content: io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { return 0, broken }))},
		"big reader fails":       {Dest: dir + "/file", Content: io.MultiReader(big(), readerFunc(func([]byte) (int, error) { return 0, broken }))},
		"no such owner":          {Dest: dir + "/file", Content: strings.NewReader("x"), Owner: "no-such-user"},
		"big with no such owner": {Dest: dir + "/file", Content: big(), Owner: "no-such-user"},
		"owner is an option":     {Dest: dir + "/file", Content: strings.NewReader("x"), Owner: "--reference=/etc/passwd"},
		"no such path":           {Dest: dir + "/file", Path: dir + "/missing"},
		"relative":               {Dest: "file", Content: strings.NewReader("x")},
		"nothing":                {Dest: dir + "/file"},
		"bad pattern":            {Dest: dir + "/file", Path: dir, Exclude: []string{"[a"}},
		"tree over a file":       {Dest: dir + "/file", FS: fstest.MapFS{"a": {}}},
		"tree below a file":      {Dest: dir + "/file/x", FS: fstest.MapFS{"a": {}}},
		"file over directory":    {Dest: dir, FS: fstest.MapFS{"dir": {Data: []byte("x")}}},
		"tree, no such owner":    {Dest: dir + "/new", FS: fstest.MapFS{"a": {}}, Owner: "no-such-user"},
	} {
		err := m.Put(t.Context(), up)
		if err == nil {
			t.Errorf("%s: Put = nil, want an error", name)
		}
		if strings.Contains(name, "reader fails") && !errors.Is(err, broken) {
			t.Errorf("%s: Put = %v, want the reader's error", name, err)
		}
	}
	if err := m.Put(t.Context(), nil); err == nil {
		t.Error("Put(nil) = nil, want an error")
	}
	checkNoLeftovers(t, dir)
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "old" {
		t.Errorf("existing file = %q, %v, want it unchanged", got, err)
	}
}

// testTree creates a tree with unusual names, modes and links.
func testTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"plain": "plain", "empty": "", "empty dir/": "", ".hidden": "h", "..odd": "o", "a/b/c/d": "deep",
		"-dash": "-", "it's \"quoted\" $HOME": "q", "ünïcode ☃": "u", "back\\slash": "b",
		"skip.tmp": "no", "a/skip.tmp": "no", "node_modules/x/y": "no", "a/keep/z": "yes", "build/out/a.o": "no", "build/a.c": "yes",
	}
	for i := range 300 {
		files[fmt.Sprintf("many/%d/%d", i%7, i)] = strings.Repeat(fmt.Sprint(i), i)
	}
	writeFiles(t, dir, files)
	must(t, os.Chmod(filepath.Join(dir, "plain"), 0o600))
	must(t, os.Chmod(filepath.Join(dir, "a/b"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "-dash"), 0o755|fs.ModeSetuid))
	must(t, os.Symlink("plain", filepath.Join(dir, "link")))
	must(t, os.Symlink("/does/not exist", filepath.Join(dir, "a/broken link")))
	must(t, os.Symlink("a", filepath.Join(dir, "link to dir")))
	must(t, os.Chmod(dir, 0o750))
	old := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Chtimes(name, old, old)
		}
		return err
	}))
	return dir
}

func excludePatterns() []string {
	return []string{"*.tmp", "node_modules", "build/**/*.o", "build/out/"}
}

// removeExcluded removes from a testTree what excludePatterns matches.
func removeExcluded(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{"skip.tmp", "a/skip.tmp", "node_modules", "build/out"} {
		must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
}

func TestPutTree(t *testing.T) {
	from := testTree(t)
	want := testTree(t)
	removeExcluded(t, want)
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dest := filepath.Join(parent, "new", "tree")
			var done, total int64
			up := &bake.Upload{Dest: dest, Path: from, Exclude: excludePatterns(), Progress: func(d, all int64) { done, total = d, all }}
			must(t, m.Put(t.Context(), up))
			if diff := cmp.Diff(listing(t, want), listing(t, dest)); diff != "" {
				t.Errorf("Put of a new tree (-want +got):\n%s", diff)
			}
			if done == 0 || done != total {
				t.Errorf("last progress = %d of %d, want all", done, total)
			}

			// Into an existing directory, whose other files stay.
			merged := filepath.Join(parent, "merged")
			must(t, os.Mkdir(merged, 0o755))
			writeFiles(t, merged, map[string]string{"plain": "old", "a/b/stays": "stays", "a/b/c/d": "old", "link": "was a file"})
			must(t, m.Put(t.Context(), up))
			if got := runOutput(t, m, bake.Sh("cat "+merged+"/a/b/stays")); got != "stays" {
				t.Errorf("existing file = %q, want it unchanged", got)
			}
			up.Dest = merged
			must(t, m.Put(t.Context(), up))
			must(t, os.Remove(filepath.Join(merged, "a/b/stays")))
			must(t, os.Chmod(filepath.Join(merged, "a/b"), 0o700))
			must(t, os.Chmod(merged, 0o750))
			if diff := cmp.Diff(listing(t, want), listing(t, merged)); diff != "" {
				t.Errorf("Put into an existing tree (-want +got):\n%s", diff)
			}
			checkNoLeftovers(t, parent)
		})
	}
}

func TestPutTreeOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing owners requires root")
	}
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "tree")
			must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Path: testTree(t), Owner: "daemon", Group: "12345", Sudo: true}))
			if got := runOutput(t, m, bake.Sh("find "+dest+" ! -user daemon -o ! -group 12345; stat -c %a "+dest+"/-dash")); got != "4755" {
				t.Errorf("files with another owner, and mode: %q, want only the mode 4755", got)
			}
		})
	}
}

func TestPutFS(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "tree")
			fsys := fstest.MapFS{"dir/file": {Data: []byte("content"), Mode: 0o444}, "run": {Data: []byte("#!"), Mode: 0o755}}
			for range 2 { // create, then replace
				must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, FS: fsys}))
			}
			if got := runOutput(t, m, bake.Sh("cd "+dest+" && cat dir/file && stat -c %a . dir dir/file run")); got != "content755\n755\n444\n755" {
				t.Errorf("content and modes = %q", got)
			}
			must(t, m.Put(t.Context(), &bake.Upload{Dest: dest + "/none", FS: fstest.MapFS{}}))
			if info, err := os.Stat(dest + "/none"); err != nil || !info.IsDir() {
				t.Errorf("Put of an empty tree: Stat = %v, %v, want a directory", info, err)
			}
		})
	}
}

func TestPutCancel(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source := t.TempDir()
			must(t, os.WriteFile(filepath.Join(source, "big"), make([]byte, 64<<20), 0o644))
			for _, up := range []*bake.Upload{
				{Dest: dir + "/tree", Path: source},
				{Dest: dir + "/file", Content: readerFunc(func(p []byte) (int, error) { return len(p), nil })},
			} {
				ctx, cancel := context.WithCancel(t.Context())
				up.Progress = func(done, _ int64) {
					if done > 0 {
						cancel()
					}
				}
				if err := m.Put(ctx, up); !errors.Is(err, context.Canceled) {
					t.Errorf("Put = %v, want Canceled", err)
				}
				cancel()
			}
			if got := listing(t, dir); strings.Contains(got, "\n") {
				t.Errorf("canceled Put left:\n%s", got)
			}
		})
	}
}

// TestPutDisconnected loses the connection during a transfer.
func TestPutDisconnected(t *testing.T) {
	server := testenv.SSHD(t, nil)
	m := connect(t, sshdConfig(server))
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"file": "old"})
	var drop sync.Once
	endless := readerFunc(func(p []byte) (int, error) { return len(p), nil })
	err := m.Put(t.Context(), &bake.Upload{Dest: dir + "/file", Content: endless, Progress: func(done, _ int64) {
		if done > 1<<20 {
			drop.Do(func() { go server.Drop() })
		}
	}})
	if !errors.Is(err, bake.ErrDisconnected) {
		t.Errorf("Put = %v, want ErrDisconnected", err)
	}
	if got, err := os.ReadFile(dir + "/file"); err != nil || string(got) != "old" {
		t.Errorf("existing file has %d bytes, %v, want it unchanged", len(got), err)
	}
}
