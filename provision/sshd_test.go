package provision_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// These tests run against OpenSSH's server and the system's own tools.

// outputOf provisions m with p and returns the standard output of its commands.
func outputOf(t *testing.T, m bake.Machine, p bake.Provisioner) string {
	t.Helper()
	var out bytes.Buffer
	run(t, stdoutMachine{m, &out}, p)
	return out.String()
}

// A stdoutMachine redirects the standard output of commands.
type stdoutMachine struct {
	bake.Machine
	stdout interface{ Write([]byte) (int, error) }
}

func (w stdoutMachine) Run(ctx context.Context, cmd *bake.Cmd) error {
	with := *cmd
	with.Stdout = w.stdout
	return w.Machine.Run(ctx, &with)
}

// wantEmpty fails t if dir contains files.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, entry := range entries {
		t.Errorf("%s was not removed from %s", entry.Name(), dir)
	}
}

func TestScriptOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	odd := map[string]string{
		"QUOTES": `it's "so"`, "DOLLAR": "$HOME ${x} `id` $(id)", "LINES": "one\ntwo\n", "SPACES": "  a  b\t", "STAR": "*",
		"EMPTY": "", "SLASH": `\n\\`, "UNICODE": "grüße ☃", "LONG": strings.Repeat("x", 100_000), "HASH": "# no; comment & more",
	}
	var show strings.Builder
	var want strings.Builder
	for _, name := range slices.Sorted(maps.Keys(odd)) {
		show.WriteString("printf '%s|' \"$" + name + "\"\n")
		want.WriteString(odd[name] + "|")
	}
	work := t.TempDir()
	tests := map[string]struct {
		script provision.Script
		want   string
	}{
		"inline":           {provision.Shell("echo a", "echo b"), "a\nb\n"},
		"arguments":        {provision.Script{Content: `for a; do printf '%s|' "$a"; done`, Args: []string{"a b", "", "$HOME", "'", "*"}}, "a b||$HOME|'|*|"},
		"environment":      {provision.Script{Content: show.String(), Env: odd}, want.String()},
		"secrets":          {provision.Script{Content: show.String(), Secrets: bake.Secrets(odd)}, want.String()},
		"CR LF":            {provision.Script{Content: "#!/bin/sh\r\nif true; then\r\necho yes\r\nfi\r\n"}, "yes\n"},
		"directory":        {provision.Script{Content: "pwd", Dir: work}, work + "\n"},
		"interpreter":      {provision.Script{Content: "BEGIN { print 6 * 7 }", Interpreter: "awk -f"}, "42\n"},
		"shebang":          {provision.Script{Content: "#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }"}, "42\n"},
		"no stdin":         {provision.Shell("cat", "echo end"), "end\n"},
		"other exit codes": {provision.Script{Content: "echo x; exit 2", ExitCodes: []int{0, 2}}, "x\n"},
		"private":          {provision.Shell(`ls -ld "$0" | cut -c1-10`, `ls -ld "${0%/*}" | cut -c1-10`), "-rwx------\ndrwx------\n"},
		"as root":          {provision.Shell("id -u").AsRoot(), "0\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			switch {
			case test.script.Sudo && os.Getuid() != 0:
				t.Skip("requires a login as root")
			case strings.Contains(test.script.Content, "/usr/bin/awk"):
				if _, err := os.Stat("/usr/bin/awk"); err != nil {
					t.Skip(err)
				}
			}
			test.script.RemoteDir = t.TempDir()
			if got := outputOf(t, m, test.script); got != test.want {
				t.Errorf("output = %.500q, want %.500q", got, test.want)
			}
			wantEmpty(t, test.script.RemoteDir)
		})
	}
}

func TestSecretsNotInCommandLinesOnSSHD(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	m := testenv.SSHD(t, nil).Machine(t, nil)
	script := provision.Script{
		Content: `
for f in /proc/[0-9]*/cmdline; do
	line=$(tr '\0' ' ' 2>/dev/null <"$f" || true)
	case $line in *"$A_SECRET"*|*"$A_VALUE"*) echo "$line";; esac
done
echo looked for "$A_SECRET"
`,
		Secrets: bake.Secrets(map[string]string{"A_SECRET": "correct-horse-battery"}),
		Env:     map[string]string{"A_VALUE": "staple-and-more"},
	}
	if got := outputOf(t, m, script); got != "looked for correct-horse-battery\n" {
		t.Errorf("command lines with secrets: %q", got)
	}
}

func TestScriptFailsOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	for name, test := range map[string]struct {
		script provision.Script
		want   bake.ExitError
	}{
		"exit":            {provision.Shell("echo out", "echo err >&2", "exit 42"), bake.ExitError{Status: 42, Output: []string{"err", "out"}}},
		"middle command":  {provision.Shell("false", "echo not reached"), bake.ExitError{Status: 1, Output: []string{}}},
		"no such program": {provision.Shell("no-such-program 2>/dev/null"), bake.ExitError{Status: 127, Output: []string{}}},
		"other exit code": {provision.Script{Content: "exit 3", ExitCodes: []int{0, 2}}, bake.ExitError{Status: 3, Output: []string{}}},
	} {
		t.Run(name, func(t *testing.T) {
			test.script.RemoteDir = t.TempDir()
			err := test.script.Provision(t.Context(), m)
			var exit *bake.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("Provision() = %v, want a *bake.ExitError", err)
			}
			got := slices.Clone(exit.Output)
			slices.Sort(got) // the order of the two outputs varies
			if exit.Status != test.want.Status || !slices.Equal(got, test.want.Output) {
				t.Errorf("status = %d, output %q, want %d, %q", exit.Status, got, test.want.Status, test.want.Output)
			}
			wantEmpty(t, test.script.RemoteDir)
		})
	}
}

func TestScriptCanceledOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	cause := errors.New("canceled by test")
	ctx, cancel := context.WithCancelCause(t.Context())
	started := &signaling{line: "\n", then: func() { cancel(cause) }}
	script := provision.Shell("echo $$", "sleep 1000")
	script.RemoteDir = t.TempDir()
	if err := script.Provision(ctx, stdoutMachine{m, started}); !errors.Is(err, cause) {
		t.Errorf("Provision() = %v, want %v", err, cause)
	}
	wantEmpty(t, script.RemoteDir)
	wantEnded(t, strings.TrimSpace(started.String()))
}

func TestScriptDisconnectOnSSHD(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sessions can only be dropped on Linux")
	}
	for name, expected := range map[string]bool{"expected": true, "unexpected": false} {
		t.Run(name, func(t *testing.T) {
			server := testenv.SSHD(t, nil)
			m := server.Machine(t, nil)
			drop := make(chan struct{})
			dropped := make(chan struct{})
			go func() {
				defer close(dropped)
				select {
				case <-drop:
					server.Drop()
				case <-t.Context().Done():
				}
			}()
			started := &signaling{line: "\n", then: func() { close(drop) }}
			script := provision.Script{Content: "echo on\nsleep 1000", RemoteDir: t.TempDir(), ExpectDisconnect: expected}
			err := script.Provision(t.Context(), stdoutMachine{m, started})
			if expected && err != nil || !expected && !errors.Is(err, bake.ErrDisconnected) {
				t.Errorf("ExpectDisconnect %v: Provision() = %v", expected, err)
			}
			<-dropped
			wantEmpty(t, script.RemoteDir)
		})
	}
}

func TestProgramOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	program, err := exec.LookPath("uname")
	if err != nil {
		t.Skip(err)
	}
	want, err := exec.CommandContext(t.Context(), program, "-s", "-m").Output()
	if err != nil {
		t.Skip(err)
	}
	script := provision.Script{Path: program, Args: []string{"-s", "-m"}, RemoteDir: t.TempDir()}
	if text, err := os.ReadFile(program); err != nil || !bytes.HasPrefix(text, []byte("\x7fELF")) {
		t.Skip("uname is not an ELF program")
	}
	if got := outputOf(t, m, script); got != string(want) {
		t.Errorf("output = %q, want %q", got, want)
	}

	noexec := testenv.NewDisk(t, "noexec").Dir
	script.RemoteDir = noexec
	err = script.Provision(t.Context(), m)
	var exit *bake.ExitError
	if !errors.As(err, &exit) || exit.Status != 126 || !strings.Contains(err.Error(), "RemoteDir") {
		t.Errorf("noexec: Provision() = %v, want a hint", err)
	}
	for _, script := range []provision.Script{provision.Shell("echo ok"), {Content: "#!/bin/sh\necho ok"}} {
		script.RemoteDir = noexec
		if got := outputOf(t, m, script); got != "ok\n" {
			t.Errorf("noexec: output = %q, want ok", got)
		}
	}
	wantEmpty(t, noexec)
}

func TestFilesOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	to := t.TempDir()
	tree := fstest.MapFS{
		"bin/run":      {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"etc/key":      {Data: []byte("key"), Mode: 0o600},
		".git/HEAD":    {Data: []byte("ref"), Mode: 0o644},
		"etc/odd 'n $": {Data: []byte("odd"), Mode: 0o644},
	}
	run(t, m, provision.Sequence{
		provision.Dir{FS: tree, Dest: filepath.Join(to, "tree"), Exclude: []string{".git"}},
		provision.File{Content: "hello\n", Dest: filepath.Join(to, "new", "dir", "motd"), Mode: 0o640},
		provision.File{Source: "etc/key", FS: tree, Dest: filepath.Join(to, "key")},
		provision.Download{Source: filepath.Join(to, "tree"), Dest: filepath.Join(to, "back")},
		provision.Download{Source: filepath.Join(to, "key"), Dest: filepath.Join(to, "other", "key")},
	})
	want := map[string]string{
		"tree/bin/run": "-rwxr-xr-x #!/bin/sh\n", "tree/etc/key": "-rw------- key", "tree/etc/odd 'n $": "-rw-r--r-- odd",
		"new/dir/motd": "-rw-r----- hello\n", "key": "-rw------- key",
		"back/bin/run": "#!/bin/sh\n", "back/etc/key": "key", "back/etc/odd 'n $": "odd", "other/key": "key",
	}
	got := map[string]string{}
	err := fs.WalkDir(os.DirFS(to), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, err := fs.ReadFile(os.DirFS(to), name)
		got[name] = string(content)
		if _, mode := want[name]; mode && strings.HasPrefix(want[name], "-") {
			got[name] = info.Mode().String() + " " + got[name]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A builderOf bakes on m, a machine of the caller.
type builderOf struct {
	bake.Builder
	m bake.Machine
}

type sessionOf struct {
	bake.Session
	m bake.Machine
}

func (b builderOf) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := b.Builder.Begin(img, run)
	return sessionOf{s, b.m}, err
}

func (s sessionOf) Connect(context.Context) (bake.Machine, error) { return openMachine{s.m}, nil }

// An openMachine stays open at the end of a build.
type openMachine struct{ bake.Machine }

func (openMachine) Close() error { return nil }

// bakeOn provisions m in a build and returns the output lines that it reports.
func bakeOn(t *testing.T, m bake.Machine, p bake.Provisioner) (lines []string, err error) {
	t.Helper()
	_, err = bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.OutputLine {
			lines = append(lines, e.Text)
		}
	}}, &bake.Image{Name: "x", Builder: builderOf{baketest.NewBuilder(nil), m}, ProvisionOnly: true, Provisioners: []bake.Provisioner{p}})
	return lines, err
}

// A script with a terminal finds it on all streams. Its output is masked and made
// visible like any other, and an error has the last lines of it.
func TestScriptTerminalOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	for _, sudo := range []bool{false, true} {
		if sudo && os.Getuid() != 0 {
			t.Skip("requires a login as root")
		}
		script := provision.Script{
			Content: "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal of $TERM\nprintf 'key %s \\033[2J\\n' \"$KEY\" >&2\nread -r x || echo no input\nexit 3\n",
			Secrets: bake.Secrets(map[string]string{"KEY": "correct-horse"}), Env: map[string]string{"TERM": "dumb"},
			PTY: true, Sudo: sudo, RemoteDir: t.TempDir(),
		}
		lines, err := bakeOn(t, m, script)
		want := []string{"terminal of dumb", "key [redacted] ␛[2J", "no input"}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("Sudo %v: output (-want +got):\n%s", sudo, diff)
		}
		exit, ok := errors.AsType[*bake.ExitError](err)
		if !ok || exit.Status != 3 || !slices.Equal(exit.Output, want) {
			t.Errorf("Sudo %v: Bake() = %v, want exit status 3 with the output", sudo, err)
		}
		script.PTY = false
		if lines, _ = bakeOn(t, m, script); len(lines) == 0 || strings.HasPrefix(lines[0], "terminal") {
			t.Errorf("Sudo %v: output without PTY = %q, want no terminal", sudo, lines)
		}
		wantEmpty(t, script.RemoteDir)
	}
}
