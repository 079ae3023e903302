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
	// mark is the variable whose value finds the processes of a command.
	markVariable = "BAKESTONE_RUN"

	// longestDirect is the longest script that is put into a command line;
	// Linux takes 128 KiB in one argument, and quotes may make it longer.
	maxInlineScript = 32 << 10
)

func quote(s string) string { return posixsh.Quote(s) }

// newTag is a fresh value of mark.
func newTag() string { return rand.Text() }

// shellFor is the command line that runs script as the login, or as root, in a
// shell that has the mark from its first moment on. An empty tag is no mark.
// The prompt is what sudo shows when it asks for a password.
func shellCommand(root *sudo, tag, prompt, script string) string {
	line := "exec " + root.commandPrefix(prompt)
	if tag != "" {
		line += "env " + markVariable + "=" + tag + " "
	}
	return line + "/bin/sh -c " + quote(script)
}

// scriptOf is the whole of cmd as a script for /bin/sh.
func commandScript(cmd *bake.Cmd) string {
	var b strings.Builder
	if cmd.Dir != "" {
		dir := cmd.Dir
		if strings.HasPrefix(dir, "-") {
			dir = "./" + dir
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

// fromInput is a script that takes another one from the lines of its input
// after tag, and leaves the rest of the input to it. It reads with the shell's
// own read, the only command that surely takes no byte more than its line. The
// lines before tag are a password that sudo did not want.
func evalInput(tag string) string {
	return strings.Join([]string{
		`while IFS= read -r l; do [ "$l" = ` + tag + ` ] && break; done`,
		`IFS= read -r n || exit 125`,
		`s=`,
		`while [ "$n" -gt 0 ]; do IFS= read -r l || exit 125`,
		"s=\"$s$l\n\"",
		`n=$((n-1))`,
		`done`,
		`unset l n`,
		`eval "$s"`,
	}, "\n")
}

// asInput is script as fromInput expects it.
func inputScript(tag, script string) string {
	return fmt.Sprintf("%s\n%d\n%s\n", tag, strings.Count(script, "\n")+1, script)
}

// fromFile is a script that takes another one from a file, which it removes,
// and leaves all of its input to it: for a terminal, where input is edited.
func evalFile(file string) string {
	return fmt.Sprintf(`s=$(cat %[1]s) || exit 125; rm -f %[1]s; eval "$s"`, quote(file))
}

// checkEnv reports a variable that no environment can hold.
func checkZeroBytes(cmd *bake.Cmd) error {
	bad := func(field, name string) error {
		return bake.Invalid(field, "%s has a zero byte", name)
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
		return bake.Invalid("Cmd", "there is a zero byte in it")
	}
	return nil
}

// newScript is the process of a script of this package, as the login or root.
// A password for sudo goes before stdin.
func newScript(root *sudo, script string, stdin io.Reader) *process {
	p := &process{sudo: root, tag: newTag(), cleansUp: true, stdin: stdin}
	if root.needsPassword() {
		// sudo does not take the password when it turns out not to need one.
		script = `while IFS= read -r l; do [ "$l" = ` + p.tag + ` ] && break; done` + "\n" + script
		before := strings.NewReader(root.passwordLine() + p.tag + "\n")
		p.stdin = before
		if stdin != nil {
			p.stdin = io.MultiReader(before, stdin)
		}
	}
	p.line = shellCommand(root, p.tag, "", script)
	return p
}

// runScript runs a script of this package. One that fails is an error with what
// it wrote to its standard error.
func (c *conn) runScript(ctx context.Context, p *process) error {
	if !c.takeSlot(ctx, true) {
		return c.noSlotError(ctx)
	}
	return c.runScriptInSlot(ctx, p, func() { <-c.slots })
}

// runScriptInSlot is runScript in a slot that was taken before.
func (c *conn) runScriptInSlot(ctx context.Context, p *process, release func()) error {
	var said tail
	p.stderr = said.writer(p.stderr)
	ended, err := c.execInSlot(ctx, p, release)
	if err != nil {
		return err
	}
	return scriptError(ended, &said)
}

func scriptError(ended exit, said *tail) error {
	switch lines := said.lastLines(); {
	case ended.status == 0 && ended.signal == "":
		return nil
	case len(lines) > 0:
		return fmt.Errorf("on the machine: %s", strings.Join(lines, "; "))
	case ended.signal != "":
		return fmt.Errorf("on the machine: killed by signal %s", ended.signal)
	default:
		return fmt.Errorf("on the machine: exit status %d", ended.status)
	}
}
