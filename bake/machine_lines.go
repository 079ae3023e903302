package bake

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// lines reports each line written to it. It masks the text before it looks for lines,
// so that a secret is masked wherever the text is cut. Lines longer than longestLine
// are split.
type lines struct {
	run    *Run
	stream Stream
	tail   *tail // may be nil
	quiet  bool  // reports nothing to the run

	mu        sync.Mutex
	masked    *mask.Writer // writes to the lines below
	pending   []byte
	continued bool // pending is not the beginning of a line
}

const longestLine = 64 << 10

func newLines(run *Run, stream Stream, t *tail) *lines {
	l := &lines{run: run, stream: stream, tail: t}
	l.masked = run.mask.Writer(writerFunc(l.split))
	return l
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Write never fails.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.masked.Write(p)
	if err == nil && bytes.HasSuffix(p, []byte{'\n'}) {
		err = l.masked.Flush() // an event should not wait for the next line
	}
	return n, err
}

// Close reports an unterminated last line.
func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.masked.Close()
	if len(l.pending) > 0 {
		l.report(true)
	}
	return err
}

// split splits masked text into lines.
func (l *lines) split(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		if room := longestLine - len(l.pending); len(line) > room {
			line, rest, found = p[:room], p[room:], false
		}
		l.pending = append(l.pending, line...)
		p = rest
		if found || len(l.pending) >= longestLine {
			l.report(found)
		}
	}
	return n, nil
}

// report reports the pending text. The line continues unless it is ended.
func (l *lines) report(ended bool) {
	if l.continued && len(l.pending) == 0 { // nothing follows what was split
		l.continued = !ended
		return
	}
	// Drop what a progress bar overwrote with carriage returns.
	text := strings.TrimSuffix(string(l.pending), "\r")
	text = text[strings.LastIndexByte(text, '\r')+1:]
	l.pending = l.pending[:0]
	if l.tail != nil && !l.continued {
		l.tail.add(text)
	}
	l.continued = !ended
	if !l.quiet {
		l.run.Emit(Event{Kind: OutputLine, Stream: l.stream, Text: text})
	}
}

// A tail keeps the last lines of a command's outputs, masked and printable.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const (
	tailLines   = 20
	tailColumns = 400 // bytes
)

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, shorten(visible.Text(line), tailColumns))
}

func (t *tail) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// shorten cuts s behind the given number of bytes.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + " …"
}
