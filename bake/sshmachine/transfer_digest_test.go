package sshmachine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
)

// TestTransferDetectsCorruption transfers to and from a machine that changes the data.
func TestTransferDetectsCorruption(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"few/same": "x", "few/file": "aaaa", "others/same": "x", "others/file": "bbbb"})
	h := newHost(t)
	h.run = func(line string) string {
		for from, to := range map[string]string{
			`cat >"$t"`: `tr a b >"$t"`, `exec cat >"$f"`: `exec tr a b >"$f"`,
			`tar -xpf - -C "$w"`:   `tar -xpf - -C "$w" && echo b >"$w/t/file"`,
			`"$f" || exit 1\nwait`: `"$f" | tr a b\nwait`,
			"try tar -cf -":        "try tar -cf - -C " + dir + "/others .; :",
		} {
			line = strings.ReplaceAll(line, from, to)
		}
		return line
	}
	m := connect(t, h.configFor(h.listen(t)))
	content := bytes.Repeat([]byte("aaa\n"), 100_000)
	must(t, os.WriteFile(dir+"/source", content, 0o644))
	for name, err := range map[string]error{
		"small":    m.Put(t.Context(), &bake.Upload{Dest: dir + "/small", Content: strings.NewReader("a\n")}),
		"big":      m.Put(t.Context(), &bake.Upload{Dest: dir + "/big", Content: bytes.NewReader(content)}),
		"tree":     m.Put(t.Context(), &bake.Upload{Dest: dir + "/tree", FS: fstest.MapFS{"file": {Data: []byte("a\n")}}}),
		"tree got": m.Get(t.Context(), &bake.Download{Source: dir + "/few", Path: dir + "/tree got"}),
		"got":      m.Get(t.Context(), &bake.Download{Source: dir + "/source", Path: dir + "/got"}),
	} {
		if err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("%s: error %v, want a digest mismatch", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s: the destination was created", name)
		}
	}
	checkNoLeftovers(t, dir)
}
