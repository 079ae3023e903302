package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
)

func TestRun(t *testing.T) {
	m := sshdMachine(t)
	dir := t.TempDir()
	odd := "it's \"odd\"\n$HOME `x` \\n \\ ünïcode ☃\n\ttab "
	for _, test := range []struct {
		name           string
		cmd            bake.Cmd
		stdout, stderr string
	}{
		{name: "line", cmd: bake.Cmd{Line: "echo one; echo two >&2"}, stdout: "one\n", stderr: "two\n"},
		{name: "several lines", cmd: bake.Cmd{Line: "# comment\nfor i in 1 2; do\necho $i\ndone"}, stdout: "1\n2\n"},
		{name: "args are not expanded", cmd: bake.Cmd{Args: []string{"printf", "%s|", "$HOME", "a b", odd, ""}}, stdout: "$HOME|a b|" + odd + "||"},
		{name: "dir", cmd: bake.Cmd{Line: "pwd", Dir: dir}, stdout: dir + "\n"},
		{name: "no input", cmd: bake.Cmd{Line: "cat; echo end"}, stdout: "end\n"},
		{name: "input", cmd: bake.Cmd{Line: "cat", Stdin: strings.NewReader(odd)}, stdout: odd},
		{name: "environment", cmd: bake.Cmd{Line: `printf %s "$ODD"`, Env: map[string]string{"ODD": odd}}, stdout: odd},
		{name: "secret", cmd: bake.Cmd{Line: `printf %s "$ODD"`, Secrets: bake.Secrets(map[string]string{"ODD": odd})}, stdout: odd},
		{
			name:   "environment and input",
			cmd:    bake.Cmd{Args: []string{"sh", "-c", `printf %s "$A"; cat`}, Env: map[string]string{"A": "a\n"}, Stdin: strings.NewReader("rest\nof it"), Dir: dir},
			stdout: "a\nrest\nof it",
		},
		{name: "names the script uses itself", cmd: bake.Cmd{Line: `echo "$s$l$n"`, Env: map[string]string{"s": "1", "l": "2", "n": "3", "IFS": "1"}}, stdout: "123\n"},
		{name: "long line", cmd: bake.Cmd{Line: ": " + strings.Repeat("x", 200<<10) + "\necho done"}, stdout: "done\n"},
		{name: "terminal", cmd: bake.Cmd{Line: "test -t 0 && test -t 1 && echo tty >&2", PTY: true}, stdout: "tty\n"},
		{name: "terminal and input", cmd: bake.Cmd{Line: "cat", PTY: true, Stdin: strings.NewReader("a\nb")}, stdout: "a\nb"},
		{name: "terminal and environment", cmd: bake.Cmd{Line: `printf %s "$ODD"`, PTY: true, Env: map[string]string{"ODD": odd}}, stdout: odd},
		{name: "sudo of root", cmd: bake.Cmd{Line: "id -u", Sudo: os.Getuid() == 0}, stdout: fmt.Sprintln(os.Getuid())},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.cmd.PTY {
				requirePTY(t)
			}
			var stdout, stderr bytes.Buffer
			test.cmd.Stdout, test.cmd.Stderr = &stdout, &stderr
			must(t, m.Run(t.Context(), &test.cmd))
			if diff := cmp.Diff(test.stdout, stdout.String()); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.stderr, stderr.String()); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

// requirePTY skips a test where sshd cannot allocate terminals.
func requirePTY(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("sshd allocates terminals only as root")
	}
}

func TestRunInvalid(t *testing.T) {
	m := sshdMachine(t)
	for name, cmd := range map[string]*bake.Cmd{
		"nil":                 nil,
		"nothing":             {},
		"both":                {Line: "a", Args: []string{"a"}},
		"zero byte in a line": {Line: "a\x00b"},
		"zero byte in a var":  {Line: "a", Env: map[string]string{"A": "a\x00"}},
		"name of a var":       {Line: "a", Env: map[string]string{"A B": ""}},
	} {
		var field *bake.FieldError
		if err := m.Run(t.Context(), cmd); !errors.As(err, &field) {
			t.Errorf("%s: Run = %v, want a FieldError", name, err)
		}
	}
}

func TestRunFails(t *testing.T) {
	m := sshdMachine(t)
	var long []string
	for i := range 30 {
		long = append(long, fmt.Sprint("line ", i))
	}
	for _, test := range []struct {
		name string
		cmd  bake.Cmd
		want bake.ExitError
	}{
		{
			name: "status and both outputs", cmd: bake.Cmd{Line: "echo out; sleep 0.1; echo err >&2; sleep 0.1; printf last; exit 3"},
			want: bake.ExitError{Status: 3, Output: []string{"out", "err", "last"}},
		},
		{name: "signal", cmd: bake.Cmd{Line: "kill -KILL $$"}, want: bake.ExitError{Status: 137, Signal: "KILL"}},
		{name: "no such command", cmd: bake.Cmd{Line: "exit 127"}, want: bake.ExitError{Status: 127}},
		{
			name: "last lines", cmd: bake.Cmd{Line: "for i in $(seq 0 29); do echo line $i; done; exit 1"},
			want: bake.ExitError{Status: 1, Output: long[10:]},
		},
		{
			name: "long line", cmd: bake.Cmd{Line: "head -c 100000 /dev/zero | tr '\\0' x; exit 1"},
			want: bake.ExitError{Status: 1, Output: []string{strings.Repeat("x", 400)}},
		},
		{
			name: "with an environment", cmd: bake.Cmd{Line: "exit 4", Secrets: bake.Secrets(map[string]string{"A": "hidden"})},
			want: bake.ExitError{Status: 4},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.Command = test.cmd.Line
			var got *bake.ExitError
			if err := m.Run(t.Context(), &test.cmd); !errors.As(err, &got) {
				t.Fatalf("Run = %v, want an ExitError", err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Errorf("ExitError (-want +got):\n%s", diff)
			}
		})
	}
	if err := m.Run(t.Context(), &bake.Cmd{Line: "echo never", Dir: "/does/not/exist"}); err == nil {
		t.Error("Run in a missing directory = nil, want an error")
	}
}

// TestRunHidesEnvironment searches all command lines on the machine for a secret while
// the command that has it runs.
func TestRunHidesEnvironment(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("requires /proc")
	}
	m := sshdMachine(t)
	requirePTY(t)
	const secret = "correct-horse-battery"
	for _, pty := range []bool{false, true} {
		out := runOutput(t, m, &bake.Cmd{
			Line: "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '[c]orrect-horse-battery' || true; echo \"$S\"",
			PTY:  pty, Secrets: bake.Secrets(map[string]string{"S": secret}),
		})
		if out != "0\n"+secret {
			t.Errorf("pty %v: command lines with the secret, and the secret: %q, want %q", pty, out, "0\n"+secret)
		}
	}
}

// TestRunRemovesEnvironmentFile cancels a command with a terminal, whose environment is
// in a file.
func TestRunRemovesEnvironmentFile(t *testing.T) {
	requirePTY(t)
	m := sshdMachine(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp) // of this process; the login may have another
	there := runOutput(t, m, bake.Sh(`echo "${TMPDIR:-/tmp}"`))
	count := func() int {
		names, err := filepath.Glob(filepath.Join(there, "tmp.*"))
		must(t, err)
		return len(names)
	}
	before := count()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := &bake.Cmd{
		Line: "echo up; sleep 100", PTY: true, Env: map[string]string{"A": "b"},
		Stdout: writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }),
	}
	if err := m.Run(ctx, cmd); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	if after := count(); after > before {
		t.Errorf("%d temporary files after Run, %d before", after, before)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRunReaderAndWriterErrors(t *testing.T) {
	m := sshdMachine(t)
	broken := errors.New("broken")
	cmd := &bake.Cmd{Line: "cat >/dev/null; sleep 1000", Stdin: io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) { return 0, broken }))}
	if err := m.Run(t.Context(), cmd); !errors.Is(err, broken) {
		t.Errorf("Run = %v, want the reader's error", err)
	}
	cmd = &bake.Cmd{Line: "echo; sleep 1000", Stdout: writerFunc(func([]byte) (int, error) { return 0, broken })}
	if err := m.Run(t.Context(), cmd); !errors.Is(err, broken) {
		t.Errorf("Run = %v, want the writer's error", err)
	}
	// Run returns even if a Read of the unused input never does.
	reader, writer := io.Pipe()
	defer writer.Close()
	must(t, m.Run(t.Context(), &bake.Cmd{Line: "true", Stdin: reader}))
}

// TestRunBackgroundProcess starts a process that holds the outputs open.
func TestRunBackgroundProcess(t *testing.T) {
	m := sshdMachine(t)
	out := runOutput(t, m, bake.Sh("sleep 1000 & echo $!"))
	if runOutput(t, m, bake.Sh("kill "+out+" && echo killed")) != "killed" {
		t.Error("the background process was killed")
	}
}

func TestRunConcurrently(t *testing.T) {
	m := sshdMachine(t)
	done := make(chan error)
	const many = 40 // more than MaxSessions
	for i := range many {
		go func() {
			out, err := bake.Output(t.Context(), m, bake.Command("echo", fmt.Sprint(i)))
			if err == nil && out != fmt.Sprint(i) {
				err = fmt.Errorf("%d: %q", i, out)
			}
			done <- err
		}()
	}
	for range many {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestRunRaw checks that a raw command reaches the login's shell unchanged.
func TestRunRaw(t *testing.T) {
	h := newHost(t)
	lines := make(chan string, 1)
	h.run = func(line string) string {
		lines <- line
		return "cat; exit 3"
	}
	cfg := h.configFor(h.listen(t))
	cfg.Raw = true
	m := connect(t, cfg)
	const line = `powershell.exe -EncodedCommand "A='B'" %PATH%`
	var out bytes.Buffer
	err := m.Run(t.Context(), &bake.Cmd{Line: line, Raw: true, Stdin: strings.NewReader("input"), Stdout: &out})
	if exit, ok := errors.AsType[*bake.ExitError](err); !ok || exit.Status != 3 || out.String() != "input" {
		t.Errorf("Run = %v with output %q, want exit status 3 and \"input\"", err, &out)
	}
	if got := <-lines; got != line {
		t.Errorf("the shell received %q, want %q", got, line)
	}
	for _, cmd := range []bake.Cmd{
		{Args: []string{"x"}}, {Line: "x", Sudo: true}, {Line: "x", PTY: true}, {Line: "x", Dir: "/"}, {Line: "x", Env: map[string]string{"A": "1"}},
	} {
		cmd.Raw = true
		if err := m.Run(t.Context(), &cmd); err == nil || !strings.Contains(err.Error(), "Cmd.Raw") {
			t.Errorf("Run(%+v) = %v, want an error about Cmd.Raw", cmd, err)
		}
	}
}
