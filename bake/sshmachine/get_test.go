package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"

	"github.com/bakestone-go/bakestone/bake"
)

func TestGetFile(t *testing.T) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	must(t, os.WriteFile(filepath.Join(dir, "it's big"), big, 0o640))
	must(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			var content bytes.Buffer
			var done, total int64
			must(t, m.Get(t.Context(), &bake.Download{
				Source: dir + "/it's big", Content: &content, Sudo: os.Getuid() == 0,
				Progress: func(d, all int64) { done, total = d, all },
			}))
			if !bytes.Equal(content.Bytes(), big) {
				t.Errorf("Get = %d bytes, want %d", content.Len(), len(big))
			}
			if done != int64(len(big)) || total != done {
				t.Errorf("last progress = %d of %d, want %d", done, total, len(big))
			}
			to := filepath.Join(t.TempDir(), "new", "file")
			for source, want := range map[string]fs.FileMode{"it's big": 0o640, "empty": 0o600} {
				must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/" + source, Path: to}))
				info, err := os.Stat(to)
				must(t, err)
				if info.Mode() != want || fileDigest(t, to) != fileDigest(t, filepath.Join(dir, source)) {
					t.Errorf("Get(%s): mode %v, %d bytes, want mode %v and the source's content", source, info.Mode(), info.Size(), want)
				}
			}
			content.Reset()
			must(t, m.Get(t.Context(), &bake.Download{Source: "/proc/self/comm", Content: &content}))
			if content.Len() == 0 {
				t.Error("Get of a file in /proc = 0 bytes")
			}
			checkNoLeftovers(t, filepath.Dir(to))
		})
	}
}

func TestGetTree(t *testing.T) {
	from := testTree(t)
	must(t, os.Chmod(filepath.Join(from, "-dash"), 0o755)) // Get drops set-id bits
	want := testTree(t)
	must(t, os.Chmod(filepath.Join(want, "-dash"), 0o755))
	removeExcluded(t, want)
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			to := filepath.Join(parent, "new", "tree")
			down := &bake.Download{Source: from, Path: to, Exclude: excludePatterns()}
			must(t, m.Get(t.Context(), down))
			if diff := cmp.Diff(listing(t, want), listing(t, to)); diff != "" {
				t.Errorf("Get of a new tree (-want +got):\n%s", diff)
			}
			writeFiles(t, to, map[string]string{"plain": "old", "a/b/stays": "stays"})
			must(t, m.Get(t.Context(), down))
			if got, err := os.ReadFile(filepath.Join(to, "a/b/stays")); err != nil || string(got) != "stays" {
				t.Errorf("existing file = %q, %v, want it unchanged", got, err)
			}
			must(t, os.Remove(filepath.Join(to, "a/b/stays")))
			if diff := cmp.Diff(listing(t, want), listing(t, to)); diff != "" {
				t.Errorf("Get into an existing tree (-want +got):\n%s", diff)
			}
			checkNoLeftovers(t, parent)
		})
	}
}

// TestGetGrowing fetches files to which the machine appends after it has told their size.
func TestGetGrowing(t *testing.T) {
	for name, test := range map[string]struct {
		size int
		rtt  time.Duration
		old  string // in the script that reads the file
	}{
		"small":         {10, 0, "head -c "},
		"big":           {3<<20 + 5, 0, "v=$(try"},
		"big, at once":  {33 << 20, 10 * time.Millisecond, "v=$(try"},
		"during digest": {3<<20 + 5, 0, "[ $(wc "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.run = func(line string) string {
				return strings.Replace(line, test.old, `echo more >>"$f"; `+test.old, 1)
			}
			h.sftp = func(channel io.ReadWriteCloser) {
				server, err := sftp.NewServer(channel)
				if err == nil {
					_ = server.Serve()
				}
			}
			addr := h.listen(t)
			if test.rtt > 0 {
				addr = delayed(t, addr, test.rtt)
			}
			m := connect(t, h.configFor(addr))
			source := filepath.Join(t.TempDir(), "log")
			want := bytes.Repeat([]byte("line\n"), test.size/5+1)[:test.size]
			must(t, os.WriteFile(source, want, 0o644))
			var got bytes.Buffer
			err := m.Get(t.Context(), &bake.Download{Source: source, Content: &got})
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("Get of %d bytes = %d bytes, %v, want what was there at first", len(want), got.Len(), err)
			}
			if info, err := os.Stat(source); err != nil || info.Size() == int64(len(want)) {
				t.Errorf("the file has not grown: %v", err)
			}
		})
	}
}

// TestGetUnreadable shows why the machine cannot read a file.
func TestGetUnreadable(t *testing.T) {
	h := newHost(t)
	h.run = func(line string) string { return strings.ReplaceAll(line, "dd bs=", "dd if=/none bs=") }
	m := connect(t, h.configFor(h.listen(t)))
	source := bigFile(t, 1<<20)
	err := m.Get(t.Context(), &bake.Download{Source: source, Content: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("Get = %v, want dd's message", err)
	}
}

func TestGetErrors(t *testing.T) {
	m := sshdMachine(t)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"file": "x", "dir/a": "x"})
	broken := errors.New("broken")
	for name, down := range map[string]*bake.Download{
		"nil":                 nil,
		"missing":             {Source: dir + "/none", Path: dir + "/to"},
		"file as a directory": {Source: dir + "/file/", Path: dir + "/to"},
		"missing to a writer": {Source: dir + "/none", Content: &bytes.Buffer{}},
		"directory to writer": {Source: dir, Content: &bytes.Buffer{}},
		"writer fails":        {Source: dir + "/file", Content: writerFunc(func([]byte) (int, error) { return 0, broken })},
		"relative":            {Source: "file", Path: dir + "/to"},
		"bad pattern":         {Source: dir, Path: dir + "/to", Exclude: []string{"["}},
		"parent is a file":    {Source: dir + "/file", Path: dir + "/file/below"},
		"tree over a file":    {Source: dir + "/dir", Path: dir + "/file"},
	} {
		if err := m.Get(t.Context(), down); err == nil {
			t.Errorf("%s: Get = nil, want an error", name)
		}
	}
	if _, err := os.Stat(dir + "/to"); err == nil {
		t.Error("a failed Get created its destination")
	}
	checkNoLeftovers(t, dir)
}

func TestGetCancel(t *testing.T) {
	for name, m := range transferMachines(t) {
		t.Run(name, func(t *testing.T) {
			source, to := t.TempDir(), t.TempDir()
			must(t, os.WriteFile(filepath.Join(source, "big"), make([]byte, 64<<20), 0o644))
			for _, down := range []*bake.Download{
				{Source: source, Path: to + "/tree"},
				{Source: source + "/big", Path: to + "/file"},
			} {
				ctx, cancel := context.WithCancel(t.Context())
				down.Progress = func(done, _ int64) {
					if done > 0 {
						cancel()
					}
				}
				if err := m.Get(ctx, down); !errors.Is(err, context.Canceled) {
					t.Errorf("Get = %v, want Canceled", err)
				}
				cancel()
			}
			if got := listing(t, to); strings.Contains(got, "\n") {
				t.Errorf("canceled Get left:\n%s", got)
			}
		})
	}
}

// A canceled Get removes what it has written also if the machine takes long to stop.
func TestGetCancelOnSlowMachine(t *testing.T) {
	h := newHost(t)
	h.run = func(line string) string { return strings.ReplaceAll(line, "v=$(grep ", "sleep 3; v=$(grep ") }
	m := connect(t, h.configFor(h.listen(t)))
	source := filepath.Dir(bigFile(t, 64<<20))
	for what, down := range map[string]bake.Download{"file": {Source: source + "/big"}, "tree": {Source: source}} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			to := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			down.Path = to + "/to"
			down.Progress = func(int64, int64) { cancel() }
			if err := m.Get(ctx, &down); !errors.Is(err, context.Canceled) {
				t.Errorf("Get = %v, want Canceled", err)
			}
			if got := listing(t, to); strings.Contains(got, "\n") {
				t.Errorf("canceled Get left:\n%s", got)
			}
		})
	}
}
