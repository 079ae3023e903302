package sshmachine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Run runs one command and waits for it, as bake.Machine says.
func (m *Machine) Run(ctx context.Context, cmd *bake.Cmd) error {
	if cmd == nil {
		return bake.Invalid("Cmd", "is required")
	}
	if err := errors.Join(cmd.Validate(), checkEnv(cmd)); err != nil {
		return err
	}
	return m.onLink(ctx, func(l *link) error { return l.run(ctx, cmd) })
}

// onLink calls f with the live connection. When f could not even begin because
// that had been lost, unnoticed, it is called again with the next one.
func (m *Machine) onLink(ctx context.Context, f func(*link) error) error {
	for attempt := 1; ; attempt++ {
		l, err := m.link(ctx)
		if err != nil {
			return err
		}
		const most = 3
		if err = f(l); attempt < most && errors.Is(err, errNotStarted) && ctx.Err() == nil && !errors.Is(err, errClosed) {
			l.drop(errSilent)
			continue
		}
		return err
	}
}

func (l *link) run(ctx context.Context, cmd *bake.Cmd) error {
	var root *sudo
	if cmd.Sudo {
		var err error
		if root, err = l.becomeRoot(ctx); err != nil {
			return fmt.Errorf("%s: %w", cmd, err)
		}
	}
	p := &process{tag: newTag(), root: root, pty: cmd.PTY, stdin: cmd.Stdin}
	remove, err := l.prepare(ctx, p, cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	var output tail
	p.stdout, p.stderr = output.writer(cmd.Stdout), output.writer(cmd.Stderr)
	ended, err := l.exec(ctx, p)
	if err != nil || ended.status != 0 {
		remove() // the command itself may not have come so far
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", cmd, err)
	case ended.status != 0 || ended.signal != "":
		return &bake.ExitError{Command: cmd.String(), Status: ended.status, Signal: ended.signal, Output: output.last()}
	}
	return nil
}

// prepare sets the command line of p, and its input before cmd.Stdin. What it
// returns removes the file that holds the environment, if there is one.
func (l *link) prepare(ctx context.Context, p *process, cmd *bake.Cmd) (remove func(), err error) {
	remove = func() {}
	script := scriptOf(cmd)
	before := ""
	if p.root.asks() {
		before = p.root.line()
	}
	hidden := len(cmd.Env) > 0 || len(cmd.Secrets) > 0 || len(script) > longestDirect
	switch {
	case !hidden && before == "":
		p.line = shellFor(p.root, p.tag, script)
		return remove, nil
	case !p.pty:
		p.line = shellFor(p.root, p.tag, fromInput(p.tag))
		before += asInput(p.tag, script)
	default:
		file, err := l.stage(ctx, script)
		if err != nil {
			return nil, err
		}
		p.line = shellFor(p.root, p.tag, fromFile(p.tag, file, before != ""))
		if before != "" {
			before += p.tag + "\n"
		}
		remove = func() { l.unstage(context.WithoutCancel(ctx), file) }
	}
	if p.stdin == nil {
		p.stdin = strings.NewReader(before)
	} else {
		p.stdin = io.MultiReader(strings.NewReader(before), p.stdin)
	}
	return remove, nil
}

// stage writes a script to a file that only the login can read.
func (l *link) stage(ctx context.Context, script string) (file string, err error) {
	const line = `umask 077; f=$(mktemp 2>/dev/null || mktemp "$HOME/.bakestone.XXXXXX") && cat >"$f" && echo "$f"`
	var out, failed bytes.Buffer
	p := &process{line: shellFor(nil, "", line), stdin: strings.NewReader(script), stdout: &out, stderr: &failed}
	ended, err := l.exec(ctx, p)
	if err != nil {
		return "", fmt.Errorf("environment: %w", err)
	}
	if ended.status != 0 {
		return "", fmt.Errorf("environment: %s", strings.TrimSpace(failed.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// unstage removes what stage wrote.
func (l *link) unstage(ctx context.Context, file string) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, _ = l.execInSlot(ctx, &process{line: shellFor(nil, "", "rm -f "+quote(file))}, func() {})
}
