package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// sudoWantsPassword reports whether sudo printed that a password is missing or wrong.
func sudoWantsPassword(said string) bool {
	said = strings.ToLower(said)
	return !strings.Contains(said, "expired") && (strings.Contains(said, "password") || strings.Contains(said, "authentication") || strings.Contains(said, "try again"))
}

// sudoError explains why sudo does not run commands.
func (c *conn) sudoError(ctx context.Context, su *sudo, said string) error {
	switch {
	case sudoWantsTerminal(said):
		return fmt.Errorf("%w (requiretty in sudoers): %s", ErrSudoTerminal, said)
	case sudoDenies(said):
		return fmt.Errorf("sudo does not permit the login to run /usr/bin/env as root: %s", said)
	case !sudoWantsPassword(said):
		return fmt.Errorf("sudo runs no command: %s", said)
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
