package sshmachine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// far is a machine behind a round-trip time at which one session is not enough.
func far(t testing.TB) (*sshmachine.Machine, *testenv.Server) {
	t.Helper()
	server := testenv.SSHD(t, nil)
	cfg := configOf(server)
	cfg.Addr = slowed(t, server.Addr, 20*time.Millisecond)
	return connect(t, cfg), server
}

// TestFarFile sends and fetches a file over several channels.
func TestFarFile(t *testing.T) {
	m, _ := far(t)
	const size = 150<<20 + 12345 // two segments and a part
	from, dir := bigFile(t, size), t.TempDir()
	want := digest(t, from)
	file, err := os.Open(from)
	must(t, err)
	defer file.Close()
	var done, total int64
	for name, up := range map[string]*bake.Upload{
		"path": {Path: from, Mode: 0o600, Progress: func(d, all int64) { done, total = d, all }}, "reader": {Content: file},
	} {
		up.Dest = filepath.Join(dir, "put", name)
		must(t, m.Put(t.Context(), up))
		if got := digest(t, up.Dest); got != want {
			t.Errorf("put %s: digest %s, want %s", name, got, want)
		}
	}
	if done != size || total != size {
		t.Errorf("progress ended with %d of %d", done, total)
	}
	to := filepath.Join(dir, "got")
	must(t, m.Get(t.Context(), &bake.Download{Source: from, Path: to, Progress: func(d, all int64) { done, total = d, all }}))
	if got := digest(t, to); got != want {
		t.Errorf("get: digest %s, want %s", got, want)
	}
	if done != size || total != size {
		t.Errorf("progress ended with %d of %d", done, total)
	}
	if info, err := os.Stat(filepath.Join(dir, "put", "path")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	leftovers(t, dir)
}

// TestFarSudo sends a big file as root by a login that is not: SFTP writes
// where the login may.
func TestFarSudo(t *testing.T) {
	h := newHost(t)
	h.fakeSudo(t, "")
	cfg := h.configFor("")
	cfg.Addr = slowed(t, h.listen(t), 20*time.Millisecond)
	m := connect(t, cfg)
	dest := filepath.Join(t.TempDir(), "big")
	from := bigFile(t, 40<<20)
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Path: from, Sudo: true}))
	if digest(t, dest) != digest(t, from) {
		t.Error("the digest differs")
	}
	leftovers(t, filepath.Dir(dest))
}

// TestFarTree sends a tree that compresses well.
func TestFarTree(t *testing.T) {
	m, _ := far(t)
	from := tree(t)
	write(t, from, map[string]string{"much": strings.Repeat("all work and no play ", 300_000)})
	dest := filepath.Join(t.TempDir(), "tree")
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Path: from}))
	if diff := cmp.Diff(listing(t, from), listing(t, dest)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFarFileIsCut(t *testing.T) {
	m, server := far(t)
	var content bytes.Buffer
	content.Write(make([]byte, 33<<20))
	must(t, m.Put(t.Context(), &bake.Upload{Dest: filepath.Join(t.TempDir(), "x"), Content: &content, Size: 33 << 20}))
	log, err := os.ReadFile(filepath.Join(server.Dir, "sshd.log"))
	must(t, err)
	if got := strings.Count(string(log), "subsystem 'sftp'"); got < 4 {
		t.Errorf("%d channels", got)
	}
}
