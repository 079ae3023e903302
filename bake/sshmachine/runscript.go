package sshmachine

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// newScript is the process of a script of this package, as the login or root.
// A password for sudo goes before stdin.
func newScript(root *sudo, script string, stdin io.Reader) *process {
	p := &process{root: root, tag: newTag(), tidy: true, stdin: stdin}
	if root.asks() {
		// sudo does not take the password when it turns out not to need one.
		script = `while IFS= read -r l; do [ "$l" = ` + p.tag + ` ] && break; done` + "\n" + script
		before := strings.NewReader(root.line() + p.tag + "\n")
		p.stdin = before
		if stdin != nil {
			p.stdin = io.MultiReader(before, stdin)
		}
	}
	p.line = shellFor(root, p.tag, "", script)
	return p
}

// runScript runs a script of this package. One that fails is an error with what
// it wrote to its standard error.
func (l *link) runScript(ctx context.Context, p *process) error {
	if !l.takeSlot(ctx, true) {
		return l.noSlot(ctx)
	}
	return l.runScriptInSlot(ctx, p, func() { <-l.slots })
}

// runScriptInSlot is runScript in a slot that was taken before.
func (l *link) runScriptInSlot(ctx context.Context, p *process, release func()) error {
	var said tail
	p.stderr = said.writer(p.stderr)
	ended, err := l.execInSlot(ctx, p, release)
	if err != nil {
		return err
	}
	return scriptError(ended, &said)
}

func scriptError(ended exit, said *tail) error {
	switch lines := said.last(); {
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
