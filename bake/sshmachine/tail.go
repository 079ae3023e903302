package sshmachine

import (
	"io"
	"strings"
	"sync"
)

const (
	tailLines  = 20
	tailColumn = 400 // bytes of a line that are kept
)

// A tail keeps the last lines of a command's two outputs as they came.
type tail struct {
	mu    sync.Mutex
	lines []string
	parts []*tailWriter
}

// writer returns a writer for one output, which also passes everything on to
// next, unless that is nil.
func (t *tail) writer(next io.Writer) io.Writer {
	w := &tailWriter{tail: t, next: next}
	t.parts = append(t.parts, w)
	return w
}

// last returns the lines, the unfinished ones too.
func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, part := range t.parts {
		if len(part.line) > 0 {
			part.endLine()
		}
	}
	return t.lines
}

type tailWriter struct {
	tail *tail
	next io.Writer
	line []byte
}

// Write keeps the end of p.
func (w *tailWriter) Write(p []byte) (int, error) {
	w.keep(string(p))
	if w.next == nil {
		return len(p), nil
	}
	return w.next.Write(p)
}

func (w *tailWriter) keep(text string) {
	w.tail.mu.Lock()
	defer w.tail.mu.Unlock()
	for {
		line, rest, ended := strings.Cut(text, "\n")
		w.line = append(w.line, line[:min(len(line), tailColumn-len(w.line))]...)
		if !ended {
			return
		}
		w.endLine()
		text = rest
	}
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
