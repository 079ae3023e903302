package provision_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

func needShell(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs /bin/sh")
	}
}

func TestLocal(t *testing.T) {
	needShell(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("INHERITED", "i")
	odd := "it's \"$HOME\" `x`\n\\"
	tests := map[string]struct {
		local          provision.Local
		stdout, stderr string
	}{
		"line":    {provision.Local{Command: "echo out; echo err >&2"}, "out\n", "err\n"},
		"args":    {provision.Local{Args: []string{"echo", "$HOME  *"}}, "$HOME  *\n", ""},
		"in dir":  {provision.Local{Command: "pwd", Dir: dir}, dir + "\n", ""},
		"environ": {provision.Local{Command: `printf %s "$INHERITED|$A"`, Env: map[string]string{"A": odd}}, "i|" + odd, ""},
		"secret":  {provision.Local{Command: `printf %s "$A"`, Secrets: bake.Secrets(map[string]string{"A": odd})}, odd, ""},
		"status":  {provision.Local{Command: "exit 2", ExitCodes: []int{0, 2}}, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			test.local.Stdout, test.local.Stderr = &stdout, &stderr
			m := baketest.NewMachine(nil)
			run(t, m, test.local)
			if stdout.String() != test.stdout || stderr.String() != test.stderr {
				t.Errorf("output = %q and %q, want %q and %q", &stdout, &stderr, test.stdout, test.stderr)
			}
			if calls := m.Calls(); len(calls) != 0 {
				t.Errorf("calls of the machine = %v, want none", calls)
			}
		})
	}
}

func TestLocalFails(t *testing.T) {
	needShell(t)
	err := provision.Local{
		Command:   `i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo "line $i"; done; echo "key $KEY and $KEY$LONG"; printf no-newline >&2; exit 3`,
		Secrets:   bake.Secrets(map[string]string{"KEY": "hidden", "LONG": "hidden-longer"}),
		ExitCodes: []int{0, 2},
	}.Provision(t.Context(), nil)
	var exit *bake.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("Provision() = %v, want a *bake.ExitError", err)
	}
	if exit.Status != 3 || len(exit.Output) != 20 {
		t.Errorf("status = %d with %d lines, want 3 with 20", exit.Status, len(exit.Output))
	}
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("error contains a secret: %v", err)
	}
	all := strings.Join(exit.Output, "\n")
	for _, want := range []string{"line 13\n", "\nline 30\n", "key [redacted] and [redacted][redacted]"} {
		if !strings.Contains(all+"\n", want) {
			t.Errorf("%q is missing from the last lines:\n%s", want, all)
		}
	}
	if strings.Contains(all, "line 3\n") {
		t.Errorf("the last lines contain the first ones:\n%s", all)
	}

	err = provision.Local{Command: "kill -KILL $$"}.Provision(t.Context(), nil)
	want := &bake.ExitError{Command: "kill -KILL $$", Status: 137, Signal: "KILL", Output: []string{}}
	if !errors.As(err, &exit) {
		t.Fatalf("Provision() = %v, want a *bake.ExitError", err)
	}
	if diff := cmp.Diff(want, exit); diff != "" {
		t.Error(diff)
	}
}

// TestLocalMasksErrors fails with secrets in encodings and across the end of a line
// that is cut.
func TestLocalMasksErrors(t *testing.T) {
	needShell(t)
	const key = "correct horse battery"
	for name, command := range map[string]string{
		"cut":     `printf '%4080s%s%4096s\n' '' "$KEY" ''`,
		"encoded": `echo Y29ycmVjdCBob3JzZSBiYXR0ZXJ5 correct%20horse%20battery 'correct\u0020horse battery'`,
	} {
		err := provision.Local{Command: command + "; exit 3", Secrets: bake.Secrets(map[string]string{"KEY": key})}.Provision(t.Context(), nil)
		var exit *bake.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%s: Provision() = %v, want a *bake.ExitError", name, err)
		}
		all := strings.Join(exit.Output, "\n")
		for _, part := range []string{"correct", "horse", "Y29y"} {
			if strings.Contains(all, part) {
				t.Errorf("%s: Provision() = %q, which contains %q", name, strings.TrimSpace(all), part)
			}
		}
	}
}

func TestLocalProgramMissing(t *testing.T) {
	needShell(t)
	if err := (provision.Local{Args: []string{"./missing"}}).Provision(t.Context(), nil); err == nil {
		t.Error("Provision() = nil for a missing program")
	}
}

func TestLocalWriteError(t *testing.T) {
	needShell(t)
	broken := errors.New("broken")
	err := provision.Local{Command: "echo x", Stdout: failing{broken}}.Provision(t.Context(), nil)
	if !errors.Is(err, broken) {
		t.Errorf("Provision() = %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Descendants are killed even if they ignore SIGTERM.
func TestLocalKillsDescendants(t *testing.T) {
	needShell(t)
	cause := errors.New("canceled by test")
	ctx, cancel := context.WithCancelCause(t.Context())
	started := &signaling{line: "started\n", then: func() { cancel(cause) }}
	err := provision.Local{
		Command: `(trap "" TERM; sleep 1000) >/dev/null 2>&1 & echo $!; sleep 1000 & echo $!; echo started; wait`,
		Stdout:  started,
	}.Provision(ctx, nil)
	if !errors.Is(err, cause) {
		t.Fatalf("Provision() = %v, want %v", err, cause)
	}
	pids := strings.Fields(started.String())
	if len(pids) != 3 {
		t.Fatalf("output = %q, want two process IDs and a line", started)
	}
	for _, pid := range pids[:2] {
		wantEnded(t, pid)
	}
	if err := (provision.Local{Command: "true"}).Provision(ctx, nil); !errors.Is(err, cause) {
		t.Errorf("Provision() with a canceled context = %v, want %v", err, cause)
	}
}

// wantEnded fails t if the process keeps running. A killed process may be a zombie
// until its parent reaps it.
func wantEnded(t *testing.T, pid string) {
	t.Helper()
	var state string
	for range 500 {
		out, err := exec.CommandContext(t.Context(), "ps", "-o", "state=", "-p", pid).Output()
		state = strings.TrimSpace(string(out))
		if err != nil || state == "" || strings.HasPrefix(state, "Z") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s is running, in state %s", pid, state)
}

// A signaling buffer calls then when its content includes line.
type signaling struct {
	bytes.Buffer
	line string
	then func()
}

func (s *signaling) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if strings.Contains(s.String(), s.line) {
		s.then()
	}
	return n, err
}

// A background process that holds the output open does not block the build.
func TestLocalBackgroundProcess(t *testing.T) {
	needShell(t)
	if testing.Short() {
		t.Skip("waits five seconds")
	}
	t.Parallel()
	var stdout bytes.Buffer
	run(t, nil, provision.Local{Command: "sleep 1000 & echo $!", Stdout: &stdout})
	run(t, nil, provision.Local{Command: "kill " + stdout.String()})
}

func TestLocalValidate(t *testing.T) {
	needShell(t)
	tests := map[string]struct {
		local provision.Local
		want  []string
	}{
		"nothing":       {provision.Local{}, []string{"Local: exactly one"}},
		"two":           {provision.Local{Command: "x", Args: []string{"x"}}, []string{"Local: exactly one"}},
		"empty program": {provision.Local{Args: []string{"", "x"}}, []string{"Local.Args: the program is empty"}},
		"NUL":           {provision.Local{Args: []string{"sh", "\x00"}}, []string{"Local: the command contains"}},
		"all of it": {
			provision.Local{Command: "x", Dir: "missing", Env: map[string]string{"": "x"}, ExitCodes: []int{-1}},
			[]string{"Local.Dir: ", "Local.Env: ", "Local.ExitCodes: "},
		},
		"good": {provision.Local{Command: "x", Dir: t.TempDir()}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { invalid(t, test.local, test.want) })
	}
}
