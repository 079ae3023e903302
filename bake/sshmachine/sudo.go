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

// ErrSudoTerminal is returned, wrapped, if sudo works only on a terminal and the machine
// has no program script, which would provide one. A command with PTY set cannot avoid
// that, since transfers and clean-up need sudo as well.
var ErrSudoTerminal = errors.New("sudo requires a terminal")

// A sudo describes how the login becomes root. A nil *sudo runs commands as the
// login itself.
type sudo struct {
	needed   bool        // false if the login is root
	path     string      // of the program
	password bake.Secret // zero if sudo does not ask
	terminal bool        // sudo requires a terminal
	probing  bool        // sudo must print its messages in English
}

// elevates reports whether commands run by sudo rather than directly.
func (s *sudo) elevates() bool { return s != nil && s.needed }

// needsPassword reports whether sudo reads a password from the input.
func (s *sudo) needsPassword() bool { return s.elevates() && !s.password.IsZero() }

// needsTerminal reports whether sudo requires a terminal.
func (s *sudo) needsTerminal() bool { return s.elevates() && s.terminal }

// withoutTerminal returns s for a command line that has a terminal already.
func (s *sudo) withoutTerminal() *sudo {
	if s == nil {
		return nil
	}
	changed := *s
	changed.terminal = false
	return &changed
}

// passwordLine returns the password as sudo reads it.
func (s *sudo) passwordLine() string { return s.password.Reveal() + "\n" }

// commandPrefix returns what to put before a command line.
func (s *sudo) commandPrefix(prompt string) string {
	if !s.elevates() {
		return ""
	}
	prefix := quote(s.path)
	if s.probing {
		prefix = "/usr/bin/env LC_ALL=C LANGUAGE=C " + prefix
	}
	if s.password.IsZero() {
		return prefix + " -n -H -- "
	}
	// -k makes sudo ask even if it has cached the password, so that no other
	// process reads the password line.
	return prefix + " -k -S -H -p " + quote(prompt) + " -- "
}

// detectSudo determines how the login becomes root, once for each connection.
func (c *conn) detectSudo(ctx context.Context) (*sudo, error) {
	return c.sudo.get(ctx, func() (*sudo, error) {
		g, err := c.guestInfo(ctx)
		switch {
		case err != nil:
			return nil, err
		case g.facts.UID == 0:
			return &sudo{}, nil
		case g.sudo == "":
			return nil, fmt.Errorf("sudo not found on the machine, where %s is not root", plainText(g.facts.User))
		}
		su := &sudo{needed: true, path: g.sudo, probing: true}
		for {
			said, err := c.trySudo(ctx, su)
			switch {
			case err != nil:
				return nil, err
			case said == "":
				su.probing = false
				return su, nil
			case !su.terminal && sudoWantsTerminal(said):
				su.terminal = true
			case su.terminal && !strings.Contains(said, "sudo: ") && !sudoDenies(said):
				return nil, fmt.Errorf("%w (requiretty in sudoers), and the machine's program script failed to provide one: %s", ErrSudoTerminal, said)
			case su.password.IsZero() && !c.cfg.SudoPassword.IsZero() && !sudoDenies(said):
				su.password = c.cfg.SudoPassword
			default:
				return nil, c.sudoError(ctx, su, said)
			}
		}
	})
}

// sudoDenies reports whether sudo printed that its rules do not permit a command, by
// any password.
func sudoDenies(said string) bool {
	return strings.Contains(said, "not in the sudoers file") || strings.Contains(said, "not allowed to ") || strings.Contains(said, "may not run sudo")
}

// sudoWantsTerminal reports whether sudo printed that it requires a terminal.
func sudoWantsTerminal(said string) bool {
	return strings.Contains(said, "must have a tty") || strings.Contains(said, "no tty present") || strings.Contains(said, "a terminal is required")
}

// sudoError explains why sudo does not run commands.
func (c *conn) sudoError(ctx context.Context, su *sudo, said string) error {
	switch {
	case sudoWantsTerminal(said):
		return fmt.Errorf("%w (requiretty in sudoers): %s", ErrSudoTerminal, said)
	case sudoDenies(said):
		return fmt.Errorf("sudo does not permit the login to run /bin/sh as root: %s", said)
	case !su.password.IsZero():
		return fmt.Errorf("%w and rejected Config.SudoPassword: %s", ErrSudoPassword, said)
	}
	err := fmt.Errorf("%w, but Config.SudoPassword is not set: %s", ErrSudoPassword, said)
	if rules := c.sudoRules(ctx, su); rules != "" {
		err = fmt.Errorf("%w; without a password it permits only: %s", err, rules)
	}
	return err
}

// sudoRules returns the commands that sudo permits without a password.
func (c *conn) sudoRules(ctx context.Context, su *sudo) string {
	var out answer
	p := c.newScript(nil, quote(su.path)+" -n -l", nil)
	p.stdout = &out
	if ended, err := c.exec(ctx, p); err != nil || ended.status != 0 {
		return ""
	}
	var rules []string
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "NOPASSWD:") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return plainText(strings.Join(rules, "\n"))
}

// trySudo checks that commands run as root. It returns what sudo printed if it refuses.
func (c *conn) trySudo(ctx context.Context, su *sudo) (said string, err error) {
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
	case notBegun && refused.Output != "":
		return refused.Output, nil
	case notBegun:
		return "", fmt.Errorf("sudo ran no command and ended with status %d", refused.Status)
	case err != nil:
		return "", err
	case uid != "0":
		return "", fmt.Errorf("sudo runs commands as user id %s instead of root", plainText(uid))
	case ended.status != probeStatus:
		return "", fmt.Errorf("sudo does not pass on exit statuses: got %d, want %d", ended.status, probeStatus)
	}
	return "", nil
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
