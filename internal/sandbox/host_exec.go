package sandbox

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
)

// Exec is a command to run on a machine without SSH, as from its console.
type Exec struct {
	// Line is a command line for /bin/sh.
	Line string

	// User is who runs it. Empty is root.
	User string

	// Env is added to the environment of a login.
	Env map[string]string

	// Stdin is read by the command. Nil is an empty input.
	Stdin io.Reader

	// Stdout and Stderr receive the output, perhaps from several goroutines
	// when the line starts background jobs. Nil discards it.
	Stdout, Stderr io.Writer
}

// Exec runs a command and returns its exit status, 128 plus the number for a
// signal. It fails, with ErrClosed wrapped, only when the machine is off, or
// when there is no such user. When ctx ends the command is killed.
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
		return 0, fmt.Errorf("exec: no user %q", e.User)
	}
	p := h.process(u)
	maps.Copy(p.Env, e.Env)
	p.Stdin, p.Stdout, p.Stderr = e.Stdin, e.Stdout, e.Stderr
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	if p.Stdout == nil {
		p.Stdout = io.Discard
	}
	if p.Stderr == nil {
		p.Stderr = io.Discard
	}
	running, kill := context.WithCancelCause(b.ctx)
	stop := context.AfterFunc(ctx, func() { kill(signal("KILL")) })
	defer func() { stop(); kill(nil) }()
	p.Args, p.by = []string{"/bin/sh", "-c", e.Line}, "console"
	return p.exec(running), nil //nolint:contextcheck // a process ends with the machine; ctx kills it
}

// enter counts a guest of this boot; false when the machine is going down.
func (b *boot) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		return false
	}
	b.wg.Add(1)
	return true
}
