package sshmachine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// TestEndlessAnswers reads answers that never end.
func TestEndlessAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		old  string // the end of a script, replaced by an endless output
		call func(ctx context.Context, m *sshmachine.Machine) error
	}{
		"facts": {old: "exit 42"},
		"stat": {old: `echo "file $n`, call: func(ctx context.Context, m *sshmachine.Machine) error {
			return m.Get(ctx, &bake.Download{Source: "/etc/passwd", Content: io.Discard})
		}},
		"file": {old: `head -c `, call: func(ctx context.Context, m *sshmachine.Machine) error {
			return m.Get(ctx, &bake.Download{Source: "/etc/passwd", Content: io.Discard})
		}},
		"transfer script": {old: "echo ready", call: func(ctx context.Context, m *sshmachine.Machine) error {
			return m.Put(ctx, &bake.Upload{Dest: "/tmp/bakestone-endless", Content: strings.NewReader(strings.Repeat("x", 300<<10))})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.run = func(line string) string {
				return strings.ReplaceAll(line, test.old, "tr /\\\\000 x </dev/zero; "+test.old)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			m, err := sshmachine.Connect(ctx, h.configFor(h.listen(t)))
			if err == nil {
				defer m.Close()
				err = test.call(ctx, m)
			}
			if err == nil || !strings.Contains(err.Error(), "more than") {
				t.Errorf("endless answer: %v, want an error that names the limit", err)
			}
		})
	}
}

// TestCancelUnkillable cancels a command on a machine that does not run the script that
// kills it.
func TestCancelUnkillable(t *testing.T) {
	h := newHost(t)
	h.run = func(line string) string {
		if strings.Contains(line, "/proc/self/environ") {
			return "exec sleep 300"
		}
		return line
	}
	m := connect(t, h.configFor(h.listen(t)))
	ctx, cancel := context.WithCancel(t.Context())
	var canceled time.Time
	up := writerFunc(func(p []byte) (int, error) {
		canceled = time.Now()
		cancel()
		return len(p), nil
	})
	err := m.Run(ctx, &bake.Cmd{Line: "trap '' TERM; echo up; sleep 300", Stdout: up})
	if took := time.Since(canceled); !errors.Is(err, context.Canceled) || took > time.Minute {
		t.Errorf("Run = %v %v after the cancellation, want Canceled soon", err, took)
	}
}

// TestSudoRules tries sudo configurations that cannot work.
func TestSudoRules(t *testing.T) {
	for name, test := range map[string]struct{ sudo, want string }{
		"requiretty":      {`echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1`, sshmachine.ErrSudoTerminal.Error()},
		"not root":        {`while [ "$1" != -- ]; do shift; done; shift; exec "$@"`, "instead of root"},
		"not allowed":     {`echo "me is not in the sudoers file." >&2; exit 1`, "not in the sudoers file"},
		"not set-user-ID": {`echo "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set" >&2; exit 1`, "sudo runs no command: sudo: /usr/bin/sudo must be owned"},
		"does nothing":    {`exit 0`, "sudo"},
		"status is lost":  {`while [ "$1" != -- ]; do shift; done; shift; FAKE_UID=0 "$@"; exit 0`, "exit status"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.fakeSudo(t, "")
			for _, variable := range h.env {
				if path, ok := strings.CutPrefix(variable, "PATH="); ok {
					bin, _, _ := strings.Cut(path, ":")
					if _, err := os.Stat(filepath.Join(bin, "sudo")); err == nil {
						must(t, os.WriteFile(filepath.Join(bin, "sudo"), []byte("#!/bin/sh\n"+test.sudo+"\n"), 0o755))
					}
				}
			}
			m := connect(t, h.configFor(h.listen(t)))
			for method, err := range map[string]error{
				"Run": m.Run(t.Context(), &bake.Cmd{Line: "true", Sudo: true}),
				"Put": m.Put(t.Context(), &bake.Upload{Dest: t.TempDir() + "/file", Content: strings.NewReader("x"), Sudo: true}),
				"Get": m.Get(t.Context(), &bake.Download{Source: "/etc/passwd", Content: io.Discard, Sudo: true}),
			} {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s = %v, want an error with %q", method, err, test.want)
				}
			}
		})
	}
}

// TestRefusedKeyAlgorithm logs in to servers that do not take the key's algorithm, or
// hang up when they see the key.
func TestRefusedKeyAlgorithm(t *testing.T) {
	for name, change := range map[string]func(*host){
		"algorithm": func(h *host) { h.config.PublicKeyAuthAlgorithms = []string{ssh.KeyAlgoRSASHA512} },
		"hung up": func(h *host) {
			h.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
				h.drop()
				return nil, errors.New("account expired")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			change(h)
			cfg := h.configFor(h.listen(t))
			cfg.AuthGrace = 200 * time.Millisecond
			_, err := sshmachine.Connect(t.Context(), cfg)
			var refused *sshmachine.AuthError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), "ssh-ed25519") {
				t.Errorf("Connect = %v, want an AuthError that names ssh-ed25519", err)
			}
			if _, closed := errors.AsType[*net.OpError](err); closed {
				t.Errorf("Connect = %v, want the cause", err)
			}
		})
	}
}
