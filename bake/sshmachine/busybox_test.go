package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestBusybox runs commands and transfers with the shell and tools of BusyBox.
func TestBusybox(t *testing.T) {
	busybox := testenv.Need(t, "busybox")
	bin := t.TempDir()
	list, err := exec.CommandContext(t.Context(), busybox, "--list").Output()
	must(t, err)
	for name := range strings.FieldsSeq(string(list)) {
		must(t, os.Symlink(busybox, filepath.Join(bin, name)))
	}
	h := newHost(t)
	h.env = []string{"PATH=" + bin, "HOME=" + t.TempDir()}
	h.run = func(line string) string { return strings.ReplaceAll(line, "/bin/sh ", bin+"/sh ") }
	m := connect(t, h.configFor(h.listen(t)))

	const odd = "it's \"odd\"\n$HOME \\ ☃\t"
	cmd := &bake.Cmd{Line: `printf %s "$A"; cat; readlink /proc/$$/exe`, Env: map[string]string{"A": odd}, Stdin: strings.NewReader("rest\n")}
	if got := runOutput(t, m, cmd); got != odd+"rest\n"+busybox {
		t.Errorf("Run printed %q, want %q", got, odd+"rest\n"+busybox)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd = &bake.Cmd{Line: "(setsid sleep 86423 &); echo up; sleep 86423; echo", Stdout: writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })}
	if err := m.Run(ctx, cmd); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	checkNoProcess(t, "86423")

	dir, from := t.TempDir(), testTree(t)
	writeFiles(t, from, map[string]string{"two\nlines": "newline", "a/x\n" + strings.Repeat("0", 64) + "  y": "like a digest"})
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/small", Content: strings.NewReader("small")}))
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/big", Content: bytes.NewReader(big)}))
	var content bytes.Buffer
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/big", Content: &content}))
	if !bytes.Equal(content.Bytes(), big) {
		t.Errorf("Get = %d bytes, want the %d of Put", content.Len(), len(big))
	}
	for range 2 {
		must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/tree", Path: from}))
	}
	if diff := cmp.Diff(listing(t, from), listing(t, dir+"/tree")); diff != "" {
		t.Errorf("Put (-want +got):\n%s", diff)
	}
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/tree", Path: dir + "/back"}))
	must(t, os.Chmod(dir+"/tree/-dash", 0o755))
	if diff := cmp.Diff(listing(t, dir+"/tree"), listing(t, dir+"/back")); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	checkNoLeftovers(t, dir)
}
