package sshmachine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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
func (s *sudo) prefix(prompt string) string {
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
func (s *sudo) asks() bool { return s != nil && s.needed && !s.password.IsZero() }

// line is the password as sudo reads it.
func (s *sudo) line() string { return s.password.Reveal() + "\n" }

// becomeRoot finds out, once for each connection, how the login becomes root.
func (l *link) becomeRoot(ctx context.Context) (*sudo, error) {
	return l.root.get(ctx, func() (*sudo, error) {
		g, err := l.look(ctx)
		if err != nil {
			return nil, err
		}
		if g.facts.UID == 0 {
			return &sudo{}, nil
		}
		passwordless := &sudo{needed: true}
		without, said, err := l.trySudo(ctx, passwordless)
		if err != nil || without {
			return passwordless, err
		}
		if strings.Contains(said, "not found") || strings.Contains(said, "No such file") {
			return nil, fmt.Errorf("the machine has no sudo: %s", said)
		}
		if l.cfg.SudoPassword.IsZero() {
			return nil, fmt.Errorf("%w and Config.SudoPassword is not set: %s", ErrSudoPassword, said)
		}
		asking := &sudo{needed: true, password: l.cfg.SudoPassword}
		with, said, err := l.trySudo(ctx, asking)
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
func (l *link) trySudo(ctx context.Context, root *sudo) (ok bool, said string, err error) {
	var stderr bytes.Buffer
	p := &process{line: shellFor(root, "", "", ":"), stderr: &stderr}
	if root.asks() {
		p.stdin = io.Reader(strings.NewReader(root.line()))
	}
	ended, err := l.exec(ctx, p)
	return ended.status == 0, strings.TrimSpace(stderr.String()), err
}
