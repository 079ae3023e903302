package sshmachine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Run implements [bake.Machine], as described under Commands in the package
// comment.
func (m *Machine) Run(ctx context.Context, cmd *bake.Cmd) error {
	if cmd == nil {
		return bake.Invalid("Cmd", "is required")
	}
	if err := errors.Join(cmd.Validate(), checkZeroBytes(cmd)); err != nil {
		return err
	}
	var g gate
	defer g.close()
	gated := *cmd
	gated.Stdout, gated.Stderr = g.writer(0, cmd.Stdout), g.writer(1, cmd.Stderr)
	return m.withConn(ctx, func(c *conn) error { return c.run(ctx, &gated) })
}

func (c *conn) run(ctx context.Context, cmd *bake.Cmd) error {
	su, err := c.sudoIf(ctx, cmd.Sudo)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	var output tail
	if cmd.PTY {
		su = su.withoutTerminal() // has the command's
	}
	p := &process{tag: c.cfg.newTag(), mark: newTag(), sudo: su, pty: cmd.PTY, stdin: cmd.Stdin}
	p.stdout, p.stderr = output.writer(cmd.Stdout), output.writer(cmd.Stderr)
	if cmd.Raw {
		p.tag, p.mark = "", "" // need a POSIX shell
	}
	cleanUp, err := c.prepare(ctx, p, cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	ended, err := c.exec(ctx, p)
	cleanUp(err != nil || ended.status != 0)
	if s := p.prompt; err == nil && s != nil && !s.done {
		err = &NotBegunError{Status: ended.status, Output: plainText(string(s.noise))}
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", cmd, err)
	case ended.status != 0 || ended.signal != "":
		return &bake.ExitError{Command: cmd.String(), Status: ended.status, Signal: ended.signal, Output: output.lastLines()}
	}
	return nil
}

// prepare sets p's command line and puts what that reads before cmd.Stdin. The
// caller must call cleanUp once the command has ended.
func (c *conn) prepare(ctx context.Context, p *process, cmd *bake.Cmd) (cleanUp func(failed bool), err error) {
	cleanUp = func(bool) {}
	if cmd.Raw {
		p.line = cmd.Line
		return cleanUp, nil
	}
	script := commandScript(cmd)
	hidden := len(cmd.Env) > 0 || len(cmd.Secrets) > 0 || len(script) > maxInlineScript
	switch {
	case p.pty:
		return c.prepareTerminal(ctx, p, script, hidden)
	case !hidden && !p.sudo.needsPassword() && !p.sudo.needsTerminal():
		p.line = shellCommand(p.sudo, p.tag, "", announceBegin(p.mark, false, script))
		return cleanUp, nil
	}
	before := inputScript(p.tag, script)
	if p.sudo.needsPassword() {
		before = p.sudo.passwordLine() + before
	}
	p.line = shellCommand(p.sudo, p.tag, "", announceBegin(p.mark, false, evalInput(p.tag)))
	p.stdin = concatReaders(strings.NewReader(before), p.stdin)
	return cleanUp, nil
}

// prepareTerminal prepares a command with a terminal. If the script must stay out of
// the command line, it goes through a file. A sudoPrompt answers sudo.
func (c *conn) prepareTerminal(ctx context.Context, p *process, script string, hidden bool) (cleanUp func(failed bool), err error) {
	cleanUp = func(bool) {}
	if hidden {
		file, err := c.writeScriptFile(ctx, script)
		if err != nil {
			return nil, err
		}
		script = evalFile(file)
		cleanUp = func(failed bool) {
			if failed { // possibly before the script removed the file
				c.removeScriptFile(context.WithoutCancel(ctx), file)
			}
		}
	}
	if !p.sudo.elevates() {
		p.line = shellCommand(p.sudo, p.tag, "", announceBegin(p.mark, true, script))
		return cleanUp, nil
	}
	p.mark = "" // sudo's prompt precedes it; s finds the begin
	s := newSudoPrompt(p.sudo, p.tag, p.stdout)
	p.line = shellCommand(p.sudo, p.tag, string(s.prompt), announce(p.tag, script))
	p.stdin, p.stdout, p.prompt = concatReaders(s, p.stdin), s, s
	removeFile := cleanUp // a result, which the func below becomes
	return func(failed bool) {
		s.close()
		removeFile(failed)
	}, nil
}

// concatReaders returns a reader of first followed by second, which may be nil.
func concatReaders(first, second io.Reader) io.Reader {
	if second == nil {
		return first
	}
	return io.MultiReader(first, second)
}

// writeScriptFile writes a script to a new file that only the login can read.
func (c *conn) writeScriptFile(ctx context.Context, script string) (file string, err error) {
	// The name is random, and -C refuses a file that exists.
	name := tempPrefix + newTag()
	line := `umask 077; for d in "${TMPDIR:-/tmp}" /tmp "$HOME"; do f=$d/` + name + `
(set -C; : >"$f") || continue
cat >"$f" && echo "$f" && exit 0
rm -f "$f"; exit 1
done
exit 1`
	var out answer
	p := c.newScript(nil, line, strings.NewReader(script))
	p.stdout = &out
	if err := c.runScript(ctx, p); err != nil {
		return "", fmt.Errorf("write environment file: %w", err)
	}
	file = strings.TrimSuffix(out.String(), "\n")
	if path.Base(file) != name {
		return "", fmt.Errorf("write environment file: unexpected output %.100q", out.String())
	}
	return file, nil
}

// removeScriptFile removes a file made by writeScriptFile.
func (c *conn) removeScriptFile(ctx context.Context, file string) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, _ = c.execInSlot(ctx, &process{line: shellCommand(nil, "", "", cleanEnvironment+"rm -f "+quote(file))}, func() {})
}

const (
	tailLines     = 20
	tailLineBytes = 400 // the rest of a longer line is dropped
)

// A tail keeps the last lines of a command's two outputs, in order of arrival.
type tail struct {
	mu      sync.Mutex
	lines   []string
	writers []*tailWriter
}

// writer returns a writer for one output, which also writes to next unless that
// is nil.
func (t *tail) writer(next io.Writer) io.Writer {
	w := &tailWriter{tail: t, next: next}
	t.writers = append(t.writers, w)
	return w
}

// lastLines returns the lines, including unterminated ones.
func (t *tail) lastLines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.writers {
		if len(w.line) > 0 {
			w.endLine()
		}
	}
	return t.lines
}

type tailWriter struct {
	tail *tail
	next io.Writer
	line []byte // unterminated
}

// Write adds p to the tail and passes it on.
func (w *tailWriter) Write(p []byte) (int, error) {
	w.keep(p)
	if w.next == nil {
		return len(p), nil
	}
	return w.next.Write(p)
}

func (w *tailWriter) keep(text []byte) {
	w.tail.mu.Lock()
	defer w.tail.mu.Unlock()
	if last := lastLines(text); len(last) < len(text) {
		w.line, text = w.line[:0], last
	}
	for {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		w.line = append(w.line, line[:min(len(line), tailLineBytes-len(w.line))]...)
		if !ended {
			return
		}
		w.endLine()
		text = rest
	}
}

// lastLines returns the end of text with the lines that a tail can keep, and the
// unterminated one.
func lastLines(text []byte) []byte {
	at := len(text)
	for range tailLines + 1 {
		if at = bytes.LastIndexByte(text[:at], '\n'); at < 0 {
			return text
		}
	}
	return text[at+1:]
}

func (w *tailWriter) endLine() {
	line := strings.ToValidUTF8(strings.TrimSuffix(string(w.line), "\r"), "")
	w.line = w.line[:0]
	if len(w.tail.lines) == tailLines {
		copy(w.tail.lines, w.tail.lines[1:])
		w.tail.lines = w.tail.lines[:tailLines-1]
	}
	w.tail.lines = append(w.tail.lines, line)
}
