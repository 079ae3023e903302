package provision_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// Helpers for tests that run real tools on a real machine, a disposable Debian.

// guest starts a machine and connects to it.
func guest(t *testing.T, opts *testenv.GuestOptions, change func(*sshmachine.Config)) bake.Machine {
	t.Helper()
	return testenv.Guest(t, opts).Machine(t, change)
}

// files creates a directory with the given files.
func files(t *testing.T, contents map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range contents {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// outputOnGuest returns the output of a command that runs as root.
func outputOnGuest(t *testing.T, m bake.Machine, line string) string {
	t.Helper()
	out, err := bake.Output(t.Context(), m, &bake.Cmd{Line: line, Sudo: true})
	if err != nil {
		t.Errorf("Output(%s): %v", line, err)
	}
	return out
}

// A platform is a bake.Builder for a single machine that is already running.
type platform struct{ machine bake.Machine }

func (platform) Validate(*bake.Image) error                           { return nil }
func (p platform) Begin(*bake.Image, *bake.Run) (bake.Session, error) { return p, nil }
func (platform) Launch() []bake.Step                                  { return nil }
func (p platform) Connect(context.Context) (bake.Machine, error)      { return kept{p.machine}, nil }
func (platform) Capture() []bake.Step                                 { return nil }
func (platform) EndCheck() []bake.Step                                { return nil }
func (platform) Promote() []bake.Step                                 { return nil }
func (p platform) Artifact() bake.Artifact                            { return p }
func (platform) String() string                                       { return "machine" }
func (platform) MarshalJSON() ([]byte, error)                         { return []byte("{}"), nil }
func (platform) ID() string                                           { return "machine" }
func (platform) IDs() map[string]string                               { return nil }
func (platform) Destroy(context.Context) error                        { return nil }

// A kept machine ignores Close.
type kept struct{ bake.Machine }

func (kept) Close() error { return nil }

func (k kept) ReachSSH(ctx context.Context, use func(context.Context, bake.SSHAccess) error) error {
	return bake.ReachSSH(ctx, k.Machine, use)
}

// A report contains the events of a build and their text in JSON and in a log.
type report struct {
	events   []bake.Event
	text     bytes.Buffer
	commands string // all command lines on this host during the build
}

// bakeReport bakes m with p and calls see with every event. It fails t if the report
// or the error contains a secret.
func bakeReport(ctx context.Context, t *testing.T, m bake.Machine, p bake.Provisioner, see func(bake.Event), secrets ...string) (*report, error) {
	t.Helper()
	r := &report{}
	log := slog.New(slog.NewTextHandler(&r.text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	stop := sampleCommands(t, r)
	_, err := bake.Bake(ctx, &bake.Options{Log: log, Observe: func(e bake.Event) {
		r.events = append(r.events, e)
		line, _ := json.Marshal(e)
		r.text.Write(append(line, '\n'))
		if see != nil {
			see(e)
		}
	}}, &bake.Image{Name: "image", Builder: platform{m}, Provisioners: []bake.Provisioner{p}})
	stop()
	for _, secret := range secrets {
		if strings.Contains(r.text.String(), secret) {
			t.Errorf("events contain %s:\n%s", secret, r.text.String())
		}
		if strings.Contains(r.commands, secret) {
			t.Errorf("command lines contain %s", secret)
		}
		var exit *bake.ExitError
		if err != nil && strings.Contains(err.Error(), secret) || errors.As(err, &exit) && strings.Contains(exit.Error(), secret) {
			t.Errorf("error contains %s: %v", secret, err)
		}
	}
	return r, err
}

// output returns the output lines of commands.
func (r *report) output() string {
	var b strings.Builder
	for _, e := range r.events {
		if e.Kind == bake.OutputLine {
			b.WriteString(e.Text + "\n")
		}
	}
	return b.String()
}

// sampleCommands collects the command lines of all processes, including those of
// guests, until stop is called.
func sampleCommands(t *testing.T, r *report) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		seen := map[string]bool{}
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, line := range lines {
				if text, err := os.ReadFile(line); err == nil && !seen[string(text)] {
					seen[string(text)] = true
					r.commands += string(text) + "\n"
				}
			}
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// noProcesses waits until only sshd and the checking command run on the guest, and
// fails t if other processes remain.
func noProcesses(t *testing.T, m bake.Machine) {
	t.Helper()
	var left string
	for range 200 {
		left = outputOnGuest(t, m, "ps -e -o pid=,args= | grep -Ev ' (sshd|sudo|env|/bin/sh|ps|grep)( |:|$)|/usr/sbin/sshd|ps -e -o|^ *[0-9]+ \\[.*\\]$' || true") // not kernel threads
		if left == "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("processes left on the machine:\n%s", left)
}

// nothingOnHost fails t if processes of Ansible remain on this host, or staging
// directories in tmp.
func nothingOnHost(t *testing.T, tmp string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(tmp, "bakestone-*")); len(left) > 0 {
		t.Errorf("directories left: %q", left)
	}
	var left []string
	for range 200 {
		left = nil
		environs, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, name := range environs {
			if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte("BAKESTONE_ANSIBLE_RESULTS")) {
				line, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
				left = append(left, string(line))
			}
		}
		if left == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("processes left on this host: %q", left)
}
