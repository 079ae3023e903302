package sandbox_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// buffer is a bytes.Buffer that is safe for concurrent writes by background jobs.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func boot(t *testing.T, o sandbox.Options) *sandbox.Host {
	t.Helper()
	h, err := sandbox.Boot(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

type result struct {
	out, err string
	status   int
}

func run(t *testing.T, h *sandbox.Host, e sandbox.Exec) result {
	t.Helper()
	var out, errs buffer
	e.Stdout, e.Stderr = &out, &errs
	status, err := h.Exec(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), status}
}

type scriptCase struct {
	name   string
	script string
	user   string
	stdin  string
	out    string // the exact output
	err    string // a part of the error output; empty if there is none
	status int
}

func runCases(t *testing.T, cases []scriptCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := boot(t, sandbox.Options{Hostname: "web-1"})
			got := run(t, h, sandbox.Exec{Line: c.script, User: c.user, Stdin: strings.NewReader(c.stdin)})
			if got.out != c.out || got.status != c.status || !strings.Contains(got.err, c.err) || c.err == "" && got.err != "" {
				t.Errorf("got status %d, output %q, errors %q\nwant status %d, output %q, errors with %q",
					got.status, got.out, got.err, c.status, c.out, c.err)
			}
		})
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	runCases(t, []scriptCase{
		{name: "echo", script: "echo hello", out: "hello\n"},
		{name: "not found", script: "frobnicate now", err: "sh: 1: frobnicate: not found", status: 127},
		{name: "not found in bash", script: `bash -c 'frobnicate now'`, err: "line 1: frobnicate: command not found", status: 127},
		{name: "exit status", script: "exit 42", status: 42},
		{name: "errexit", script: "set -e; false; echo no", status: 1},
		{name: "pipe", script: "printf 'b\\na\\n' | sort | head -n 1", out: "a\n"},
		{name: "redirect", script: "echo x >/tmp/f; echo y >>/tmp/f; cat </tmp/f; cat /tmp/nope", out: "x\ny\n", err: "No such file or directory", status: 1},
		{name: "redirect without permission", script: "echo x >/etc/f", user: "ubuntu", err: "sh: 1: cannot create /etc/f: Permission denied", status: 2},
		{name: "here document", script: "cat <<EOF\na $((1+1))\nEOF", out: "a 2\n"},
		{name: "glob", script: "mkdir /d; touch /d/a /d/b; cd /d; echo *", out: "a b\n"},
		{name: "test", script: "[ -d /etc ] && [ -f /etc/passwd ] && [ ! -e /nope ] && [ -x /usr/bin/tar ] && [ -r /root ] && echo yes", out: "yes\n"},
		{name: "test as user", script: "[ -r /root/.bashrc ] || [ -w /etc ] || echo no", user: "ubuntu", out: "no\n"},
		{name: "test owner", script: "[ -O /tmp ] || touch x && [ -O x ] && echo mine", user: "ubuntu", out: "mine\n"},
		{name: "read", script: "read a b; read c; echo \"$b|$c\"; cat", stdin: "1 2 3\nfour\nrest\n", out: "2 3|four\nrest\n"},
		{name: "read loop", script: "while read -r x; do printf '<%s>' \"$x\"; done; echo $x", stdin: "a\\b\nc", out: "<a\\b>c\n"},
		{name: "read from file", script: "while read -r a _; do echo $a; done </etc/hostname", out: "web-1\n"},
		{name: "function", script: "f() { echo \"f $1\"; return 3; }; f x || echo $?", out: "f x\n3\n"},
		{name: "command substitution", script: "echo \"$(hostname) $(cat /etc/hostname)\"", out: "web-1 web-1\n"},
		{name: "command -v", script: "command -v tar; command -v nope || echo none; command -v cd; f() { :; }; command -v f", out: "/usr/bin/tar\nnone\ncd\nf\n"},
		{name: "type", script: "type tar; type nope", out: "tar is /usr/bin/tar\n", err: "nope: not found", status: 127},
		{name: "umask", script: "umask; umask 077; touch /f; mkdir /d; (umask 0; touch /g); stat -c %a /f /d /g; umask", out: "0022\n600\n700\n666\n0077\n"},
		{name: "trap", script: "trap 'echo bye' EXIT INT TERM; echo hi; exit 3", out: "hi\nbye\n", status: 3},
		{name: "source", script: "echo 'x=5; y=$1' >/lib.sh; . /lib.sh; echo $x", out: "5\n"},
		{name: "background", script: "sleep 0.01 & p=$!; wait $p; echo $?; kill $p", out: "0\n", err: "No such process", status: 1},
		{name: "kill background", script: "sleep 1000 & p=$!; kill $p; wait $p; echo $?", out: "143\n"},
		{name: "pid", script: "test $$ -gt 1000 && kill -0 $$ && echo alive", out: "alive\n"},
		{name: "tilde", script: "echo ~ ~ubuntu ~nobody ~stranger", out: "/root /home/ubuntu /nonexistent ~stranger\n"},
		{name: "dash has no [[", script: "[[ a = a ]] && echo yes", err: "[[: not found", status: 127},
		{name: "dash has no arrays", script: "a=(1 2)", err: "Syntax error", status: 2},
		{name: "dash has no pipefail", script: "set -eo pipefail; echo no", err: "Illegal option -o pipefail", status: 2},
		{name: "dash has no brace expansion", script: "echo a{b,c}", out: "a{b,c}\n"},
		{name: "bash supports these", script: `bash -euo pipefail -c 'a=(1 2); [[ a == a ]] && echo ${a[1]} {x,y}'`, out: "2 x y\n"},
		{name: "set -E", script: `bash -c 'set -Eeuo pipefail; false | true; echo no'`, status: 1},
		{name: "process substitution", script: `bash -c 'cat <(echo one) <(echo two)'`, out: "one\ntwo\n"},
		{name: "process substitution in eval", script: `bash -c 'eval "cat <(echo one)"; source <(echo x=7); echo $x'`, out: "one\n7\n"},
		{name: "output substitution", script: `bash -c 'echo x > >(cat)'`, out: "x\n"},
		{name: "printf -v", script: `bash -c 'printf -v x "%03d\n" 7; echo "<$x>"; printf "%q %q" "a b" c'`, out: "<007\n>\na\\ b c"},
		{name: "sh from stdin", script: "sh -s one two", stdin: "echo $1 $2\ncat\nthis is input\n", out: "one two\nthis is input\n"},
		{name: "sh -c", script: `sh -c 'echo $0 $1' a b`, out: "a b\n"},
		{name: "sh -x", script: `sh -x -c 'echo a'`, out: "a\n", err: "+ echo a"},
		{name: "sh -e", script: `sh -e -c 'false; echo no'`, status: 1},
		{name: "echo in dash", script: `echo 'a\tb'`, out: "a\tb\n"},
		{name: "syntax error", script: "if true; then", err: "Syntax error", status: 2},
		{name: "exec", script: "exec echo replaced; echo no", out: "replaced\n"},
		{name: "exec redirect", script: "exec >/log 2>&1; echo a; nope; exec cat /log >/dev/null", status: 0},
		{name: "env", script: "A=1 env | grep ^A=; env -i B=2 env; env | grep -c BAKESTONE", out: "A=1\nB=2\n0\n", status: 1},
		{name: "login environment", script: "echo $HOME $USER $SHELL; pwd", user: "ubuntu", out: "/home/ubuntu ubuntu /bin/bash\n/home/ubuntu\n"},
		{name: "cd", script: "cd /usr/local && pwd && cd - && cd .. && pwd; ln -s /usr/local /l; cd /l; pwd; pwd -P; cd /nope", out: "/usr/local\n/root\n/\n/l\n/usr/local\n", err: "can't cd to /nope", status: 2},
		{name: "devices", script: "echo x >/dev/null; cat /dev/null; head -c 4 /dev/zero | wc -c; head -c 8 /dev/urandom | wc -c", out: "4\n8\n"},
		{name: "dev stdin", script: "echo data | cat /dev/stdin; echo e >/dev/stderr", out: "data\n", err: "e\n"},
		{name: "until and arithmetic", script: "i=0; until [ $i -ge 3 ]; do i=$((i+1)); done; echo $i", out: "3\n"},
		{name: "case", script: "case ubuntu-24.04 in ubuntu*) echo u;; *) echo other;; esac", out: "u\n"},
	})
}

func TestExecutableFiles(t *testing.T) {
	t.Parallel()
	runCases(t, []scriptCase{
		{name: "shebang", script: "printf '#!/bin/sh\\necho \"$0 $1\"\\n' >/s; chmod +x /s; /s arg", out: "/s arg\n"},
		{name: "shebang env", script: "printf '#!/usr/bin/env bash\\n[[ 1 ]] && echo bash\\n' >/s; chmod 755 /s; /s", out: "bash\n"},
		{name: "shebang with a flag", script: "printf '#!/bin/sh -e\\nfalse\\necho no\\n' >/s; chmod 755 /s; /s", status: 1},
		{name: "no shebang", script: "echo 'echo plain' >/s; chmod 755 /s; /s", out: "plain\n"},
		{name: "not executable", script: "echo 'echo x' >/s; /s", err: "/s: Permission denied", status: 126},
		{name: "directory", script: "/etc", err: "Is a directory", status: 126},
		{name: "missing file", script: "/nope", err: "/nope: not found", status: 127},
		{name: "missing interpreter", script: "printf '#!/usr/bin/python9\\n' >/s; chmod 755 /s; /s", err: "bad interpreter", status: 127},
		{name: "binary", script: "printf '\\177ELF\\000' >/s; chmod 755 /s; /s", err: "cannot execute binary file", status: 126},
		{name: "in PATH", script: "printf 'echo mine' >/usr/local/bin/tar; chmod 755 /usr/local/bin/tar; tar", out: "mine\n"},
		{name: "through link", script: "ln -s /usr/bin/hostname /usr/local/bin/name; name", out: "web-1\n"},
		{name: "absolute path", script: "/bin/echo a; /usr/bin/tar --help", out: "a\n", err: "not supported", status: 2},
	})
}

func TestNoExec(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{})
	if err := h.FS().SetNoExec("/tmp", true); err != nil {
		t.Fatal(err)
	}
	got := run(t, h, sandbox.Exec{Line: "echo 'echo ran' >/tmp/s; chmod 755 /tmp/s; sh /tmp/s; /tmp/s"})
	if got.out != "ran\n" || got.status != 126 || !strings.Contains(got.err, "Permission denied") {
		t.Errorf("script on noexec mount: got %+v, want it to run through sh only", got)
	}
}
