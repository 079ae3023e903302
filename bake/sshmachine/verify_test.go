package sshmachine_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
)

// TestVerifies transfers to and from a machine that changes what it is given.
func TestVerifies(t *testing.T) {
	h := newHost(t)
	h.run = func(line string) string {
		for from, to := range map[string]string{
			`cat >"$t"`: `tr a b >"$t"`, `exec cat >"$f"`: `exec tr a b >"$f"`,
			`tar -xpf - -C "$w"`:        `tar -xpf - -C "$w" && echo b >"$w/t/file"`,
			`"$f"` + " || exit 1\nwait": `"$f" | tr a b` + "\nwait",
		} {
			line = strings.ReplaceAll(line, from, to)
		}
		return line
	}
	m := connect(t, h.configFor(h.listen(t)))
	dir := t.TempDir()
	content := bytes.Repeat([]byte("aaa\n"), 100_000)
	must(t, os.WriteFile(dir+"/source", content, 0o644))
	for name, err := range map[string]error{
		"small": m.Put(t.Context(), &bake.Upload{Dest: dir + "/small", Content: strings.NewReader("a\n")}),
		"big":   m.Put(t.Context(), &bake.Upload{Dest: dir + "/big", Content: bytes.NewReader(content)}),
		"tree":  m.Put(t.Context(), &bake.Upload{Dest: dir + "/tree", FS: fstest.MapFS{"file": {Data: []byte("a\n")}}}),
		"got":   m.Get(t.Context(), &bake.Download{Source: dir + "/source", Path: dir + "/got"}),
	} {
		if err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s: it is there", name)
		}
	}
	leftovers(t, dir)
}

// TestGetHostile fetches archives that try to write outside of their directory.
func TestGetHostile(t *testing.T) {
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 4, Mode: 0o644}
	}
	for name, headers := range map[string][]tar.Header{
		"parent":        {file("../evil")},
		"deeper":        {file("a/../../evil")},
		"absolute":      {file("/tmp/bakestone-evil")},
		"through link":  {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: ".."}, file("out/evil")},
		"hard link":     {{Typeflag: tar.TypeLink, Name: "passwd", Linkname: "../../../../../../../../etc/passwd"}},
		"hard and link": {{Typeflag: tar.TypeSymlink, Name: "etc", Linkname: "/etc"}, {Typeflag: tar.TypeLink, Name: "passwd", Linkname: "etc/passwd"}},
	} {
		t.Run(name, func(t *testing.T) {
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, header := range headers {
				must(t, w.WriteHeader(&header))
				if header.Size > 0 {
					_, err := w.Write([]byte("evil"))
					must(t, err)
				}
			}
			must(t, w.Close())
			dir := t.TempDir()
			must(t, os.WriteFile(dir+"/evil.tar", archive.Bytes(), 0o644))
			h := newHost(t)
			h.run = func(line string) string {
				return strings.ReplaceAll(line, "exec tar -cf -", "exec cat "+dir+"/evil.tar; :")
			}
			m := connect(t, h.configFor(h.listen(t)))
			if err := m.Get(t.Context(), &bake.Download{Source: dir, Path: dir + "/in/to"}); err == nil {
				t.Error("no error")
			}
			for _, name := range []string{dir + "/evil", dir + "/in/evil", dir + "/in/to/evil", "/tmp/bakestone-evil", dir + "/in/to"} {
				if _, err := os.Lstat(name); err == nil {
					t.Errorf("%s was written", name)
				}
			}
			leftovers(t, dir)
		})
	}
}
