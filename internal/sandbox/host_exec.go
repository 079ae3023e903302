package sandbox

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// Exec describes a command to run on a machine without SSH.
type Exec struct {
	// Line is the command line for /bin/sh.
	Line string

	// User is the user to run it as. Empty means root.
	User string

	// Stdin is the command's standard input. If nil, it is empty.
	Stdin io.Reader

	// Stdout and Stderr receive the output. Background jobs may write to them
	// concurrently. If nil, the output is discarded.
	Stdout, Stderr io.Writer
}

// Exec runs a command and returns its exit status, which is 128 plus the signal
// number if a signal killed it. It fails only if the user does not exist or,
// with an error wrapping [ErrClosed], if the machine is off. The end of ctx
// kills the command.
func (h *Host) Exec(ctx context.Context, e Exec) (int, error) {
	h.mu.Lock()
	b := h.up
	h.mu.Unlock()
	if b == nil || !b.begin() {
		return 0, fmt.Errorf("exec: %w", ErrClosed)
	}
	defer b.wg.Done()
	if e.User == "" {
		e.User = "root"
	}
	u, ok := lookupUser(h.FS(), e.User)
	if !ok {
		return 0, fmt.Errorf("exec: user %q not found", e.User)
	}
	p := h.process(u)
	p.Stdin = e.Stdin
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	p.Stdout, p.Stderr = p.session.output(e.Stdout), p.session.output(e.Stderr)
	running, kill := context.WithCancelCause(b.ctx)
	stop := context.AfterFunc(ctx, func() { kill(signal("KILL")) })
	defer func() { stop(); kill(nil) }()
	p.Args, p.by = []string{"/bin/sh", "-c", e.Line}, "console"
	defer p.session.limitTime(running, kill)() //nolint:contextcheck // as below
	return p.exec(running), nil                //nolint:contextcheck // a process ends with the machine; ctx kills it
}

// begin adds a task that end waits for. It reports false if the machine is
// shutting down.
func (b *boot) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		return false
	}
	b.wg.Add(1)
	return true
}
