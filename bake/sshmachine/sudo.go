package sshmachine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

// ErrSudoPassword is wrapped by the error of a command that should run as root
// on a machine whose sudo wants a password, when none or a wrong one was given.
var ErrSudoPassword = errors.New("sudo wants a password")

// sudo is how a login becomes root. Nil is a process of the login itself.
type sudo struct {
	needed   bool // false when the login is root
	password bake.Secret
}

// prefix goes before a command line.
func (s *sudo) commandPrefix(prompt string) string {
	switch {
	case s == nil || !s.needed:
		return ""
	case s.password.IsZero():
		return "sudo -n -H -- "
	default:
		// -k asks for the password whatever sudo remembers, so that the
		// password line is read by sudo and by nobody else.
		return "sudo -k -S -H -p " + quote(prompt) + " -- "
	}
}

// asks reports whether sudo reads a password from the input.
func (s *sudo) needsPassword() bool { return s != nil && s.needed && !s.password.IsZero() }

// line is the password as sudo reads it.
func (s *sudo) passwordLine() string { return s.password.Reveal() + "\n" }

// becomeRoot finds out, once for each connection, how the login becomes root.
func (c *conn) detectSudo(ctx context.Context) (*sudo, error) {
	return c.sudo.get(ctx, func() (*sudo, error) {
		g, err := c.guestInfo(ctx)
		if err != nil {
			return nil, err
		}
		if g.facts.UID == 0 {
			return &sudo{}, nil
		}
		passwordless := &sudo{needed: true}
		without, said, err := c.trySudo(ctx, passwordless)
		if err != nil || without {
			return passwordless, err
		}
		if strings.Contains(said, "not found") || strings.Contains(said, "No such file") {
			return nil, fmt.Errorf("the machine has no sudo: %s", said)
		}
		if c.cfg.SudoPassword.IsZero() {
			return nil, fmt.Errorf("%w and Config.SudoPassword is not set: %s", ErrSudoPassword, said)
		}
		asking := &sudo{needed: true, password: c.cfg.SudoPassword}
		with, said, err := c.trySudo(ctx, asking)
		switch {
		case err != nil:
			return nil, err
		case !with:
			return nil, fmt.Errorf("%w and refused the one given: %s", ErrSudoPassword, said)
		}
		return asking, nil
	})
}

// trySudo runs nothing as root, and returns what sudo said when it could not.
func (c *conn) trySudo(ctx context.Context, root *sudo) (ok bool, said string, err error) {
	var stderr bytes.Buffer
	p := &process{line: shellCommand(root, "", "", ":"), stderr: &stderr}
	if root.needsPassword() {
		p.stdin = io.Reader(strings.NewReader(root.passwordLine()))
	}
	ended, err := c.exec(ctx, p)
	return ended.status == 0, strings.TrimSpace(stderr.String()), err
}

// A gate stands before the input of a command that sudo runs on a terminal.
// Sudo throws away what was typed before it asks, and before it starts the
// command. So the gate reads along in the output: it gives sudo the password
// when it asks, and lets the input pass when the command says that it began.
type sudoPrompt struct {
	password  string // with its line break
	prompt    []byte // what sudo's prompt is
	startMark []byte // what the command says first
	next      io.Writer

	replies  chan string
	started  chan struct{}
	start    func()
	finished chan struct{}

	pending []byte // output that may be the start of either
	done    bool
}

func newSudoPrompt(root *sudo, tag string, next io.Writer) *sudoPrompt {
	g := &sudoPrompt{
		prompt: []byte(tag + "?"), startMark: []byte(tag + "!\n"), next: next,
		replies: make(chan string, 8), started: make(chan struct{}), finished: make(chan struct{}),
	}
	if root.needsPassword() {
		g.password = root.passwordLine()
	}
	g.start = sync.OnceFunc(func() { close(g.started) })
	return g
}

// announce makes a script say that it has begun.
func announceStart(tag, script string) string { return "echo " + quote(tag+"!") + "; " + script }

// Read gives what sudo is told, until the command has begun.
func (g *sudoPrompt) Read(p []byte) (int, error) {
	select {
	case text := <-g.replies:
		return copy(p, text), nil
	case <-g.started:
		return 0, io.EOF
	case <-g.finished:
		return 0, io.ErrClosedPipe // nobody is left to read the input
	}
}

// Write passes the output on, without the two signs.
func (g *sudoPrompt) Write(p []byte) (int, error) {
	if g.done {
		return g.next.Write(p)
	}
	g.pending = append(g.pending, p...)
	if before, after, found := bytes.Cut(g.pending, g.startMark); found {
		g.done, g.pending = true, nil
		g.start()
		_, err := g.next.Write(append(bytes.Clone(before), after...))
		return len(p), err
	}
	for {
		before, after, found := bytes.Cut(g.pending, g.prompt)
		if !found {
			break
		}
		g.pending = append(bytes.Clone(before), after...)
		select {
		case g.replies <- g.password:
		default: // it asks more often than any sudo does
		}
	}
	return len(p), g.flush(len(g.startMark))
}

// flush passes on all but the last bytes.
func (g *sudoPrompt) flush(keep int) error {
	n := len(g.pending) - keep
	if n <= 0 {
		return nil
	}
	_, err := g.next.Write(g.pending[:n])
	g.pending = append([]byte(nil), g.pending[n:]...)
	return err
}

// close gives the gate up when the command has ended. What sudo said instead of
// running it is passed on.
func (g *sudoPrompt) close() {
	close(g.finished)
	_ = g.flush(0)
}
