package provision

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

const (
	maxLines   = 20
	maxLineLen = 4 << 10
)

// lastLines keeps the last lines of a command's two outputs in the order in which
// they arrived.
type lastLines struct {
	mu    sync.Mutex
	lines []string
	open  *teeWriter // the output that the last line belongs to, unless the line is complete
}

// tee returns a writer that keeps the lines and also writes to report and, unless
// it is nil, w.
func (l *lastLines) tee(report, w io.Writer) io.Writer {
	if w != nil {
		report = io.MultiWriter(report, w)
	}
	return &teeWriter{l, report}
}

type teeWriter struct {
	all *lastLines
	w   io.Writer
}

func (t *teeWriter) Write(p []byte) (int, error) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.all.keep(t, string(p))
	// Write under the lock, since both outputs may have the same writer.
	return t.w.Write(p)
}

// keep adds text of one output. If the other output interrupts a line, the rest
// becomes a new line.
func (l *lastLines) keep(of *teeWriter, text string) {
	for line := range strings.Lines(text) {
		whole := strings.TrimRight(line, "\r\n")
		if n := len(l.lines); l.open == of {
			l.lines[n-1] += whole
		} else {
			l.lines = append(l.lines, whole)
		}
		l.open = nil
		if !strings.HasSuffix(line, "\n") {
			l.open = of
		}
		if n := len(l.lines); len(l.lines[n-1]) > maxLineLen {
			l.lines[n-1] = strings.ToValidUTF8(l.lines[n-1][:maxLineLen], "")
		}
		if len(l.lines) > maxLines {
			l.lines = append(l.lines[:0], l.lines[1:]...)
		}
	}
}

// minMaskedLen is the length of the shortest value to mask, as in package bake.
const minMaskedLen = 4

// masked returns the lines with the values of secrets masked.
func (l *lastLines) masked(secrets []bake.Secret) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := make([]string, 0, len(l.lines))
	for _, line := range l.lines {
		lines = append(lines, maskSecretsIn(line, secrets))
	}
	return lines
}

// maskSecretsIn masks the values of secrets in text, and each line of multi-line
// values.
func maskSecretsIn(text string, secrets []bake.Secret) string {
	var values []string
	for _, secret := range secrets {
		for line := range strings.Lines(secret.Reveal()) {
			if line = strings.TrimSpace(line); len(line) >= minMaskedLen {
				values = append(values, line)
			}
		}
	}
	// Replace longer values first: one may begin with another.
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(values))
	for _, value := range values {
		pairs = append(pairs, value, bake.Secret{}.String())
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// A lineWriter calls line with each line written to it. It may cut lines longer
// than maxLineLen. Call end after the last Write to pass on an incomplete line.
type lineWriter struct {
	line    func(string)
	pending []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		if len(w.pending) < maxLineLen {
			w.pending = append(w.pending, line...)
		}
		if !found {
			return n, nil
		}
		w.end()
		p = rest
	}
}

func (w *lineWriter) end() {
	if len(w.pending) > 0 {
		w.line(strings.TrimRight(string(w.pending), "\r"))
		w.pending = w.pending[:0]
	}
}
