package sshmachine_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
)

// TestGetHostileArchive fetches archives that try to write outside the destination.
func TestGetHostileArchive(t *testing.T) {
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
				t.Error("Get = nil, want an error")
			}
			for _, name := range []string{dir + "/evil", dir + "/in/evil", dir + "/in/to/evil", "/tmp/bakestone-evil", dir + "/in/to"} {
				if _, err := os.Lstat(name); err == nil {
					t.Errorf("Get created %s", name)
				}
			}
			checkNoLeftovers(t, dir)
		})
	}
}

// withoutTar edits the script that looks for tools so that it does not find tar.
func withoutTar(line string) string { return strings.ReplaceAll(line, "for t in tar ", "for t in ") }

// TestGetHostileStream fetches invalid streams from a machine without tar and SFTP.
func TestGetHostileStream(t *testing.T) {
	for name, stream := range map[string]string{
		"parent":       "f 644 0 4 ../evil\x00evil\x00",
		"absolute":     "f 644 0 4 /tmp/bakestone-evil\x00evil\x00",
		"through link": "l 777 0 2 ./out\x00..\x00f 644 0 4 ./out/evil\x00evil\x00",
		"shrunk":       "f 644 0 9 ./evil\x00evil\x00",
		"grown":        "f 644 0 2 ./evil\x00evil\x00",
		"broken off":   "f 644 0 4 ./evil",
		"no fields":    "evil\x00",
		"no number":    "f 644 0 four ./evil\x00evil\x00",
		"negative":     "f 644 0 -4 ./evil\x00evil\x00",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(dir+"/stream", []byte("d 755 0 0 .\x00\x00"+stream), 0o644))
			h := newHost(t)
			h.run = func(line string) string {
				return strings.ReplaceAll(withoutTar(line), "exec find", "exec cat "+dir+"/stream; :")
			}
			m := connect(t, h.configFor(h.listen(t)))
			if err := m.Get(t.Context(), &bake.Download{Source: dir, Path: dir + "/in/to"}); err == nil {
				t.Error("Get = nil, want an error")
			}
			for _, name := range []string{dir + "/evil", dir + "/in/evil", dir + "/in/to", "/tmp/bakestone-evil"} {
				if _, err := os.Lstat(name); err == nil {
					t.Errorf("Get created %s", name)
				}
			}
			checkNoLeftovers(t, dir)
		})
	}
}

// TestGetTreeWithSudo fetches from a machine without tar, where SFTP cannot read as
// root.
func TestGetTreeWithSudo(t *testing.T) {
	h := newHost(t)
	h.fakeSudo(t, "hush")
	h.run = withoutTar
	cfg := h.configFor(h.listen(t))
	cfg.SudoPassword = bake.NewSecret("hush")
	from := testTree(t)
	want := testTree(t)
	for _, dir := range []string{from, want} {
		must(t, os.Chmod(filepath.Join(dir, "-dash"), 0o755)) // Get drops set-id bits
	}
	to := filepath.Join(t.TempDir(), "to")
	must(t, connect(t, cfg).Get(t.Context(), &bake.Download{Source: from, Path: to, Sudo: true}))
	if diff := cmp.Diff(listing(t, want), listing(t, to)); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
}

// TestGetMissingEntries fetches trees of which the machine sends only a part.
func TestGetMissingEntries(t *testing.T) {
	for name, rewrite := range map[string]func(line string) string{
		"tar": func(line string) string { return strings.ReplaceAll(line, "tar -cf", "tar --exclude=b -cf") },
		"find": func(line string) string {
			return strings.ReplaceAll(withoutTar(line), "exec find .", "exec find . -name b -prune -o")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"from/a": "a", "from/b": "b", "from/d/b/": ""})
			h := newHost(t)
			h.run = rewrite
			m := connect(t, h.configFor(h.listen(t)))
			err := m.Get(t.Context(), &bake.Download{Source: dir + "/from", Path: dir + "/to"})
			if err == nil || !strings.Contains(err.Error(), `listed "b"`) {
				t.Errorf("Get = %v, want an error that names b", err)
			}
			must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/from", Path: dir + "/without", Exclude: []string{"b"}}))
			if got, err := os.ReadDir(dir + "/without"); err != nil || len(got) != 2 {
				t.Errorf("Get without b wrote %v, %v, want a and d", got, err)
			}
			if _, err := os.Lstat(dir + "/to"); err == nil {
				t.Error("a failed Get created its destination")
			}
		})
	}
}
