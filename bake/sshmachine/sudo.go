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

// ErrSudoPassword is returned, wrapped, if sudo asks for a password and
// [Config.SudoPassword] is not set or wrong.
var ErrSudoPassword = errors.New("sudo requires a password")

// ErrSudoTerminal is returned, wrapped, if sudo works only on a terminal. A command
// with PTY set cannot avoid that, since transfers and clean-up need sudo as well.
var ErrSudoTerminal = errors.New("sudo requires a terminal")

// A sudo describes how the login becomes root. A nil *sudo runs commands as the
// login itself.
type sudo struct {
	needed   bool        // false if the login is root
	password bake.Secret // zero if sudo does not ask
}

// elevates reports whether commands run by sudo rather than directly.
func (s *sudo) elevates() bool { return s != nil && s.needed }

// commandPrefix returns what to put before a command line.
func (s *sudo) commandPrefix(prompt string) string {
	switch {
	case !s.elevates():
		return ""
	case s.password.IsZero():
		return "sudo -n -H -- "
	default:
		// -k makes sudo ask even if it has cached the password, so that no other
		// process reads the password line.
		return "sudo -k -S -H -p " + quote(prompt) + " -- "
	}
}

// needsPassword reports whether sudo reads a password from the input.
func (s *sudo) needsPassword() bool { return s.elevates() && !s.password.IsZero() }

// passwordLine returns the password as sudo reads it.
func (s *sudo) passwordLine() string { return s.password.Reveal() + "\n" }

// detectSudo determines how the login becomes root, once for each connection.
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
		ok, stderr, err := c.trySudo(ctx, passwordless)
		switch {
		case err != nil || ok:
			return passwordless, err
		case strings.Contains(stderr, "must have a tty"), strings.Contains(stderr, "a terminal is required"):
			return nil, fmt.Errorf("%w (requiretty in sudoers): %s", ErrSudoTerminal, stderr)
		}
		if strings.Contains(stderr, "not found") || strings.Contains(stderr, "No such file") {
			return nil, fmt.Errorf("sudo not found on the machine: %s", stderr)
		}
		if c.cfg.SudoPassword.IsZero() {
			return nil, fmt.Errorf("%w, but Config.SudoPassword is not set: %s", ErrSudoPassword, stderr)
		}
		withPassword := &sudo{needed: true, password: c.cfg.SudoPassword}
		ok, stderr, err = c.trySudo(ctx, withPassword)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, fmt.Errorf("%w and rejected Config.SudoPassword: %s", ErrSudoPassword, stderr)
		}
		return withPassword, nil
	})
}

// trySudo checks that commands run as root. It returns whether they do and, if not,
// what sudo printed.
func (c *conn) trySudo(ctx context.Context, su *sudo) (ok bool, said string, err error) {
	var out answer
	mark := newTag()
	p := &process{mark: mark, line: shellCommand(su, "", "", announceBegin(mark, false, probeSudo)), stdout: &out}
	if su.needsPassword() {
		p.stdin = strings.NewReader(su.passwordLine())
	}
	ended, err := c.exec(ctx, p)
	uid := strings.TrimSpace(out.String())
	refused, notBegun := errors.AsType[*NotBegunError](err)
	switch {
	case notBegun:
		return false, refused.Output, nil
	case err != nil:
		return false, "", err
	case uid != "0":
		return false, "", fmt.Errorf("sudo runs commands as user id %s instead of root", plainText(uid))
	case ended.status != probeStatus:
		return false, "", fmt.Errorf("sudo does not pass on exit statuses: got %d, want %d", ended.status, probeStatus)
	}
	return true, "", nil
}

// sudoIf returns detectSudo's result if asRoot is set, or else nil.
func (c *conn) sudoIf(ctx context.Context, asRoot bool) (*sudo, error) {
	if !asRoot {
		return nil, nil //nolint:nilnil // a nil *sudo is valid
	}
	return c.detectSudo(ctx)
}

// A sudoPrompt answers sudo's password prompt on a terminal. It is both the writer
// that receives the command's output and a reader placed before its input. sudo
// discards input that arrives before it prompts or before it starts the command,
// so a sudoPrompt sends the password when it sees the prompt, and ends its own input
// when it sees that the command has started.
type sudoPrompt struct {
	password  string // with a newline
	prompt    []byte // sudo's prompt
	startMark []byte // the first output of the command
	next      io.Writer

	replies  chan string
	started  chan struct{}
	start    func() // closes started
	finished chan struct{}

	pending []byte // output that may contain the beginning of prompt or startMark
	done    bool   // startMark was seen
}

func newSudoPrompt(su *sudo, tag string, next io.Writer) *sudoPrompt {
	s := &sudoPrompt{
		prompt: []byte(tag + "?"), startMark: []byte(tag + "!\n"), next: next,
		replies: make(chan string, 8), started: make(chan struct{}), finished: make(chan struct{}),
	}
	if su.needsPassword() {
		s.password = su.passwordLine()
	}
	s.start = sync.OnceFunc(func() { close(s.started) })
	return s
}

// announceStart makes script print a sudoPrompt's startMark first.
func announceStart(tag, script string) string { return "echo " + quote(tag+"!") + "; " + script }

// Read returns replies to sudo, and io.EOF once the command has started.
func (s *sudoPrompt) Read(p []byte) (int, error) {
	select {
	case text := <-s.replies:
		return copy(p, text), nil
	case <-s.started:
		return 0, io.EOF
	case <-s.finished:
		return 0, io.ErrClosedPipe // sudo failed: do not read the input
	}
}

// Write passes the output on without prompt and startMark.
func (s *sudoPrompt) Write(p []byte) (int, error) {
	if s.done {
		return s.next.Write(p)
	}
	s.pending = append(s.pending, p...)
	if before, after, found := bytes.Cut(s.pending, s.startMark); found {
		s.done, s.pending = true, nil
		s.start()
		_, err := s.next.Write(append(bytes.Clone(before), after...))
		return len(p), err
	}
	for {
		before, after, found := bytes.Cut(s.pending, s.prompt)
		if !found {
			break
		}
		s.pending = append(bytes.Clone(before), after...)
		select {
		case s.replies <- s.password:
		default: // more prompts than any sudo prints
		}
	}
	return len(p), s.flush(len(s.startMark))
}

// flush passes on all but the last keep bytes.
func (s *sudoPrompt) flush(keep int) error {
	n := len(s.pending) - keep
	if n <= 0 {
		return nil
	}
	_, err := s.next.Write(s.pending[:n])
	s.pending = append([]byte(nil), s.pending[n:]...)
	return err
}

// close passes on pending output, for example sudo's error, after the command has
// ended.
func (s *sudoPrompt) close() {
	close(s.finished)
	_ = s.flush(0)
}
