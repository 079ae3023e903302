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

// A Reply is a prepared result of a command. The zero value is success without output.
type Reply struct {
	Stdout string
	Stderr string

	// Status is the exit status and Signal the name of a signal without "SIG". If
	// either is set, the command fails with a *bake.ExitError.
	Status int
	Signal string

	// Err, if not nil, is returned in place of an exit status. An example is
	// bake.ErrDisconnected.
	Err error

	// Do, if not nil, is called first with the command, whose outputs are not nil. If
	// it fails, the command fails with its error.
	Do func(ctx context.Context, cmd *bake.Cmd) error

	// Times limits how often the reply is used before the next matching one. Zero
	// means no limit.
	Times int
}

type answer struct {
	matches func(text string) bool
	script  bool // match only scripts
	reply   Reply
	given   int
}

// On prepares the reply to a command. The command is a command line, a program and its
// arguments separated by spaces, or the text of a script without surrounding white
// space. Of several matching replies, the first prepared one is used.
func (m *Machine) On(command string, r Reply) {
	m.prepare(&answer{reply: r, matches: func(text string) bool { return text == strings.TrimSpace(command) }})
}

// OnPrefix is like On for all commands and scripts that begin with prefix.
func (m *Machine) OnPrefix(prefix string, r Reply) {
	m.prepare(&answer{reply: r, matches: func(text string) bool { return strings.HasPrefix(text, prefix) }})
}

// OnMatch is like On for all commands and scripts that contain a match of pattern.
func (m *Machine) OnMatch(pattern *regexp.Regexp, r Reply) {
	m.prepare(&answer{reply: r, matches: pattern.MatchString})
}

// OnScript is like On for all scripts that contain part.
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

// FailPut makes Put to paths that match pattern fail with err before anything is
// written. In a pattern, "**" spans directories.
func (m *Machine) FailPut(pattern string, err error) { m.refuse(refusal{PutCall, pattern, err}) }

// FailGet makes Get from paths that match pattern fail with err.
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

// answer records call and returns its prepared reply, else that of fallback.
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

// unprepared returns the reply to a command without a prepared one.
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
	return Reply{}, fmt.Errorf("baketest: no reply prepared for command %q: use Machine.On or set MachineOptions.AnyCommand", call.text())
}

// give applies r to cmd.
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
