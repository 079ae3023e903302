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

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestSudo uses a fake sudo, with and without a password.
func TestSudo(t *testing.T) {
	for _, password := range []string{"", "it is hush$"} {
		t.Run("password "+password, func(t *testing.T) {
			h := newHost(t)
			h.fakeSudo(t, password)
			cfg := h.configFor(h.listen(t))
			cfg.SudoPassword = bake.NewSecret(password)
			testSudo(t, connect(t, cfg))
		})
	}
	t.Run("unused password", func(t *testing.T) {
		h := newHost(t)
		h.fakeSudo(t, "")
		cfg := h.configFor(h.listen(t))
		cfg.SudoPassword = bake.NewSecret("unused")
		testSudo(t, connect(t, cfg))
	})
	for name, given := range map[string]string{"missing": "", "wrong": "guess"} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.fakeSudo(t, "secret")
			cfg := h.configFor(h.listen(t))
			cfg.SudoPassword = bake.NewSecret(given)
			m := connect(t, cfg)
			must(t, m.Run(t.Context(), bake.Sh("true")))
			err := m.Run(t.Context(), &bake.Cmd{Line: "true", Sudo: true})
			if !errors.Is(err, sshmachine.ErrSudoPassword) || strings.Contains(err.Error(), "guess") {
				t.Errorf("Run = %v, want ErrSudoPassword", err)
			}
		})
	}
}

func testSudo(t *testing.T, m *sshmachine.Machine) {
	t.Helper()
	for _, sudo := range []bool{true, false} {
		uid := "0"
		if !sudo {
			uid = "1000"
		}
		for _, cmd := range []bake.Cmd{
			{Line: "id -u; cat; echo $A"},
			{Line: "id -u; cat; echo $A", Env: map[string]string{"A": "x y"}},
			{Args: []string{"sh", "-c", "id -u; cat; echo $A"}, Stdin: strings.NewReader("input\n")},
			{Line: "id -u; cat; echo $A", Stdin: strings.NewReader("input\n"), Secrets: bake.Secrets(map[string]string{"A": "x y"})},
		} {
			cmd.Sudo = sudo
			want := uid + "\n"
			if cmd.Stdin != nil {
				want += "input\n"
			}
			want += strings.TrimSuffix(strings.Repeat("x y", len(cmd.Env)+len(cmd.Secrets)), "\n")
			if got := runOutput(t, m, &cmd); got != strings.TrimSpace(want) {
				t.Errorf("sudo %v: Run(%s) printed %q, want %q", sudo, &cmd, got, want)
			}
		}
	}
	dir := t.TempDir()
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/small", Content: strings.NewReader("small"), Sudo: true}))
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/big", Content: bytes.NewReader(make([]byte, 1<<20)), Sudo: true}))
	must(t, m.Put(t.Context(), &bake.Upload{Dest: dir + "/tree", FS: fstest.MapFS{"a/b": {Data: []byte("b"), Mode: 0o644}}, Sudo: true}))
	for name, size := range map[string]int64{"small": 5, "big": 1 << 20, "tree/a/b": 1} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() != size {
			t.Errorf("Put(%s): Stat = %v, %v, want %d bytes", name, info, err, size)
		}
	}
	var content bytes.Buffer
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/small", Content: &content, Sudo: true}))
	if content.String() != "small" {
		t.Errorf("Get = %q, want \"small\"", content.String())
	}
	must(t, m.Get(t.Context(), &bake.Download{Source: dir + "/tree", Path: dir + "/back", Sudo: true}))
	if got, err := os.ReadFile(dir + "/back/a/b"); err != nil || string(got) != "b" {
		t.Errorf("Get of a tree: file = %q, %v, want \"b\"", got, err)
	}
	checkNoLeftovers(t, dir)
}

// TestRealSudo uses Debian's sudo, with and without a password.
func TestRealSudo(t *testing.T) {
	for name, asks := range map[string]bool{"no password": false, "password": true} {
		t.Run(name, func(t *testing.T) {
			cfg := sshdConfig(testenv.Guest(t, &testenv.GuestOptions{AskSudo: asks}))
			if asks {
				cfg.SudoPassword = bake.NewSecret("wrong")
				if err := connect(t, cfg).Run(t.Context(), &bake.Cmd{Line: "true", Sudo: true}); !errors.Is(err, sshmachine.ErrSudoPassword) {
					t.Errorf("Run with a wrong password = %v, want ErrSudoPassword", err)
				}
				cfg.SudoPassword = bake.NewSecret(testenv.GuestPassword)
			}
			testRealSudo(t, connect(t, cfg), asks)
		})
	}
}

// TestSudoNoise uses a sudo that asks no password for /bin/sh alone, and prints before each
// command.
func TestSudoNoise(t *testing.T) {
	cfg := sshdConfig(testenv.Guest(t, &testenv.GuestOptions{AskSudo: true, Setup: `cat >/etc/sudoers.d/zz <<'END'
Defaults lecture=always,pwfeedback
baker ALL=(root) NOPASSWD: /bin/sh
END
chmod 440 /etc/sudoers.d/zz
echo 127.0.0.1 localhost >/etc/hosts`}))
	cfg.SudoPassword = bake.NewSecret(testenv.GuestPassword)
	m := connect(t, cfg)
	testRealSudo(t, m, true)
	for _, env := range []map[string]string{nil, {"A": "it's"}} {
		if got := runOutput(t, m, &bake.Cmd{Line: `id -u; test -t 1; echo "$?$A"`, PTY: true, Sudo: true, Env: env}); got != "0\n0"+env["A"] {
			t.Errorf("on a terminal: Run printed %q, want only the command's output", got)
		}
	}
}

// TestExportedFunctions uses a machine whose /bin/sh is bash, which takes functions from
// the environment.
func TestExportedFunctions(t *testing.T) {
	m := connect(t, sshdConfig(testenv.Guest(t, &testenv.GuestOptions{Setup: `ln -sf bash /bin/sh
chsh -s /bin/bash baker
cat >/home/baker/.bashrc <<'END'
cat() { echo meow; }
rm() { echo "rm -i $*"; }
mkdir() { echo made; }
export -f cat rm mkdir
END
chown baker /home/baker/.bashrc`})))
	cmd := &bake.Cmd{Line: `command cat; echo "$A"`, PTY: true, Env: map[string]string{"A": "it's"}, Stdin: strings.NewReader("in\n")}
	if got := runOutput(t, m, cmd); got != "in\nit's" {
		t.Errorf("Run printed %q, want the input and the variable", got)
	}
	must(t, m.Put(t.Context(), &bake.Upload{Dest: "/home/baker/new/file", Content: strings.NewReader("content")}))
	if got := runOutput(t, m, bake.Sh("command cat new/file; ls -A new")); got != "contentfile" {
		t.Errorf("Put wrote %q, want %q", got, "contentfile")
	}
}

// TestCancelSudoOnSlowMachine cancels a command that became root by itself, on a machine
// that takes long to search for processes.
func TestCancelSudoOnSlowMachine(t *testing.T) {
	m := connect(t, sshdConfig(testenv.Guest(t, &testenv.GuestOptions{Setup: `cp /bin/grep /bin/real-grep
printf '#!/bin/sh\nsleep 1\nexec real-grep "$@"\n' >/bin/grep`})))
	ctx, cancel := context.WithCancel(t.Context())
	up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if err := m.Run(ctx, &bake.Cmd{Line: "sudo -n sh -c 'echo up; sleep 86426; echo'; echo", Stdout: up}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	eventuallyNoProcess(t, "86426")
}

// TestSudoTerminalNeverEnds runs commands by a sudo that does not end on a terminal, as
// Debian 12's sometimes does.
func TestSudoTerminalNeverEnds(t *testing.T) {
	m := connect(t, sshdConfig(testenv.Guest(t, &testenv.GuestOptions{Setup: `cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
/usr/bin/sudo "$@"
status=$?
test -t 0 && /bin/sleep 86425
exit $status
END
chmod 755 /usr/local/bin/sudo`})))
	for _, status := range []int{0, 7} {
		var out bytes.Buffer
		err := m.Run(t.Context(), &bake.Cmd{Line: fmt.Sprintf("cat; printf '%%s' \"$A\"; exit %d", status), PTY: true, Sudo: true, Stdout: &out, Env: map[string]string{"A": "it's"}})
		exit, failed := errors.AsType[*bake.ExitError](err)
		if failed && exit.Status != status || !failed && (err != nil || status != 0) {
			t.Errorf("Run = %v, want status %d", err, status)
		}
		if got := out.String(); got != "it's" {
			t.Errorf("Run printed %q, want %q", got, "it's")
		}
		checkNoProcess(t, "86425")
	}
}

func testRealSudo(t *testing.T, m *sshmachine.Machine, asks bool) {
	t.Helper()
	for _, cmd := range []bake.Cmd{
		{Line: "id -u; cat; echo $A"},
		{Line: "id -u; cat; echo $A", Secrets: bake.Secrets(map[string]string{"A": "it's"}), Stdin: strings.NewReader("in\n")},
		{Line: "id -u; cat; echo $A", Env: map[string]string{"A": "it's"}, Stdin: strings.NewReader("in\n")},
	} {
		cmd.Sudo = true
		want := "0"
		if cmd.Stdin != nil {
			want = "0\nin\nit's"
		}
		if got := runOutput(t, m, &cmd); got != want {
			t.Errorf("Run(%s) printed %q, want %q", &cmd, got, want)
		}
	}
	must(t, m.Put(t.Context(), &bake.Upload{Dest: "/srv/tree", FS: fstest.MapFS{"a/b": {Data: []byte("b"), Mode: 0o600}}, Sudo: true}))
	must(t, m.Put(t.Context(), &bake.Upload{Dest: "/srv/big", Content: bytes.NewReader(make([]byte, 1<<20)), Sudo: true, Owner: "daemon"}))
	if got := runOutput(t, m, &bake.Cmd{Line: "stat -c %U /srv/tree /srv/tree/a/b /srv/big", Sudo: true}); got != "root\nroot\ndaemon" {
		t.Errorf("owners after Put = %q, want root, root and daemon", got)
	}
	back := filepath.Join(t.TempDir(), "back")
	must(t, m.Get(t.Context(), &bake.Download{Source: "/srv/tree", Path: back, Sudo: true}))
	if got, err := os.ReadFile(filepath.Join(back, "a", "b")); err != nil || string(got) != "b" {
		t.Errorf("Get of a tree: file = %q, %v, want \"b\"", got, err)
	}
	cmds := []bake.Cmd{{Line: "echo up; sleep 86422; echo", Sudo: true}}
	if !asks {
		cmds = append(cmds, bake.Cmd{Line: "echo up; sudo -n sleep 86422; echo"})
	}
	for _, cmd := range cmds {
		ctx, cancel := context.WithCancel(t.Context())
		cmd.Stdout = writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
		if err := m.Run(ctx, &cmd); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want Canceled", err)
		}
		cancel()
		checkNoProcess(t, "86422")
	}
}
