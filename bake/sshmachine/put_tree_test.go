package sshmachine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// inodes returns the inode of each file below dir.
func inodes(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(runOutput(t, sshdMachine(t), bake.Sh("cd "+dir+" && find . -type f -exec stat -c '%i %n' {} +"))) {
		inode, name, _ := strings.Cut(strings.TrimSpace(line), " ./")
		out[name] = inode
	}
	return out
}

// changed returns the names of the files that have another inode than before.
func changed(before, after map[string]string) []string {
	var names []string
	for name, inode := range after {
		if before[name] != inode {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestPutTreeAgain sends a tree a second time: only what differs is replaced.
func TestPutTreeAgain(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "tree")
			from := fstest.MapFS{
				"same": {Data: []byte("same"), Mode: 0o644}, "mode": {Data: []byte("mode"), Mode: 0o644}, "size": {Data: []byte("size"), Mode: 0o644},
				"content": {Data: []byte("content"), Mode: 0o644}, "dir/same": {Data: []byte("same"), Mode: 0o600}, "empty": {Mode: 0o644},
				"it's \\ odd": {Data: []byte("odd"), Mode: 0o644}, "set-id": {Data: []byte("x"), Mode: 0o755 | os.ModeSetuid}, "touched": {Data: []byte("there"), Mode: 0o644},
			}
			var done, total int64
			up := &bake.Upload{Dest: dest, FS: from, Progress: func(d, all int64) { done, total = d, all }}
			must(t, m.Put(t.Context(), up))
			before := inodes(t, dest)
			must(t, os.WriteFile(filepath.Join(dest, "touched"), []byte("other"), 0o600))
			from["mode"].Mode, from["size"].Data, from["content"].Data = 0o640, []byte("another size"), []byte("CONTENT")
			from["new"] = &fstest.MapFile{Data: []byte("new"), Mode: 0o644}
			must(t, m.Put(t.Context(), up))
			if done != total || total == 0 {
				t.Errorf("last progress = %d of %d, want all", done, total)
			}
			want := []string{"content", "mode", "new", "size", "touched"}
			if strings.Contains(name, "no ") || name == "scp" { // cannot compare
				want = nil
			}
			if got := changed(before, inodes(t, dest)); want != nil && !slices.Equal(got, want) {
				t.Errorf("second Put replaced %q, want %q", got, want)
			}
			fresh := filepath.Join(t.TempDir(), "tree")
			up.Dest = fresh
			must(t, m.Put(t.Context(), up))
			if diff := cmp.Diff(contents(t, fresh, from), contents(t, dest, from)); diff != "" {
				t.Errorf("second Put (-first Put elsewhere +second Put):\n%s", diff)
			}
			checkNoLeftovers(t, dest)
		})
	}
}

// contents returns the mode and content of each file of a tree.
func contents(t testing.TB, dir string, tree fstest.MapFS) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name := range tree {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		out[name] = fmt.Sprintf("%v %q", info.Mode(), data)
	}
	return out
}

// TestPutTreeOwnerAgain sends a tree again to another owner.
func TestPutTreeOwnerAgain(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing owners requires root")
	}
	m := sshdMachine(t)
	dest := filepath.Join(t.TempDir(), "tree")
	from := fstest.MapFS{"a": {Data: []byte("a"), Mode: 0o644}}
	var last map[string]string
	for _, step := range []struct {
		owner, group string
		replaced     bool
	}{{"", "", true}, {"", "", false}, {"daemon", "", true}, {"daemon", "", false}, {"1", "", false}, {"daemon", "12345", true}, {"daemon", "12345", false}, {"", "", true}} {
		must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, FS: from, Owner: step.owner, Group: step.group, Sudo: true}))
		now := inodes(t, dest)
		if replaced := len(changed(last, now)) > 0; replaced != step.replaced {
			t.Errorf("Put as %q:%q replaced the file: %t, want %t", step.owner, step.group, replaced, step.replaced)
		}
		last = now
		want := map[string]string{"": "root", "1": "daemon", "daemon": "daemon"}[step.owner]
		if got := runOutput(t, m, bake.Sh("stat -c %U "+dest+"/a")); got != want {
			t.Errorf("Put as %q: owner %q, want %q", step.owner, got, want)
		}
	}
}

func TestPutTreeDelete(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "tree")
			up := &bake.Upload{
				Dest: dest, Delete: true, Exclude: []string{"*.log", "cache"},
				FS: fstest.MapFS{"dir/file": {Data: []byte("x")}, "link": {Data: []byte("dir"), Mode: os.ModeSymlink}},
			}
			if err := m.Put(t.Context(), up); name == "scp" || name == "tar, no xargs" {
				if name == "scp" && (err == nil || !strings.Contains(err.Error(), "Upload.Delete")) {
					t.Errorf("Put = %v, want an error that names Upload.Delete", err)
				}
				if name == "scp" {
					return
				}
			} else {
				must(t, err)
			}
			outside := t.TempDir()
			writeFiles(t, outside, map[string]string{"stays": "s"})
			writeFiles(t, dest, map[string]string{
				"old": "o", "-rf": "dash", "it's old": "o", "new\nline": "n", "gone/deep/file": "g", "gone/empty/": "", "kept/a.log": "l", "kept/b": "b", "cache/x": "c", "dir/other": "o",
			})
			must(t, os.Symlink(outside, filepath.Join(dest, "gone/link")))
			must(t, os.Symlink("/none", filepath.Join(dest, "broken")))
			err := m.Put(t.Context(), up)
			if name == "tar, no xargs" {
				if err == nil || !strings.Contains(err.Error(), "list files to delete: machine has no find or no xargs") {
					t.Errorf("Put = %v, want an error", err)
				}
				return
			}
			must(t, err)
			var got []string
			for line := range strings.Lines(runOutput(t, m, bake.Sh("cd "+dest+" && find . ! -name . | sort"))) {
				got = append(got, strings.TrimSpace(line))
			}
			want := []string{"./cache", "./cache/x", "./dir", "./dir/file", "./kept", "./kept/a.log", "./link"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("after Put with Delete (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(outside, "stays")); err != nil {
				t.Errorf("file behind a removed link: %v, want it to stay", err)
			}
		})
	}
}

func TestPutDeleteErrors(t *testing.T) {
	m := sshdMachine(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, up := range map[string]*bake.Upload{
		"content": {Dest: t.TempDir() + "/x", Content: strings.NewReader(""), Delete: true},
		"file":    {Dest: t.TempDir() + "/x", Path: file, Delete: true},
		"root":    {Dest: "/./", FS: fstest.MapFS{}, Delete: true},
	} {
		if err := m.Put(t.Context(), up); err == nil || !strings.Contains(err.Error(), "Upload.Delete") {
			t.Errorf("%s: Put = %v, want an error that names Upload.Delete", name, err)
		}
	}
}

// TestPutTreeInParts sends a tree over several sessions, or over fewer if the server
// refuses them.
func TestPutTreeInParts(t *testing.T) {
	testenv.Need(t, "sshd")
	from := testTree(t)
	for i := range 40 {
		must(t, os.WriteFile(filepath.Join(from, "a", fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprint(i), 1<<20)), 0o644))
	}
	for _, limit := range []string{"1", "2", "3", "10"} {
		t.Run("MaxSessions "+limit, func(t *testing.T) {
			m := connect(t, sshdConfig(testenv.SSHD(t, &testenv.SSHDOptions{Config: []string{"MaxSessions " + limit}})))
			dest := filepath.Join(t.TempDir(), "tree")
			var done, total int64
			must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Path: from, Progress: func(d, all int64) { done, total = d, all }}))
			if diff := cmp.Diff(listing(t, from), listing(t, dest)); diff != "" {
				t.Errorf("Put (-want +got):\n%s", diff)
			}
			if done == 0 || done != total {
				t.Errorf("last progress = %d of %d, want all", done, total)
			}
			checkNoLeftovers(t, filepath.Dir(dest))
		})
	}
}
