package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// loginShell returns the sshd_config line of a forced command that behaves like a login
// shell: sshd runs the login's real shell, which runs the given one with -c.
func loginShell(shell string) string {
	return `ForceCommand exec ` + shell + ` -c "$SSH_ORIGINAL_COMMAND"`
}

// TestLoginShells tries every method with the login shells of Debian: each works, or
// Connect fails with one clear error.
func TestLoginShells(t *testing.T) {
	for _, test := range []struct {
		need  string
		shell string
		want  string // part of Connect's error; empty if everything works
	}{
		{need: "bash"},
		{need: "dash"},
		{need: "zsh"},
		{need: "fish"},
		{need: "tcsh"},
		{need: "busybox", shell: "busybox ash"},
		{need: "bash", shell: "bash -r", want: "restricted"},
	} {
		name := test.shell
		if name == "" {
			name = test.need
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := testenv.Need(t, test.need)
			shell := path + strings.TrimPrefix(name, test.need)
			server := testenv.SSHD(t, &testenv.SSHDOptions{Config: []string{loginShell(shell)}})
			checkMachine(t, server, test.want)
		})
	}
}

// checkMachine checks that every method of a machine works or, if want is not empty,
// that Connect fails with an error that contains it.
func checkMachine(t *testing.T, server *testenv.Server, want string) {
	t.Helper()
	cfg := sshdConfig(server)
	cfg.AuthGrace = 300 * time.Millisecond
	if want != "" {
		m, err := sshmachine.Connect(t.Context(), cfg)
		if err == nil {
			_ = m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Connect = %v, want an error with %q", err, want)
		}
		return
	}
	m := connect(t, cfg)
	checkMethods(t, m)
}

func checkMethods(t *testing.T, m *sshmachine.Machine) {
	t.Helper()
	dir := t.TempDir()
	for _, odd := range []string{`it's`, `\'`, `a\`, `\\`, "a\nb", "!x !! $HOME `id` \"q\" % \\n \\047 ☃\t*", `\`, `'`} {
		if got := runOutput(t, m, bake.Command("printf", "%s.", odd)); got != odd+"." {
			t.Errorf("argument %q arrived as %q", odd, got)
		}
		line := &bake.Cmd{Line: `printf %s "$A"; cat`, Env: map[string]string{"A": odd}, Stdin: strings.NewReader("rest\n.")}
		if got := runOutput(t, m, line); got != odd+"rest\n." {
			t.Errorf("variable %q arrived as %q", odd, got)
		}
		dest := dir + "/" + strings.ReplaceAll(odd, "/", "_")
		must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Content: strings.NewReader(odd)}))
		if got, err := os.ReadFile(dest); err != nil || string(got) != odd {
			t.Errorf("Put(%q) wrote %q, %v", dest, got, err)
		}
		var back bytes.Buffer
		must(t, m.Get(t.Context(), &bake.Download{Source: dest, Content: &back}))
		if back.String() != odd {
			t.Errorf("Get(%q) = %q", dest, back.String())
		}
	}
	tree := fstest.MapFS{"a/b": {Data: []byte("b"), Mode: 0o644}, `it's \'`: {Data: []byte("c"), Mode: 0o644}}
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/two\nlines/tree", FS: tree}))
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/two\nlines/tree", Path: dir + "/back"}))
	if got := listing(t, dir+"/back"); strings.Count(got, "\n") != 3 {
		t.Errorf("tree fetched back:\n%s", got)
	}
	if out, err := bake.Output(t.Context(), m, &bake.Cmd{Line: "pwd", Dir: "sys"}); err == nil {
		t.Errorf("Run in %q, which the home does not have, printed %q, want an error", "sys", out)
	}
	var exit *bake.ExitError
	if err := m.Run(t.Context(), bake.Sh("exit 7")); !errors.As(err, &exit) || exit.Status != 7 {
		t.Errorf("Run = %v, want exit status 7", err)
	}
	if facts, err := m.Facts(t.Context()); err != nil || facts.OS != "linux" {
		t.Errorf("Facts = %+v, %v", facts, err)
	}
	if os.Getuid() == 0 {
		out := runOutput(t, m, &bake.Cmd{Line: `test -t 1 && printf %s "$A"`, PTY: true, Env: map[string]string{"A": `it's \'`}})
		if out != `it's \'` {
			t.Errorf("on a terminal the variable arrived as %q", out)
		}
	}
	checkNoLeftovers(t, dir)
}

// TestServerSettings tries servers that run something else than the command, or change
// what it reads or prints.
func TestServerSettings(t *testing.T) {
	original := `eval "$SSH_ORIGINAL_COMMAND"`
	for _, test := range []struct {
		name   string
		config []string
		want   string // part of Connect's error; empty if everything works
	}{
		{"message on stdout", []string{`ForceCommand echo 'Please login as the user "ubuntu"'`}, `user "ubuntu"`},
		{"message on stderr", []string{`ForceCommand echo 'log in as ubuntu' >&2; exit 142`}, "log in as ubuntu"},
		{"silent success", []string{"ForceCommand true"}, "never began"},
		{"nologin", []string{"ForceCommand exec /usr/sbin/nologin"}, "not available"},
		{"restricted to SFTP", []string{"ForceCommand internal-sftp"}, "sftp connections only"},
		{"status is lost", []string{`ForceCommand sh -c "$SSH_ORIGINAL_COMMAND"; true`}, "exit status"},
		{"status of a pipe", []string{"ForceCommand " + original + " | cat"}, "exit status"},
		{"merged outputs", []string{"ForceCommand " + original + " 2>&1"}, "merges"},
		{"message with the command", []string{`ForceCommand echo "not allowed: $SSH_ORIGINAL_COMMAND"`}, "never began"},
		{"traces commands", []string{`ForceCommand exec bash -xc "$SSH_ORIGINAL_COMMAND"`}, ""},
		{"start-up file reads", []string{"ForceCommand read line; " + original}, "standard input"},
		{"start-up file reads all", []string{"ForceCommand cat >/dev/null; " + original}, "standard input"},
		{"start-up file exits", []string{"ForceCommand exit 0; " + original}, "never began"},
		{"hung up", []string{"ForceCommand kill -9 $PPID"}, "hung up after the login"},
		{"endless noise", []string{"ForceCommand echo no; exec cat /dev/zero"}, "ran no command"},
		{"noise", []string{"ForceCommand echo Welcome; echo 'sudo: unable to resolve host x' >&2; " + original + "; s=$?; exit $s"}, ""},
		{"environment", []string{`ForceCommand export TAR_OPTIONS=--exclude=* GZIP=-v POSIXLY_CORRECT=1 CDPATH=/ LS_COLORS=x LC_ALL=xx_XX; ` + original}, ""},
		{"one session", []string{"MaxSessions 1"}, ""},
		{"refused key", []string{"PubkeyAcceptedAlgorithms rsa-sha2-512"}, "ssh-ed25519"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.name == "refused key" {
				t.Skip("testenv waits for a login") // see TestRefusedKeyAlgorithm
			}
			server := testenv.SSHD(t, &testenv.SSHDOptions{Config: test.config})
			if test.name == "endless noise" {
				checkTimeout(t, server, test.want)
				return
			}
			checkMachine(t, server, test.want)
		})
	}
}

func checkTimeout(t *testing.T, server *testenv.Server, want string) {
	t.Helper()
	cfg := sshdConfig(server)
	cfg.AuthGrace, cfg.AttemptTimeout = -1, 2*time.Second
	m, err := sshmachine.Connect(t.Context(), cfg)
	if err == nil {
		_ = m.Close()
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Connect = %v, want an error with %q", err, want)
	}
}

// TestOneSession runs commands strictly one after the other, and cancels one, on a
// server that permits a single session.
func TestOneSession(t *testing.T) {
	m := connect(t, sshdConfig(testenv.SSHD(t, &testenv.SSHDOptions{Config: []string{"MaxSessions 1"}})))
	for i := range 30 {
		if got := runOutput(t, m, bake.Command("echo", fmt.Sprint(i))); got != fmt.Sprint(i) {
			t.Fatalf("command %d printed %q", i, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if err := m.Run(ctx, &bake.Cmd{Line: "echo up; sleep 86471; echo", Stdout: up}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	eventuallyNoProcess(t, "86471")
}

// eventuallyNoProcess waits until no process has text in its command line.
func eventuallyNoProcess(t *testing.T, text string) {
	t.Helper()
	for range 600 {
		found := false
		names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range names {
			line, _ := os.ReadFile(name)
			found = found || bytes.Contains(line, []byte(text))
		}
		if !found {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("a process with %s is still running", text)
}

// TestCancelReturns cancels calls whose writer blocks or whose process ignores signals.
func TestCancelReturns(t *testing.T) {
	m := sshdMachine(t)
	block := make(chan struct{})
	defer close(block)
	blocked := writerFunc(func(p []byte) (int, error) { <-block; return len(p), nil })
	for name, call := range map[string]func(ctx context.Context) error{
		"Run into a blocked writer": func(ctx context.Context) error {
			return m.Run(ctx, &bake.Cmd{Line: "echo; sleep 86472", Stdout: blocked})
		},
		"Get into a blocked writer": func(ctx context.Context) error {
			return m.Get(ctx, &bake.Download{Source: "/etc/passwd", Content: blocked})
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		began := time.Now()
		err := call(ctx)
		cancel()
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Minute {
			t.Errorf("%s = %v after %v, want DeadlineExceeded soon after the end", name, err, took)
		}
	}
}

// TestBoundedOutput runs commands whose background processes print for ever.
func TestBoundedOutput(t *testing.T) {
	m := sshdMachine(t)
	began := time.Now()
	var out bytes.Buffer
	must(t, m.Run(t.Context(), &bake.Cmd{Line: "(trap '' HUP; n=0; while [ $n -lt 3000 ]; do echo x; sleep 0.1; n=$((n+1)); done) & echo begun", Stdout: &out}))
	if took := time.Since(began); took > 2*time.Minute || !strings.Contains(out.String(), "begun") {
		t.Errorf("Run took %v and printed %.20q, want about 10 s", took, out.String())
	}
}

// TestLargeEnvironment passes many lines, which must take linear time.
func TestLargeEnvironment(t *testing.T) {
	m := sshdMachine(t)
	lines := strings.Repeat("twenty characters...\n", 100_000)
	began := time.Now()
	if got := runOutput(t, m, &bake.Cmd{Line: ": '" + lines + "'\necho done", Secrets: bake.Secrets(map[string]string{"B": "b"})}); got != "done" {
		t.Errorf("Run printed %q", got)
	}
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("Run took %v", took)
	}
}
