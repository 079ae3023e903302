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

// These are the helpers of the tests that run real tools on a real machine, a
// disposable Debian.

// guest is such a machine, connected as change says.
func guest(t *testing.T, opts *testenv.GuestOptions, change func(*sshmachine.Config)) bake.Machine {
	t.Helper()
	return testenv.Guest(t, opts).Machine(t, change)
}

// files makes a directory with what contents says.
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

// says is what a command of root's on m writes.
func says(t *testing.T, m bake.Machine, line string) string {
	t.Helper()
	out, err := bake.Output(t.Context(), m, &bake.Cmd{Line: line, Sudo: true})
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	return out
}

// A platform is a bake.Builder with one machine, which is there already.
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

// A kept machine stays open after a build.
type kept struct{ bake.Machine }

func (kept) Close() error { return nil }

func (k kept) ReachSSH(ctx context.Context, use func(context.Context, bake.SSHAccess) error) error {
	return bake.ReachSSH(ctx, k.Machine, use)
}

// A report is everything that a build says: its events as they are, and what
// they are in JSON and in a log.
type report struct {
	events   []bake.Event
	text     bytes.Buffer
	commands string // every command line on this host while it ran
}

// baked bakes m by p, calls see with every event, and collects all that can be
// seen of it. The values of secrets may not be among that.
func baked(ctx context.Context, t *testing.T, m bake.Machine, p bake.Provisioner, see func(bake.Event), secrets ...string) (*report, error) {
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
			t.Errorf("%s is among the events:\n%s", secret, r.text.String())
		}
		if strings.Contains(r.commands, secret) {
			t.Errorf("%s is in the list of processes", secret)
		}
		var exit *bake.ExitError
		if err != nil && strings.Contains(err.Error(), secret) || errors.As(err, &exit) && strings.Contains(exit.Error(), secret) {
			t.Errorf("%s is in the error: %v", secret, err)
		}
	}
	return r, err
}

// output is the lines that commands wrote.
func (r *report) output() string {
	var b strings.Builder
	for _, e := range r.events {
		if e.Kind == bake.OutputLine {
			b.WriteString(e.Text + "\n")
		}
	}
	return b.String()
}

// sampleCommands collects the command lines of all processes, which on Linux
// are those of guests, too, until stop is called.
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

// quiet fails t unless the guest comes to rest: nothing runs there but sshd and
// the command that looks.
func quiet(t *testing.T, m bake.Machine) {
	t.Helper()
	var left string
	for range 200 {
		left = says(t, m, "ps -e -o pid=,args= | grep -Ev ' (sshd|sudo|env|/bin/sh|ps|grep)( |:|$)|/usr/sbin/sshd|ps -e -o' || true")
		if left == "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("on the machine there is still\n%s", left)
}

// nothingOnHost fails t if an Ansible or anything of its runs on this host, or if the directory of temporary files holds one of the library's.
func nothingOnHost(t *testing.T, tmp string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(tmp, "bakestone-*")); len(left) > 0 {
		t.Errorf("%q is left", left)
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
	t.Errorf("on this host there is still %q", left)
}
