package sshmachine_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// bigTree returns a testTree with 40 MiB more.
func bigTree(t testing.TB) string {
	t.Helper()
	dir := testTree(t)
	for i := range 40 {
		must(t, os.WriteFile(filepath.Join(dir, "a", fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprint(i%10), 1<<20)), 0o644))
	}
	return dir
}

// TestGetTreeInParts fetches a tree over several sessions, or over fewer if the server
// refuses them.
func TestGetTreeInParts(t *testing.T) {
	testenv.Need(t, "sshd")
	from := bigTree(t)
	must(t, os.Link(filepath.Join(from, "plain"), filepath.Join(from, "a/linked")))
	want := listing(t, from)
	must(t, os.Chmod(filepath.Join(from, "-dash"), 0o755|os.ModeSetuid))
	for _, limit := range []string{"1", "2", "10"} {
		t.Run("MaxSessions "+limit, func(t *testing.T) {
			m := connect(t, sshdConfig(testenv.SSHD(t, &testenv.SSHDOptions{Config: []string{"MaxSessions " + limit}})))
			to := filepath.Join(t.TempDir(), "tree")
			var done, total int64
			must(t, m.Get(t.Context(), &bake.Download{Source: from, Path: to, Progress: func(d, all int64) { done, total = d, all }}))
			if diff := cmp.Diff(strings.ReplaceAll(want, "urwxr-xr-x", "-rwxr-xr-x"), listing(t, to)); diff != "" {
				t.Errorf("Get (-want +got):\n%s", diff)
			}
			if done < 40<<20 || done != total {
				t.Errorf("last progress = %d of %d, want all", done, total)
			}
			if !sameFile(t, filepath.Join(to, "plain"), filepath.Join(to, "a/linked")) {
				t.Error("two names of one file were fetched as two files")
			}
			checkNoLeftovers(t, filepath.Dir(to))
		})
	}
}

func sameFile(t testing.TB, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	must(t, err)
	y, err := os.Stat(b)
	must(t, err)
	return os.SameFile(x, y)
}

// TestGetTreeAgain fetches a tree a second time: only what differs is replaced.
func TestGetTreeAgain(t *testing.T) {
	t.Run("sandbox", func(t *testing.T) { checkGetAgain(t, sandboxMachine(t, sandbox.Options{}), true) })
	t.Run("sshd", func(t *testing.T) {
		for name, m := range transferMachines(t) {
			t.Run(name, func(t *testing.T) { checkGetAgain(t, m, name == "tar") })
		}
	})
}

// checkGetAgain fetches a tree from a machine that can compare, or not.
func checkGetAgain(t *testing.T, m *sshmachine.Machine, compares bool) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "tree")
	sh := func(script string) {
		t.Helper()
		runOutput(t, m, bake.Sh("mkdir -p "+from+" && cd "+from+" && "+script))
	}
	sh(`mkdir dir; for f in same mode size content dir/same empty 'it'"'"'s \ odd' touched skipped; do printf %s "$f" >"$f"; done; : >empty; ln -s same link`)
	to := filepath.Join(t.TempDir(), "to")
	var done, total int64
	down := &bake.Download{Source: from, Path: to, Exclude: []string{"skipped"}, Progress: func(d, all int64) { done, total = d, all }}
	must(t, m.Get(t.Context(), down))
	before := files(t, to)
	must(t, os.WriteFile(filepath.Join(to, "touched"), []byte("TOUCHED"), 0o600))
	sh(`chmod 640 mode; echo longer >size; printf CONTENT >content; echo new >new`)
	must(t, m.Get(t.Context(), down))
	if done != total && total > 0 {
		t.Errorf("last progress = %d of %d, want all", done, total)
	}
	want := []string{"content", "mode", "new", "size", "touched"}
	if got := replaced(before, files(t, to)); compares && !slices.Equal(got, want) {
		t.Errorf("second Get replaced %q, want %q", got, want)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	down.Path = fresh
	must(t, m.Get(t.Context(), down))
	if diff := cmp.Diff(listing(t, fresh), listing(t, to)); diff != "" {
		t.Errorf("second Get (-first Get elsewhere +second Get):\n%s", diff)
	}
	checkNoLeftovers(t, to)
}

// files returns the files of a local tree.
func files(t testing.TB, dir string) map[string]fs.FileInfo {
	t.Helper()
	all := map[string]fs.FileInfo{}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[name], err = d.Info()
		}
		return err
	}))
	return all
}

// replaced returns the names of the files that are other ones than before.
func replaced(before, after map[string]fs.FileInfo) []string {
	var names []string
	for name, info := range after {
		if there := before[name]; there == nil || !os.SameFile(there, info) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestGetPartsHostile fetches trees in parts from a machine that sends other ones than it
// listed.
func TestGetPartsHostile(t *testing.T) {
	for name, test := range map[string]struct{ from, to, want string }{
		"less":            {"tar -cf - -C", "tar --exclude=b -cf - -C", `listed "b"`},
		"other content":   {"-T -", "-T - | sed s/bbbb/BBBB/", "digest mismatch"},
		"outside":         {"-T -", `-T - --transform 's,^\./b$,../evil,' -P`, "outside the directory"},
		"below a link":    {"-T -", `-T - --transform 's,^\./b$,./link/evil,'`, "link"},
		"twice":           {"-T -", `-T - --transform 's,^\./b$,./d/c,'`, "listed twice"},
		"no size":         {"%a %s %Y", "%a 0 %Y", ""},
		"negative size":   {"%a %s %Y", "%a -1 %Y", ""},
		"other names":     {"|%n'", "|x%n'", ""},
		"one name only":   {"|%n'", "|./b'", ""},
		"all directories": {"%F|", "directory|", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"from/a": "a", "from/b": "bbbb", "from/d/c": "c", "from/left": "l"})
			must(t, os.Symlink("..", filepath.Join(dir, "from/link")))
			h := newHost(t)
			h.run = func(line string) string { return strings.ReplaceAll(line, test.from, test.to) }
			m := connect(t, h.configFor(h.listen(t)))
			err := m.Get(t.Context(), &bake.Download{Source: dir + "/from", Path: dir + "/in/to", Exclude: []string{"left"}})
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Get = %v, want an error with %q", err, test.want)
			}
			if got := listing(t, dir+"/in"); err == nil && strings.Count(got, "\n") != 6 {
				t.Errorf("Get = nil and wrote:\n%s", got)
			}
			for _, name := range []string{"evil", "in/evil", "in/to/evil"} {
				if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
					t.Errorf("Get created %s", name)
				}
			}
			checkNoLeftovers(t, dir)
		})
	}
}
