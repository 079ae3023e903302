package baketest

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/bakestone-go/bakestone/bake"
)

// A Reply is the answer to a command. The zero value is exit status 0 without
// output.
type Reply struct {
	Stdout string
	Stderr string

	// Status other than 0, or a Signal, makes it a *bake.ExitError. Signal is
	// the name without "SIG".
	Status int
	Signal string

	// Err, when set, is returned as it is, in place of an exit status:
	// bake.ErrDisconnected, for one.
	Err error

	// Do, when set, is called first, with the command as it came: its input
	// can be read again, and neither of its outputs is nil. An error of its is
	// the answer.
	Do func(ctx context.Context, cmd *bake.Cmd) error

	// Times is how often the reply is given, before the next that matches is.
	// Zero is always.
	Times int
}

type answer struct {
	matches func(text string) bool
	script  bool // match nothing but scripts
	reply   Reply
	given   int
}

// On prepares the answer to a command: to the command line, or the program and
// its arguments with a space between, or the whole text of a script without
// white space around it. Of several answers that match, the one prepared first
// is given.
func (m *Machine) On(command string, r Reply) {
	m.prepare(&answer{reply: r, matches: func(text string) bool { return text == strings.TrimSpace(command) }})
}

// OnPrefix is On for every command or script that begins with prefix.
func (m *Machine) OnPrefix(prefix string, r Reply) {
	m.prepare(&answer{reply: r, matches: func(text string) bool { return strings.HasPrefix(text, prefix) }})
}

// OnMatch is On for every command or script that pattern matches somewhere.
func (m *Machine) OnMatch(pattern *regexp.Regexp, r Reply) {
	m.prepare(&answer{reply: r, matches: pattern.MatchString})
}

// OnScript is On for every script whose text contains part, and for no other
// command.
func (m *Machine) OnScript(part string, r Reply) {
	m.prepare(&answer{reply: r, script: true, matches: func(text string) bool { return strings.Contains(text, part) }})
}

func (m *Machine) prepare(a *answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = append(m.answers, a)
}

type refusal struct {
	kind    CallKind
	pattern string
	err     error
}

// FailPut makes every Put to a path that pattern matches fail with err before
// anything is written; "**" spans directories.
func (m *Machine) FailPut(pattern string, err error) { m.refuse(refusal{PutCall, pattern, err}) }

// FailGet makes every Get from a path that pattern matches fail with err.
func (m *Machine) FailGet(pattern string, err error) { m.refuse(refusal{GetCall, pattern, err}) }

func (m *Machine) refuse(r refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, r)
}

func (m *Machine) refusalOf(call Call) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.refused {
		if match, _ := doublestar.Match(r.pattern, call.Path); match && r.kind == call.Kind {
			return r.err
		}
	}
	return nil
}

// answer records call and carries out what was prepared for it, or what
// fallback says.
func (m *Machine) answer(ctx context.Context, call Call, cmd *bake.Cmd, fallback func(Call) (Reply, error)) error {
	done := m.record(call)
	reply, prepared := m.prepared(call)
	if !prepared {
		var err error
		if reply, err = fallback(call); err != nil {
			return done(err)
		}
	}
	return done(reply.give(ctx, cmd, call.Stdin))
}

func (m *Machine) prepared(call Call) (Reply, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.answers {
		if a.reply.Times > 0 && a.given == a.reply.Times || a.script && call.Script == "" {
			continue
		}
		if a.matches(call.text()) || !a.script && a.matches(call.Command) {
			a.given++
			return a.reply, true
		}
	}
	return Reply{}, false
}

// unprepared is what a command does that no answer was prepared for.
func (m *Machine) unprepared(call Call) (Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	done, err := m.files.housekeep(call.Args, m.writer(call.Sudo))
	switch {
	case err != nil:
		return Reply{Status: 1, Stderr: err.Error() + "\n"}, nil
	case done || m.options.AnyCommand:
		return Reply{}, nil
	}
	return Reply{}, fmt.Errorf("baketest: no answer for the command %q: prepare one with Machine.On, or set Options.AnyCommand", call.text())
}

// give carries out r for cmd.
func (r Reply) give(ctx context.Context, cmd *bake.Cmd, stdin string) error {
	var last strings.Builder
	with := *cmd
	with.Stdin = strings.NewReader(stdin)
	with.Stdout = teeTo(&last, cmd.Stdout)
	with.Stderr = teeTo(&last, cmd.Stderr)
	if cmd.PTY {
		with.Stderr = with.Stdout
	}
	if r.Do != nil {
		if err := r.Do(ctx, &with); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	for _, output := range []struct {
		to   io.Writer
		text string
	}{{with.Stdout, r.Stdout}, {with.Stderr, r.Stderr}} {
		if _, err := io.WriteString(output.to, output.text); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	switch {
	case r.Err != nil:
		return r.Err
	case r.Status != 0 || r.Signal != "":
		return &bake.ExitError{Command: cmd.String(), Status: r.Status, Signal: r.Signal, Output: lastLines(last.String())}
	}
	return nil
}

func teeTo(all *strings.Builder, w io.Writer) io.Writer {
	if w == nil {
		return all
	}
	return io.MultiWriter(all, w)
}

const linesKept = 20

func lastLines(output string) []string {
	if output = strings.TrimRight(output, "\n"); output == "" {
		return nil
	}
	lines := strings.Split(output, "\n")
	return lines[max(0, len(lines)-linesKept):]
}
