package sshmachine_test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/google/go-cmp/cmp"
)

// A lyingFS reports sizes that its files do not have, as /proc does.
type lyingFS struct {
	fstest.MapFS

	size int64
}

func (l lyingFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := l.MapFS.ReadDir(name)
	for i, e := range entries {
		if !e.IsDir() {
			entries[i] = lyingEntry{e, l.size}
		}
	}
	return entries, err
}

type lyingEntry struct {
	fs.DirEntry

	size int64
}

func (e lyingEntry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	return lyingInfo{info, e.size}, err
}

type lyingInfo struct {
	fs.FileInfo

	size int64
}

func (i lyingInfo) Size() int64 { return i.size }

// TestPutChangedTree sends trees whose files are longer or shorter than listed.
func TestPutChangedTree(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int64{0, 3, 9} {
				dest := t.TempDir() + "/to"
				fsys := lyingFS{fstest.MapFS{"dir/file": {Data: []byte("four"), Mode: 0o644}}, size}
				err := m.Put(t.Context(), &bake.Upload{Dest: dest, FS: fsys})
				if err == nil || !strings.Contains(err.Error(), "changed while being sent") {
					t.Errorf("Put of a file listed with %d bytes = %v, want that it changed", size, err)
				}
				if _, err := os.Lstat(dest); err == nil {
					t.Errorf("Put of a file listed with %d bytes created the destination", size)
				}
			}
		})
	}
}

func TestPutInvalidFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("requires a shell")
	}
	m := sshdMachine(t)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"file": "x", "dir/": ""})
	runOutput(t, m, bake.Sh("mkfifo "+dir+"/fifo"))
	content := func() *strings.Reader { return strings.NewReader("new") }
	for want, ups := range map[string][]bake.Upload{
		"not a regular file": {{Path: "/dev/zero", Dest: dir + "/new"}, {Path: dir + "/fifo", Dest: dir + "/new"}},
		"names a directory": {
			{Content: content(), Dest: dir + "/app/"}, {Path: dir + "/file", Dest: dir + "/app/."}, {Content: content(), Dest: dir + "/dir/"},
		},
		"is a directory": {{Content: content(), Dest: dir + "/dir"}},
	} {
		for _, up := range ups {
			if err := m.Put(t.Context(), &up); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Put(%s to %s) = %v, want an error with %q", up.Path, up.Dest, err, want)
			}
		}
	}
	for _, name := range []string{"app", "new"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("a refused Put created %s", name)
		}
	}
}

// TestPutLinks puts files and trees to destinations that are links, or lie below some,
// of root and of another user.
func TestPutLinks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs links of several users")
	}
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			const other = 65534
			link := func(name, target string, owner int) {
				must(t, os.Symlink(target, dir+"/"+name))
				must(t, os.Lchown(dir+"/"+name, owner, owner))
			}
			writeFiles(t, dir, map[string]string{"file": "old", "real/": "", "theirs/": ""})
			must(t, os.Chown(dir+"/theirs", other, other))
			link("to-file", dir+"/file", other)
			link("to-dir", dir+"/real", 0)
			link("planted", dir+"/real", other)
			link("planted-new", dir+"/created", other)
			link("own", dir+"/theirs", other)
			link("real/sub", dir+"/theirs", 0)
			link("theirs/sub", dir+"/real", other)
			tree := fstest.MapFS{"sub/inner": {Data: []byte("new"), Mode: 0o644}}
			for _, test := range []struct {
				up   bake.Upload
				want string // the file that exists then; empty if refused
			}{
				{bake.Upload{Dest: dir + "/to-file", Content: strings.NewReader("new")}, "to-file"},
				{bake.Upload{Dest: dir + "/to-dir", Content: strings.NewReader("new")}, ""},
				{bake.Upload{Dest: dir + "/to-dir/new", Content: strings.NewReader("new")}, "real/new"},
				{bake.Upload{Dest: dir + "/planted/evil", Content: strings.NewReader("new")}, ""},
				{bake.Upload{Dest: dir + "/planted-new/evil", Content: strings.NewReader("new")}, ""},
				{bake.Upload{Dest: dir + "/own/new", Content: strings.NewReader("new")}, "theirs/new"},
				{bake.Upload{Dest: dir + "/to-dir", FS: tree}, "theirs/inner"},
				{bake.Upload{Dest: dir + "/planted", FS: tree}, ""},
				{bake.Upload{Dest: dir + "/planted/evil", FS: tree}, ""},
				{bake.Upload{Dest: dir + "/theirs", FS: tree}, ""},
			} {
				test.up.Sudo = true
				err := m.Put(t.Context(), &test.up)
				if (err == nil) != (test.want != "") {
					t.Errorf("Put(%s) = %v, want refused: %v", test.up.Dest, err, test.want == "")
				}
				if test.want == "" {
					continue
				}
				info, err := os.Lstat(dir + "/" + test.want)
				if err != nil || !info.Mode().IsRegular() {
					t.Errorf("after Put(%s): Lstat(%s) = %v, %v, want a file", test.up.Dest, test.want, info, err)
				}
			}
			for name, want := range map[string]string{"file": "old", "real/inner": "", "real/evil": "", "created": ""} {
				if got, err := os.ReadFile(dir + "/" + name); string(got) != want || want == "" && err == nil {
					t.Errorf("%s = %q, %v, want %q", name, got, err, want)
				}
			}
			checkNoLeftovers(t, dir)
		})
	}
}

// TestPutKinds puts hard links, a sparse file and a directory without write permission
// into a set-gid directory.
func TestPutKinds(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs another group")
	}
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			from, dir := t.TempDir(), t.TempDir()
			writeFiles(t, from, map[string]string{"one": "1", "closed/file": "2"})
			must(t, os.Link(from+"/one", from+"/two"))
			must(t, os.WriteFile(from+"/sparse", nil, 0o644))
			must(t, os.Truncate(from+"/sparse", 1<<20))
			must(t, os.Chmod(from+"/closed", 0o500))
			must(t, os.Mkdir(from+"/open", 0o755))
			must(t, os.Chmod(from+"/open", 0o755|fs.ModeSetgid))
			const group = 65534
			must(t, os.Chown(dir, 0, group))
			must(t, os.Chmod(dir, 0o755|fs.ModeSetgid))
			must(t, m.Put(t.Context(), &bake.Upload{Path: from, Dest: dir + "/to"}))
			must(t, m.Put(t.Context(), &bake.Upload{Content: strings.NewReader("x"), Dest: dir + "/file"}))
			got := runOutput(t, m, bake.Sh("cd "+dir+" && stat -c '%n %a %g %h %s' to/one to/two to/sparse file && stat -c '%n %a %g' to/closed to/open to"))
			const want = "to/one 644 0 1 1\nto/two 644 0 1 1\nto/sparse 644 0 1 1048576\nfile 644 65534 1 1\nto/closed 700 0\nto/open 2755 0\nto 755 0"
			if got != want {
				t.Errorf("stat printed\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// plant fills a directory that everybody may write to with random directories, files and
// links of another user, many of which lead to the victim.
func plant(t *testing.T, r *rand.Rand, dir, victim string, owner int) (planted []string) {
	t.Helper()
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	for range 2 + r.IntN(6) {
		name := filepath.Join(dir, pick("a", "b", "a/b", "b/c", "a/b/c", "c", ".bakestone.x"))
		var err error
		switch r.IntN(4) {
		case 0:
			err = os.Mkdir(name, 0o777)
		case 1:
			err = os.WriteFile(name, []byte("planted"), 0o666)
		default:
			err = os.Symlink(pick(victim, victim+"/keep", victim+"/new", victim+"/sub", "../victim", "c", dir+"/b", "/"), name)
		}
		if err != nil {
			continue // exists, or its directory is missing
		}
		if real, err := filepath.EvalSymlinks(filepath.Dir(name)); err != nil || !strings.HasPrefix(real, dir) {
			must(t, os.Remove(name)) // the other user could not have made it
			continue
		}
		must(t, os.Lchown(name, owner, owner))
		planted = append(planted, name)
	}
	return planted
}

// TestPutHostileTrees puts files and trees as root to random destinations in a directory
// where another user has planted links, and checks that nothing outside changes.
func TestPutHostileTrees(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs links of several users")
	}
	const other = 65534
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := 0
			for seed := range 5 {
				r := rand.New(rand.NewPCG(uint64(seed), 2)) //nolint:gosec // repeatable
				top := t.TempDir()
				dir, victim := top+"/public", top+"/victim"
				writeFiles(t, top, map[string]string{"victim/keep": "keep", "victim/sub/file": "file", "public/": ""})
				must(t, os.Chmod(dir, 0o777|fs.ModeSticky))
				planted := plant(t, r, dir, victim, other)
				before := listing(t, victim)
				for range 4 {
					up := bake.Upload{Dest: dir + "/" + []string{"a", "b", "a/b", "a/b/c/d", "c/x", "b/c"}[r.IntN(6)], Sudo: true, Owner: []string{"", "daemon"}[r.IntN(2)]}
					file := up.Dest
					if r.IntN(2) == 0 {
						up.Content = strings.NewReader("sent")
					} else {
						up.FS = fstest.MapFS{"b/c": {Data: []byte("sent"), Mode: 0o600}, "new": {Data: []byte("sent"), Mode: 0o4755}}
						file += "/b/c"
					}
					if err := m.Put(t.Context(), &up); err == nil {
						done++
						if got, err := os.ReadFile(file); err != nil || string(got) != "sent" {
							t.Errorf("seed %d: Put(%s) = nil, but the file is %q, %v", seed, up.Dest, got, err)
						}
					}
					if diff := cmp.Diff(before, listing(t, victim)); diff != "" {
						t.Fatalf("seed %d: Put(%s) with %q planted changed files outside (-before +after):\n%s", seed, up.Dest, planted, diff)
					}
					if ownerOf(t, victim+"/keep") != 0 || ownerOf(t, victim+"/sub") != 0 {
						t.Fatalf("seed %d: Put(%s) with %q planted changed owners outside", seed, up.Dest, planted)
					}
				}
				checkNoStaging(t, dir)
			}
			if done == 0 {
				t.Error("no Put succeeded")
			}
		})
	}
}

// ownerOf returns a file's owner, as stat prints it.
func ownerOf(t *testing.T, name string) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "stat", "-c", "%u", name).Output()
	must(t, err)
	owner, err := strconv.Atoi(strings.TrimSpace(string(out)))
	must(t, err)
	return owner
}

// checkNoStaging fails the test if dir contains temporary directories of transfers.
func checkNoStaging(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(dir + "/.bakestone.*")
	must(t, err)
	for _, name := range left {
		if filepath.Base(name) != ".bakestone.x" { // planted
			t.Errorf("temporary file left: %s", name)
		}
	}
}
