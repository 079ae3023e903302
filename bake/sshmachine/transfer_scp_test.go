package sshmachine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestPutCancelBeforeSCPStarts cancels a transfer whose scp starts after the temporary
// files have been removed. It must not create them again.
func TestPutCancelBeforeSCPStarts(t *testing.T) {
	testenv.Need(t, "scp")
	dir, source := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "big"), make([]byte, 1<<20), 0o644))
	h := newHost(t)
	h.run = func(line string) string {
		return strings.ReplaceAll(withoutTar(line), "exec scp", `trap "" TERM; sleep 1; exec scp`)
	}
	m := connect(t, h.configFor(h.listen(t)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := m.Put(ctx, &bake.Upload{Dest: dir + "/tree", Path: source, Progress: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want Canceled", err)
	}
	must(t, m.Close()) // waits for scp
	if got := listing(t, dir); strings.Contains(got, "\n") {
		t.Errorf("canceled Put left:\n%s", got)
	}
}

// TestPutSCPErrors uses an scp that reports several errors, as scp does if its
// directory is missing.
func TestPutSCPErrors(t *testing.T) {
	h := newHost(t)
	h.run = func(line string) string {
		return strings.ReplaceAll(withoutTar(line), "exec scp", `printf "\\001scp: no paper\\n"; sleep 0.2; printf "\\001scp: no ink\\n\\001scp: no pen\\n"; exit 1; scp`)
	}
	m := connect(t, h.configFor(h.listen(t)))
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "page"), []byte("text"), 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := m.Put(ctx, &bake.Upload{Dest: t.TempDir() + "/tree", Path: source}); err == nil || !strings.Contains(err.Error(), "scp on the machine: scp: no paper") {
		t.Errorf("Put = %v, want scp's first error", err)
	}
}
