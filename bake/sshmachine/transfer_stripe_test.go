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

// distantMachine returns a machine with a round-trip time that limits a single
// session.
func distantMachine(t testing.TB) (*sshmachine.Machine, *testenv.Server) {
	t.Helper()
	server := testenv.SSHD(t, nil)
	cfg := sshdConfig(server)
	cfg.Addr = delayed(t, server.Addr, 20*time.Millisecond)
	return connect(t, cfg), server
}

// TestStripedFile sends and fetches a file over several channels.
func TestStripedFile(t *testing.T) {
	m, _ := distantMachine(t)
	const size = 150<<20 + 12345 // two segments and part of a third
	from, dir := bigFile(t, size), t.TempDir()
	want := fileDigest(t, from)
	file, err := os.Open(from)
	must(t, err)
	defer file.Close()
	var done, total int64
	for name, up := range map[string]*bake.Upload{
		"path": {Path: from, Mode: 0o600, Progress: func(d, all int64) { done, total = d, all }}, "reader": {Content: file},
	} {
		up.Dest = filepath.Join(dir, "put", name)
		must(t, m.Put(t.Context(), up))
		if got := fileDigest(t, up.Dest); got != want {
			t.Errorf("Put(%s): digest %s, want %s", name, got, want)
		}
	}
	if done != size || total != size {
		t.Errorf("last progress = %d of %d, want %d", done, total, size)
	}
	to := filepath.Join(dir, "got")
	must(t, m.Get(t.Context(), &bake.Download{Source: from, Path: to, Progress: func(d, all int64) { done, total = d, all }}))
	if got := fileDigest(t, to); got != want {
		t.Errorf("Get: digest %s, want %s", got, want)
	}
	if done != size || total != size {
		t.Errorf("last progress = %d of %d, want %d", done, total, size)
	}
	if info, err := os.Stat(filepath.Join(dir, "put", "path")); err != nil || info.Mode() != 0o600 {
		t.Errorf("Stat = %v, %v, want mode 0600", info, err)
	}
	checkNoLeftovers(t, dir)
}

// TestStripedPutWithSudo sends a big file as root, although SFTP writes as the login.
func TestStripedPutWithSudo(t *testing.T) {
	h := newHost(t)
	h.fakeSudo(t, "")
	cfg := h.configFor("")
	cfg.Addr = delayed(t, h.listen(t), 20*time.Millisecond)
	m := connect(t, cfg)
	dest := filepath.Join(t.TempDir(), "big")
	from := bigFile(t, 40<<20)
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Path: from, Sudo: true}))
	if fileDigest(t, dest) != fileDigest(t, from) {
		t.Error("Put wrote a file with another digest")
	}
	checkNoLeftovers(t, filepath.Dir(dest))
}

// TestCompressedTree sends a tree that compresses well.
func TestCompressedTree(t *testing.T) {
	m, _ := distantMachine(t)
	from := testTree(t)
	writeFiles(t, from, map[string]string{"much": strings.Repeat("all work and no play ", 300_000)})
	dest := filepath.Join(t.TempDir(), "tree")
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Path: from}))
	if diff := cmp.Diff(listing(t, from), listing(t, dest)); diff != "" {
		t.Errorf("Put (-want +got):\n%s", diff)
	}
}

// TestStripedPutOpensChannels counts the SFTP channels that a big file uses.
func TestStripedPutOpensChannels(t *testing.T) {
	m, server := distantMachine(t)
	var content bytes.Buffer
	content.Write(make([]byte, 33<<20))
	must(t, m.Put(t.Context(), &bake.Upload{Dest: filepath.Join(t.TempDir(), "x"), Content: &content, Size: 33 << 20}))
	log, err := os.ReadFile(filepath.Join(server.Dir, "sshd.log"))
	must(t, err)
	if got := strings.Count(string(log), "subsystem 'sftp'"); got < 4 {
		t.Errorf("Put opened %d SFTP channels, want at least 4", got)
	}
}
