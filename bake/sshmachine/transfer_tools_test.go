package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// A tool on the machine that fails or ends early makes the transfer fail, with an error
// that names the tool, its status and what it printed.
func TestBrokenTools(t *testing.T) {
	early := func(_ context.Context, _ *sandbox.Process) int { return 0 }
	silent := func(_ context.Context, _ *sandbox.Process) int { return 3 }
	loud := func(_ context.Context, p *sandbox.Process) int {
		_, _ = fmt.Fprintln(p.Stderr, "no space left")
		return 2
	}
	truncating := func(_ context.Context, p *sandbox.Process) int { // an archive of the root alone
		header := make([]byte, 512)
		copy(header, "./")
		copy(header[100:], "0000755\x000000000\x000000000\x0000000000000\x0000000000000\x00        5")
		sum := 0
		for _, b := range header {
			sum += int(b)
		}
		copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
		_, _ = p.Stdout.Write(header)
		return 0
	}
	big := bytes.Repeat([]byte("0123456789"), 30_000) // more than a small file
	tree := fstest.MapFS{"a": {Data: big, Mode: 0o644}, "b": {Data: []byte("b"), Mode: 0o644}}
	putTree := func(m *sshmachine.Machine) error { return m.Put(t.Context(), &bake.Upload{FS: tree, Dest: "/tmp/x"}) }
	mergeTree := func(m *sshmachine.Machine) error {
		return m.Put(t.Context(), &bake.Upload{FS: tree, Dest: "/home/ubuntu"})
	}
	putFile := func(m *sshmachine.Machine) error {
		return m.Put(t.Context(), &bake.Upload{Content: strings.NewReader("x"), Dest: "/tmp/f"})
	}
	putBig := func(m *sshmachine.Machine) error {
		return m.Put(t.Context(), &bake.Upload{Content: bytes.NewReader(big), Dest: "/tmp/g"})
	}
	getTree := func(m *sshmachine.Machine) error {
		return m.Get(t.Context(), &bake.Download{Source: "/home/ubuntu", Path: t.TempDir() + "/x"})
	}
	getFile := func(m *sshmachine.Machine) error {
		return m.Get(t.Context(), &bake.Download{Source: "/etc/os-release", Path: t.TempDir() + "/x"})
	}
	for name, test := range map[string]struct {
		tool string
		run  sandbox.Command
		do   func(m *sshmachine.Machine) error
		want string
	}{
		"tar ends early":               {"tar", early, putTree, "tar: exit status 0 before the end of the archive"},
		"tar fails silently":           {"tar", silent, putTree, "tar: exit status 3"},
		"tar fails":                    {"tar", loud, putTree, "no space left; tar: exit status 2"},
		"tar sends nothing":            {"tar", early, getTree, "tar on the machine ended before the end of the archive"},
		"tar sends less":               {"tar", truncating, getTree, "tar on the machine ended before the end of the archive"},
		"tar sends nothing, silently":  {"tar", silent, getTree, "tar: exit status 3"},
		"tar sends nothing, and fails": {"tar", loud, getTree, "no space left; tar: exit status 2"},
		"digest of tree":               {"sha256sum", early, putTree, "digest mismatch: sha256sum printed nothing"},
		"digest of tree fails":         {"sha256sum", silent, putTree, "sha256sum: exit status 3"},
		"digest":                       {"sha256sum", early, putFile, "digest mismatch: sha256sum printed nothing"},
		"digest fails":                 {"sha256sum", silent, putFile, "sha256sum: exit status 3"},
		"digest of big file":           {"sha256sum", early, putBig, "digest mismatch in bytes 0 to 300000: no digest"},
		"digest of download":           {"sha256sum", early, getFile, "no digest from the machine: its command printed nothing"},
		"digest of download fails":     {"sha256sum", loud, getFile, "no digest from the machine: no space left"},
		"xargs":                        {"xargs", silent, putTree, "xargs: exit status 3"},
		"mv":                           {"mv", loud, putFile, "no space left"},
		"mv moves no file":             {"mv", early, putFile, "mv: exit status 0, but"},
		"mv moves no tree":             {"mv", early, putTree, "mv: exit status 0, but"},
		"mv merges no tree":            {"mv", early, mergeTree, "mv: exit status 0, but"},
	} {
		t.Run(name, func(t *testing.T) {
			m := sandboxMachine(t, sandbox.Options{Commands: map[string]sandbox.Command{test.tool: test.run}})
			if err := test.do(m); err == nil || errors.Is(err, bake.ErrDisconnected) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("transfer = %v, want %q", err, test.want)
			}
		})
	}
}

// A big file is sent to a machine whose openssl is there but fails, for want of a library
// or a configuration.
func TestBrokenOpenSSL(t *testing.T) {
	broken := func(_ context.Context, p *sandbox.Process) int {
		_, _ = fmt.Fprintln(p.Stderr, "openssl: error while loading shared libraries: libssl.so.3")
		return 127
	}
	m := sandboxMachine(t, sandbox.Options{Commands: map[string]sandbox.Command{"openssl": broken}})
	big := bytes.Repeat([]byte("0123456789"), 500_000)
	if err := m.Put(t.Context(), &bake.Upload{Content: bytes.NewReader(big), Size: int64(len(big)), Dest: "/tmp/f"}); err != nil {
		t.Errorf("Put with a broken openssl: %v, want success by sha256sum", err)
	}
}
