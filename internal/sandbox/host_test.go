package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

func TestRegisteredCommands(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{
		Missing: []string{"tar"},
		Commands: map[string]sandbox.Command{
			"apt-get": func(_ context.Context, p *sandbox.Process) int {
				if err := p.FS.WriteFile("/var/lib/dpkg/status", []byte(strings.Join(p.Args, " ")), 0o644); err != nil {
					_, _ = fmt.Fprintln(p.Stderr, "E:", err)
					return 100
				}
				_, _ = fmt.Fprintln(p.Stdout, "installed as", p.User, p.Env["DEBIAN_FRONTEND"], "in", p.Dir)
				return 0
			},
			"hostname": func(_ context.Context, p *sandbox.Process) int { _, _ = fmt.Fprintln(p.Stdout, "overridden"); return 0 },
			"both": func(ctx context.Context, p *sandbox.Process) int {
				return p.Run(ctx, "sh", "-c", "echo nested; exit 9")
			},
			"python3": func(_ context.Context, p *sandbox.Process) int {
				_, _ = fmt.Fprintln(p.Stdout, "python runs", p.Args[1:])
				return 0
			},
		},
	})
	for _, c := range []struct {
		line, out string
		status    int
	}{
		{"DEBIAN_FRONTEND=noninteractive sudo -E apt-get install nginx && cat /var/lib/dpkg/status", "installed as root noninteractive in /home/ubuntu\napt-get install nginx", 0},
		{"apt-get install nginx", "", 100},
		{"hostname; command -v apt-get; [ -x /usr/bin/apt-get ] && echo there", "overridden\n/usr/bin/apt-get\nthere\n", 0},
		{"both", "nested\n", 9},
		{"tar c /etc; command -v tar", "", 127},
		{"tar c /etc", "", 127},
		{"printf '#!/usr/bin/env python3\n' >s.py; chmod +x s.py; ./s.py a", "python runs [./s.py a]\n", 0},
	} {
		got := run(t, h, sandbox.Exec{Line: c.line, User: "ubuntu"})
		if got.out != c.out || got.status != c.status {
			t.Errorf("%s: got %+v, want status %d, output %q", c.line, got, c.status, c.out)
		}
	}
}

func TestSudoPassword(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{SudoPassword: "s3cret"})
	for _, c := range []struct {
		line, stdin, out, err string
		status                int
	}{
		{"sudo -S -p '' sh -c 'id -u; cat'", "s3cret\nrest", "0\nrest", "", 0},
		{"sudo -S true", "wrong\nwrong\nwrong\n", "", "incorrect password", 1},
		{"sudo -S true", "", "", "no password was provided", 1},
		{"sudo -n true", "", "", "a password is required", 1},
		{"sudo true", "s3cret\n", "", "a terminal is required", 1},
	} {
		got := run(t, h, sandbox.Exec{Line: c.line, User: "ubuntu", Stdin: strings.NewReader(c.stdin)})
		if got.out != c.out || got.status != c.status || !strings.Contains(got.err, c.err) {
			t.Errorf("%s: got %+v, want status %d, output %q, errors with %q", c.line, got, c.status, c.out, c.err)
		}
	}
}

func TestPower(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]sandbox.Power{
		"shutdown -P now": sandbox.PowerOff, "poweroff": sandbox.PowerOff, "systemctl poweroff": sandbox.PowerOff,
		"shutdown -r now": sandbox.Reboot, "reboot": sandbox.Reboot, "systemctl reboot": sandbox.Reboot,
	} {
		powered := make(chan sandbox.Power, 1)
		h := boot(t, sandbox.Options{OnPower: func(p sandbox.Power) { powered <- p }})
		if got := run(t, h, sandbox.Exec{Line: line, User: "ubuntu"}); got.status == 0 {
			t.Errorf("%s succeeded for a user who is not root", line)
		}
		run(t, h, sandbox.Exec{Line: line})
		if got := <-powered; got != want {
			t.Errorf("%s: OnPower(%v), want %v", line, got, want)
		}
	}
}

func TestPowerWithoutCallback(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, sandbox.Options{})
		run(t, h, sandbox.Exec{Line: "echo x >/run/volatile; reboot; sleep 1000"})
		synctest.Wait()
		if got := run(t, h, sandbox.Exec{Line: "ls /run/volatile"}); got.status != 2 {
			t.Errorf("machine did not reboot: ls got %+v", got)
		}
		run(t, h, sandbox.Exec{Line: "poweroff"})
		synctest.Wait()
		if _, err := h.Exec(t.Context(), sandbox.Exec{Line: "true"}); !errors.Is(err, sandbox.ErrClosed) {
			t.Errorf("Exec after poweroff: error = %v, want ErrClosed", err)
		}
	})
}

func TestScheduledShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		powered := make(chan sandbox.Power, 1)
		h := boot(t, sandbox.Options{OnPower: func(p sandbox.Power) { powered <- p }})
		after := func(d time.Duration) string {
			time.Sleep(d)
			synctest.Wait()
			select {
			case p := <-powered:
				return p.String()
			default:
				return ""
			}
		}
		run(t, h, sandbox.Exec{Line: "shutdown -P +60; shutdown -c"})
		if got := after(2 * time.Hour); got != "" {
			t.Errorf("%s after shutdown -c", got)
		}
		run(t, h, sandbox.Exec{Line: "shutdown -P +60"})
		if err := h.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := after(2 * time.Hour); got != "" {
			t.Errorf("%s from a shutdown scheduled before the reboot", got)
		}
		run(t, h, sandbox.Exec{Line: "shutdown -P +60; shutdown -r +30"})
		if got := after(29 * time.Minute); got != "" {
			t.Errorf("%s before the scheduled time", got)
		}
		if got := after(2 * time.Minute); got != "reboot" {
			t.Errorf("power change after shutdown -r +30 = %q, want reboot", got)
		}
	})
}

// TestCloseStopsGoroutines relies on synctest, which fails if a goroutine is
// still running when the bubble ends.
func TestCloseStopsGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, c := login(t, sandbox.Options{UserData: []byte("#!/bin/sh\nsleep 100000 &\n")})
		waiting := make(chan error)
		lines := []string{
			"sleep 100000", "sleep 100000 | cat", "cat", "nohup sleep 100000 >/dev/null 2>&1 & wait", "setsid -f sleep 100000; sleep 50000",
			"sudo sh -c 'sleep 100000 & sleep 100000'", "sudo shutdown -P +600; sleep 100000", "timeout 90000 sleep 100000", "tail -f /etc/hostname",
		}
		for _, line := range lines {
			s := session(t, c)
			if _, err := s.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			if err := s.Start(line); err != nil {
				t.Fatal(err)
			}
			go func() { waiting <- s.Wait() }()
		}
		time.Sleep(time.Minute)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		for range lines {
			if err := <-waiting; err == nil {
				t.Error("command succeeded on a closed machine")
			}
		}
		if _, err := h.Exec(t.Context(), sandbox.Exec{Line: "true"}); !errors.Is(err, sandbox.ErrClosed) {
			t.Errorf("Exec after Close: error = %v, want ErrClosed", err)
		}
		if err := h.Reboot(t.Context()); !errors.Is(err, sandbox.ErrClosed) {
			t.Errorf("Reboot after Close: error = %v, want ErrClosed", err)
		}
		if _, err := dial(t, h, &ssh.ClientConfig{}); err == nil {
			t.Error("SSH connection to closed machine succeeded")
		}
	})
}

func TestBackgroundOutlivesSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, c := login(t, sandbox.Options{})
		s := session(t, c)
		if err := s.Run("(sleep 100; echo done >late) >/dev/null 2>&1 &"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Second)
		if got := run(t, h, sandbox.Exec{Line: "cat late", User: "ubuntu"}); got.out != "done\n" {
			t.Errorf("file written by background job: got %+v", got)
		}
	})
}

// TestCommandOutlivesConnection drops connections. As with sshd, a command without a
// terminal runs on until it writes.
func TestCommandOutlivesConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, c := login(t, sandbox.Options{})
		for _, line := range []string{"sleep 100; echo done >late", "sleep 100; echo out; echo done >wrote", "cat; echo done >eof", "trap 'echo hup >hup' HUP; sleep 100; echo done >trapped"} {
			if err := session(t, c).Start(line); err != nil {
				t.Fatal(err)
			}
		}
		terminal := session(t, c)
		if err := terminal.RequestPty("xterm", 24, 80, nil); err != nil {
			t.Fatal(err)
		}
		if err := terminal.Start("sleep 100; echo done >terminal"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Second)
		got := run(t, h, sandbox.Exec{Line: "ls", User: "ubuntu"})
		if got.out != "eof\nlate\ntrapped\n" {
			t.Errorf("files written after the connection ended = %q, want eof, late and trapped", got.out)
		}
	})
}

func TestProcFiles(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{})
	got := run(t, h, sandbox.Exec{Line: `export MARK=x1; sleep 300 & unset MARK; sleep 0.1; p=$(grep -lszF "MARK=x1" /proc/[0-9]*/environ | sed 's|^/proc/||;s|/.*||'); [ "$p" = "$!" ] && echo marked; read -r l </proc/$!/stat; set -- ${l##*) }; [ "$2" = $$ ] && echo child; tr '\0' ' ' </proc/$!/cmdline; grep -c . /proc/self/comm; kill $!; wait; ls /proc | grep -c "^$!$"`, User: "ubuntu"})
	if got.out != "marked\nchild\nsleep 300 1\n0\n" {
		t.Errorf("files of a process: %+v", got)
	}
}

func TestBootCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := sandbox.Boot(ctx, sandbox.Options{UserData: []byte("#!/bin/sh\nsleep 100000\n")})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Boot: error = %v, want DeadlineExceeded", err)
		}
	})
}

func TestCloseDuringReboot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, sandbox.Options{})
		run(t, h, sandbox.Exec{Line: "mkdir -p /usr/local/bin; printf 'sleep 100000' >/usr/local/bin/x; chmod 755 /usr/local/bin/x"})
		slow := boot(t, sandbox.Options{FS: h.FS().Clone(), UserData: []byte("#cloud-boothook\n#!/bin/sh\n[ ! -e /again ] || x\ntouch /again\n")})
		rebooted := make(chan error)
		go func() { rebooted <- slow.Reboot(t.Context()) }()
		time.Sleep(time.Minute)
		if err := slow.Close(); err != nil {
			t.Error(err)
		}
		if err := <-rebooted; !errors.Is(err, sandbox.ErrClosed) {
			t.Errorf("Reboot: error = %v, want ErrClosed", err)
		}
	})
}

func TestExecCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := boot(t, sandbox.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status, err := h.Exec(ctx, sandbox.Exec{Line: "sleep 100000; echo no"})
		if status != 137 || err != nil {
			t.Errorf("Exec = %d, %v, want status 137", status, err)
		}
	})
}

// TestIsolation tries to read and write a file of the computer that runs the test
// in all ways a script can name a file.
func TestIsolation(t *testing.T) {
	t.Setenv("BAKESTONE_HOST_SECRET", "host-secret")
	dir := t.TempDir()
	file := filepath.ToSlash(filepath.Join(dir, "secret"))
	if err := os.WriteFile(file, []byte("echo host-secret\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	h := boot(t, sandbox.Options{})
	d := filepath.ToSlash(dir)
	for _, line := range []string{
		"cat F", "cat <F", "head F", ". F", "sh F", "F", "source F", "bash -c 'source F'", "bash -c '. secret'", "PATH=D; secret", "PATH=D; . secret",
		"PATH=D command -v secret", "bash -c 'type -p F'", "PATH=D; export PATH; bash -c 'type secret'", "echo \"$(<F)\"", "bash -c 'mapfile x <F; echo $x'",
		"read x <F; echo $x", "[ -e F ] && echo host-secret", "test -r F && echo host-secret", "bash -c '[[ -f F ]] && echo host-secret'",
		"[ F -nt /etc/passwd ] && echo host-secret", "echo D/s*", "cd D && echo host-secret", "bash -c 'pushd D && echo host-secret'", "ls D", "find D", "grep -r . D",
		"tar c D", "sed '' F", "cp F /x; cat /x", "ln -s F /l; cat /l; readlink -f /l | grep -v F", "dd if=F", "base64 F", "sha256sum F", "xargs cat F </dev/null",
		"env | grep host-secret", "echo $BAKESTONE_HOST_SECRET", "printenv", "bash -c 'cat <(cat F)'", "eval 'cat F'", "trap 'cat F' EXIT", "exec cat F", "cat /proc/self/environ",
		"bash -c 'echo x > >(cat >D/out)'", "echo x >D/out", "touch D/out", "mkdir -p D; echo x >D/out", "mkdir -p D; tee D/out </etc/hostname", "TMPDIR=D bash -c 'cat <(echo x)'",
		"mkdir -p D; cp /etc/passwd D/out", "export TMPDIR=D; mkdir -p D; bash -c 'eval \"cat <(echo x)\"'", "bash -c 'trap \"cat <(cat F)\" EXIT'", "pwd -P", "scp -f F </dev/null",
		"bash -c 'coproc cat F'", "bash -c 'exec 3<F; cat <&3'", "while read x; do echo $x; done <F", "cat <<E\n$(cat F)\nE", "ls ..", "cd ..; ls", "bash -O extglob -c 'echo F*'",
	} {
		line = strings.ReplaceAll(strings.ReplaceAll(line, "F", file), "D", d)
		fresh := boot(t, sandbox.Options{FS: h.FS().Clone()})
		got := run(t, fresh, sandbox.Exec{Line: line})
		if strings.Contains(strings.ReplaceAll(got.out+got.err, line, ""), "host-secret\n") {
			t.Errorf("%s: output contains the host's secret: %q", line, got.out+got.err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("entries of the host's directory = %v, %v, want only the secret", left, err)
	}
	got := run(t, h, sandbox.Exec{Line: "cat /etc/hostname; bash -c 'echo $HOME ~ $UID $$'; hostname"})
	if !strings.HasPrefix(got.out, "localhost\n/root /root 0 1") || !strings.HasSuffix(got.out, "\nlocalhost\n") {
		t.Errorf("host name, home, user and process id: got %+v", got)
	}
}

// FuzzScript searches for scripts that make the machine panic or hang. Run it with
// -fuzzminimizetime=20x: the coverage of a script depends on how its goroutines
// are scheduled, so the fuzzer finds no smaller input and by default spends a
// minute on each, in which it reports 0 executions per second.
func FuzzScript(f *testing.F) {
	for _, seed := range []string{
		"echo a | (read x; echo $x) & wait $!", "cat <<E\nx\nE", "for i in 1 2; do sed s/a/b/ <(echo a); done", "a=(1); echo ${a[0]}",
		"eval 'trap \"echo x\" EXIT'; . /etc/os-release", "case x in [a-z]) ;; esac", "set -euo pipefail; [[ -O x ]]", "umask 0; test -t 1 -a x", "$(exit 3) || printf '%s' $!",
	} {
		f.Add(seed)
	}
	h, err := sandbox.Boot(f.Context(), sandbox.Options{Missing: []string{"sleep", "yes", "tail"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = h.Close() })
	disk := h.FS()
	f.Fuzz(func(t *testing.T, text string) {
		fresh, err := sandbox.Boot(t.Context(), sandbox.Options{FS: disk.Clone(), Missing: []string{"sleep", "yes", "tail"}, OnPower: func(sandbox.Power) {}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := fresh.Exec(ctx, sandbox.Exec{Line: text, User: "ubuntu", Stdin: io.LimitReader(strings.NewReader(text), 1000)}); err != nil {
			t.Error(err)
		}
		_ = fresh.Close()
		if console := fresh.Console(); strings.Contains(console, "internal error") {
			t.Error(console)
		}
	})
}
