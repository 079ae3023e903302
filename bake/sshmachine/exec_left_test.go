package sshmachine_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// leave starts a command over a connection that breaks once the command has printed
// something.
func leave(t *testing.T, cfg *sshmachine.Config, cmd *bake.Cmd) {
	t.Helper()
	lost := *cfg
	var dialed net.Conn
	lost.Dial = func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		dialed, err = new(net.Dialer).DialContext(ctx, network, addr)
		return dialed, err
	}
	m := connect(t, &lost)
	cmd.Stdout = writerFunc(func(p []byte) (int, error) { return len(p), dialed.Close() })
	if err := m.Run(t.Context(), cmd); !errors.Is(err, bake.ErrDisconnected) {
		t.Fatalf("Run = %v, want ErrDisconnected", err)
	}
}

// running reports whether a process has text in its command line.
func running(t *testing.T, text string) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, name := range lines {
		if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), text) {
			return true
		}
	}
	return false
}

// wantRunning fails the test if within ten seconds no process has text in its command
// line.
func wantRunning(t *testing.T, text string) {
	t.Helper()
	for tries := 0; !running(t, text); tries++ {
		if tries == 200 {
			t.Fatalf("no process has %q in its command line, want it to outlive its connection", text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestEndMarked ends what a process has left behind that has died, and nothing else.
func TestEndMarked(t *testing.T) {
	testenv.Need(t, "sshd")
	cfg := sshdConfig(testenv.SSHD(t, nil))
	other := *cfg
	other.Mark = func() string { return "run-10" } // begins with the mark, but is another
	leave(t, &other, bake.Sh("echo up; sleep 86431; echo"))
	defer func() {
		other.EndMarked = "run-10"
		must(t, connect(t, &other).Close())
		checkNoProcess(t, "86431")
	}()
	for name, cmd := range map[string]bake.Cmd{
		"one":            {Line: "echo up; sleep 86432; echo"},
		"children":       {Line: "sleep 86432 & (setsid sleep 86432 &) ; echo up; sleep 86432; echo"},
		"detached":       {Line: "nohup setsid sleep 86432 >/dev/null 2>&1 </dev/null & echo up; sleep 86432"},
		"ignores TERM":   {Line: "trap '' TERM HUP; echo up; while :; do sleep 86432; done"},
		"with input":     {Line: "echo up; sleep 86432; echo", Stdin: readerFunc(func([]byte) (int, error) { select {} })},
		"as root":        {Line: "echo up; sleep 86432; echo", Sudo: os.Getuid() == 0},
		"an environment": {Line: "echo up; env -i sleep 86432; echo", Env: map[string]string{"A": "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			marked := *cfg
			marked.Mark = func() string { return "run-1" }
			leave(t, &marked, &cmd)
			wantRunning(t, "sleep\x0086432")
			next := *cfg
			next.EndMarked = "run-1"
			m := connect(t, &next)
			if running(t, "86432") {
				t.Error("after Connect, the command still runs")
			}
			if got := runOutput(t, m, bake.Sh("echo ok")); got != "ok" {
				t.Errorf("Run after Connect printed %q, want ok", got)
			}
			if !running(t, "86431") {
				t.Error("Connect ended the command of another run")
			}
		})
	}
}

// A sshdBuilder bakes on a machine that exists already.
type sshdBuilder struct{ cfg sshmachine.Config }

type sshdSession struct {
	cfg sshmachine.Config
	run *bake.Run
}

func (b sshdBuilder) Validate(*bake.Image) error { return nil }

func (b sshdBuilder) Begin(_ *bake.Image, run *bake.Run) (bake.Session, error) {
	return &sshdSession{b.cfg, run}, nil
}

func (s *sshdSession) Launch() []bake.Step {
	return []bake.Step{{Name: "launch", Do: func(context.Context) error { return nil }}}
}

func (s *sshdSession) Connect(ctx context.Context) (bake.Machine, error) {
	s.cfg.Mark, s.cfg.EndMarked = s.run.CommandMark, s.run.LeftMark()
	return sshmachine.Connect(ctx, &s.cfg)
}

func (s *sshdSession) Capture() []bake.Step         { return nil }
func (s *sshdSession) EndCheck() []bake.Step        { return nil }
func (s *sshdSession) Promote() []bake.Step         { return nil }
func (s *sshdSession) Artifact() bake.Artifact      { return nil }
func (s *sshdSession) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }
func (s *sshdSession) UnmarshalJSON([]byte) error   { return nil }

// The environment of the process that is killed.
const (
	leftAddr  = "BAKESTONE_TEST_LEFT_ADDR"
	leftUser  = "BAKESTONE_TEST_LEFT_USER"
	leftKey   = "BAKESTONE_TEST_LEFT_KEY"
	leftStore = "BAKESTONE_TEST_LEFT_STORE"
)

// leftImage has a provisioner that starts a daemon and a long one, which logs the steps
// that it gets to.
func leftImage(cfg *sshmachine.Config, dir string) *bake.Image {
	return &bake.Image{Name: "left", ProvisionOnly: true, Builder: sshdBuilder{*cfg}, Provisioners: []bake.Provisioner{
		bake.ProvisionFunc{Name: "daemon", Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("setsid sleep 86441 >/dev/null 2>&1 </dev/null &"))
		}},
		bake.ProvisionFunc{Name: "long", Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("cd "+dir+"; echo begun >>log; if [ -e second ]; then exit; fi; echo >second; sleep 86442; echo ghost >>log"))
		}},
	}}
}

// TestEndMarkedAfterKill kills a process that bakes on a real sshd while a long script
// runs, which lives on, and resumes the build: the script runs once at a time. Background
// processes of earlier steps stay.
func TestEndMarkedAfterKill(t *testing.T) {
	if addr := os.Getenv(leftAddr); addr != "" {
		bakeUntilKilled(t, addr)
		return
	}
	testenv.Need(t, "sshd")
	server := testenv.SSHD(t, nil)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"key": string(server.ClientKeyPEM), "host": string(ssh.MarshalAuthorizedKey(server.HostKey))})
	self, err := os.Executable()
	must(t, err)
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestEndMarkedAfterKill$")
	child.Env = append(os.Environ(), leftAddr+"="+server.Addr, leftUser+"="+server.User, leftKey+"="+dir, leftStore+"="+dir+"/store")
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	for log, _ := os.ReadFile(dir + "/log"); string(log) != "begun\n"; log, _ = os.ReadFile(dir + "/log") {
		time.Sleep(20 * time.Millisecond)
	}
	must(t, child.Process.Kill())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
	}
	_ = child.Wait() // reports that it was killed
	wantRunning(t, "sleep\x0086442")

	store := bake.DirStore(dir + "/store")
	rec := testenv.DeadRecord(t.Context(), t, store)
	results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, leftImage(sshdConfig(server), dir))
	if err != nil {
		t.Fatalf("Bake() = %v, %v, want the resumed build to succeed", results, err)
	}
	if running(t, "sleep\x0086442") {
		t.Error("the killed process's script still runs")
	}
	if log, err := os.ReadFile(dir + "/log"); err != nil || string(log) != "begun\nbegun\n" {
		t.Errorf("log = %q, %v, want the step begun twice", log, err)
	}
	if !running(t, "sleep\x0086441") {
		t.Error("what the first step has started is gone")
	}
}

// bakeUntilKilled bakes in the process that is killed.
func bakeUntilKilled(t *testing.T, addr string) {
	t.Helper()
	dir := os.Getenv(leftKey)
	pem, err := os.ReadFile(dir + "/key")
	must(t, err)
	signer, err := ssh.ParsePrivateKey(pem)
	must(t, err)
	host, err := os.ReadFile(dir + "/host")
	must(t, err)
	key, _, _, _, err := ssh.ParseAuthorizedKey(host)
	must(t, err)
	cfg := &sshmachine.Config{
		Addr: addr, User: os.Getenv(leftUser), Auth: []sshmachine.Auth{sshmachine.Signer(signer)}, HostKey: sshmachine.FixedHostKey(key),
	}
	_, err = bake.Bake(t.Context(), &bake.Options{Store: bake.DirStore(os.Getenv(leftStore))}, leftImage(cfg, dir))
	t.Fatalf("Bake() returned %v, want the process to be killed before", err)
}
