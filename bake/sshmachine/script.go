package sshmachine

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

const (
	// markVariable is the environment variable that marks the processes of a
	// command with its tag.
	markVariable = "BAKESTONE_RUN"

	// maxInlineScript is the length up to which a script is part of the command
	// line. Linux allows 128 KiB in an argument, and quoting adds to the length.
	maxInlineScript = 32 << 10
)

func quote(s string) string { return posixsh.Quote(s) }

// newTag returns a random name.
func newTag() string { return rand.Text() }

// newTag returns a new value for markVariable: that of Config.Mark and a random one.
func (c *Config) newTag() string {
	if c.Mark == nil {
		return newTag()
	}
	return markPrefix(c.Mark()) + newTag()
}

// markPrefix returns what the values of markVariable begin with that have the mark.
// None is the beginning of another.
func markPrefix(mark string) string {
	if mark == "" {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z':
			return r
		}
		return '_'
	}, mark) + "."
}

// shellCommand returns the command line that runs script in /bin/sh, as root if
// su is not nil. The environment carries tag as its mark unless tag is empty.
// sudo prints prompt to ask for a password. The line does not depend on PATH.
func shellCommand(su *sudo, tag, prompt, script string) string {
	if su.elevates() && su.terminal {
		return shellCommand(nil, tag, "", onTerminal(shellCommand(su.withoutTerminal(), tag, prompt, script)))
	}
	line := "exec " + su.commandPrefix(prompt)
	if tag != "" || su.elevates() { // so that sudo's rules see the same program each time
		line += "/usr/bin/env "
	}
	if tag != "" {
		line += markVariable + "=" + tag + " "
	}
	if !strings.ContainsAny(script, "'\\\n!") {
		return line + "/bin/sh -c '" + script + "'"
	}
	return line + `/bin/sh -c 'eval "shift; $(printf %b "$1")"' /bin/sh '` + encodeScript(script) + "'"
}

// encodeScript encodes a script for printf's %b without the characters that login shells
// treat differently in single quotes: fish unescapes backslashes there, and csh
// expands exclamation marks and refuses newlines.
func encodeScript(script string) string {
	return strings.NewReplacer("'", `\0047`, `\`, `\0134`, "\n", `\n`, "!", `\0041`).Replace(script)
}

// cleanEnvironment starts the scripts of this package. It undoes what the login's
// environment may change in the commands they use: bash, as /bin/sh, takes functions from
// it as well.
const cleanEnvironment = `set +aefuvxC; unset -f cat cd chmod chown cut dd echo find grep gzip head id ls mkdir mv openssl printf read rm sed sha256sum stat tail tar test tr uname wc xargs
unset IFS CDPATH ENV BASH_ENV TAR_OPTIONS GZIP POSIXLY_CORRECT _POSIX2_VERSION LS_COLORS GREP_OPTIONS GREP_COLOR GREP_COLORS LANGUAGE BLOCK_SIZE TIME_STYLE QUOTING_STYLE OPENSSL_CONF
LC_ALL=C; export LC_ALL; PATH=${PATH:-/bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; export PATH
` + tryFunction

// tryFunction defines the shell function try, which runs a program and names it if it
// fails: some fail without a word, or with one that does not say who speaks.
const tryFunction = `try() { "$@" || { e=$?; echo "$1: exit status $e" >&2; return $e; }; }
`

// commandScript returns cmd, with its directory and environment, as a /bin/sh
// script.
func commandScript(cmd *bake.Cmd) string {
	var b strings.Builder
	if cmd.Dir != "" {
		dir := cmd.Dir
		if !strings.HasPrefix(dir, "/") {
			dir = "./" + dir // not an option, nor looked for in CDPATH
		}
		fmt.Fprintf(&b, "cd %s || exit; ", quote(dir))
	}
	export := func(name, value string) { fmt.Fprintf(&b, "%s=%s; export %s; ", name, quote(value), name) }
	for _, name := range slices.Sorted(maps.Keys(cmd.Env)) {
		export(name, cmd.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(cmd.Secrets)) {
		export(name, cmd.Secrets[name].Reveal())
	}
	if cmd.Line == "" {
		b.WriteString("exec")
		for _, arg := range cmd.Args {
			b.WriteString(" " + quote(arg))
		}
		return b.String()
	}
	b.WriteString(cmd.Line)
	return b.String()
}

// evalInput returns a script that reads another one from its input, in the form
// written by inputScript, and runs it on the rest of the input. It uses the
// shell's read, the only command sure not to read past the end of a line. Lines
// before tag are skipped: they are a password that sudo did not read.
func evalInput(tag string) string {
	return strings.Join([]string{
		`while IFS= read -r l; do [ "$l" = ` + tag + ` ] && break; done`,
		`IFS= read -r n || exit 125`,
		// Appending to a variable would take quadratic time.
		`s=$(while [ "$n" -gt 0 ]; do IFS= read -r l || exit 125`,
		`printf '%s\n' "$l"; n=$((n-1)); done) || exit 125`,
		`unset l n`,
		`eval "$s"`,
	}, "\n")
}

// inputScript returns script in the form that evalInput reads.
func inputScript(tag, script string) string {
	return fmt.Sprintf("%s\n%d\n%s\n", tag, strings.Count(script, "\n")+1, script)
}

// evalFile returns a script that removes a file and runs the script it contained.
// It leaves the whole input to that script, for terminals, which edit their input.
func evalFile(file string) string {
	const path = "PATH=/usr/bin:/bin; command " // only here
	return fmt.Sprintf(`s=$(%[2]scat %[1]s) || exit 125; (%[2]srm -f %[1]s); eval "$s"`, quote(file), path)
}

// onTerminal returns a script that runs a command line with a terminal of its own,
// which sudo may require, but with the script's input and outputs.
func onTerminal(line string) string {
	// The program script runs $SHELL.
	return cleanEnvironment + "SHELL=/bin/sh; export SHELL; exec 3<&0 4>&1 5>&2\n" +
		"exec script -qec " + quote(line+" <&3 >&4 2>&5 3<&- 4>&- 5>&-") + " /dev/null </dev/null >/dev/null"
}

// checkZeroBytes reports zero bytes in cmd, which no command line or environment
// can hold.
func checkZeroBytes(cmd *bake.Cmd) error {
	bad := func(field, name string) error {
		return bake.Invalid(field, "%s contains a zero byte", name)
	}
	for name, value := range cmd.Env {
		if strings.ContainsRune(value, 0) {
			return bad("Cmd.Env", name)
		}
	}
	for name, value := range cmd.Secrets {
		if strings.ContainsRune(value.Reveal(), 0) {
			return bad("Cmd.Secrets", name)
		}
	}
	if strings.ContainsRune(cmd.Line, 0) || slices.ContainsFunc(cmd.Args, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		return bake.Invalid("Cmd", "contains a zero byte")
	}
	return nil
}

// newScript returns the process of a script of this package, run as root if su is
// not nil. It puts any password for sudo before stdin.
func (c *conn) newScript(su *sudo, script string, stdin io.Reader) *process {
	p := &process{sudo: su, tag: c.cfg.newTag(), mark: newTag(), cleansUp: true, stdin: stdin}
	if su.needsPassword() {
		// sudo leaves the password unread if it does not need it after all.
		script = `while IFS= read -r l; do [ "$l" = ` + p.tag + ` ] && break; done` + "\n" + script
		p.stdin = concatReaders(strings.NewReader(su.passwordLine()+p.tag+"\n"), stdin)
	}
	p.line = shellCommand(su, p.tag, "", announceBegin(p.mark, false, cleanEnvironment+script))
	return p
}

// runScript runs a process made by newScript. If the script fails, the error
// contains the last lines of its standard error.
func (c *conn) runScript(ctx context.Context, p *process) error {
	if !c.takeSlot(ctx, true) {
		return c.noSlotError(ctx)
	}
	return c.runScriptInSlot(ctx, p, c.releaseSlot)
}

// runScriptInSlot runs p like runScript, in a slot that the caller holds and release
// returns.
func (c *conn) runScriptInSlot(ctx context.Context, p *process, release func()) error {
	var stderr tail
	p.stderr = stderr.writer(p.stderr)
	ended, err := c.execInSlot(ctx, p, release)
	if err != nil {
		return err
	}
	return scriptError(ended, &stderr)
}

// scriptError returns nil if the script succeeded, or else an error with the last
// lines it wrote.
func scriptError(ended exit, stderr *tail) error {
	switch lines := stderr.lastLines(); {
	case ended.status == 0 && ended.signal == "":
		return nil
	case len(lines) > 0:
		return fmt.Errorf("on the machine: %s", plainText(strings.Join(lines, "\n")))
	case ended.signal != "":
		return fmt.Errorf("on the machine: killed by signal %s", ended.signal)
	default:
		return fmt.Errorf("on the machine: exit status %d", ended.status)
	}
}
