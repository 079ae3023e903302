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
	linesKept   = 20
	longestLine = 4 << 10
)

// lastLines keeps the last lines of a command's two outputs, as they came.
type lastLines struct {
	mu    sync.Mutex
	lines []string
	open  *lineTee // the output whose line the last one is, if that has not ended
}

// tee returns a writer to the lines, to report, and to w unless that is nil.
func (l *lastLines) tee(report, w io.Writer) io.Writer {
	if w != nil {
		report = io.MultiWriter(report, w)
	}
	return &lineTee{l, report}
}

type lineTee struct {
	all *lastLines
	w   io.Writer
}

func (t *lineTee) Write(p []byte) (int, error) {
	t.all.mu.Lock()
	defer t.all.mu.Unlock()
	t.all.keep(t, string(p))
	// Under the lock, since both outputs may go to the same writer.
	return t.w.Write(p)
}

// keep adds text of one output. What the other one writes in the middle of a
// line is a line of its own.
func (l *lastLines) keep(of *lineTee, text string) {
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
		if n := len(l.lines); len(l.lines[n-1]) > longestLine {
			l.lines[n-1] = strings.ToValidUTF8(l.lines[n-1][:longestLine], "")
		}
		if len(l.lines) > linesKept {
			l.lines = append(l.lines[:0], l.lines[1:]...)
		}
	}
}

// shortestMasked is the length below which a value is too common to be cut
// out, as in package bake.
const shortestMasked = 4

// without returns the lines with the values of secrets cut out.
func (l *lastLines) without(secrets []bake.Secret) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := make([]string, 0, len(l.lines))
	for _, line := range l.lines {
		lines = append(lines, cutSecrets(line, secrets))
	}
	return lines
}

// cutSecrets cuts the values of secrets out of text, and every line of those
// that have several.
func cutSecrets(text string, secrets []bake.Secret) string {
	var values []string
	for _, secret := range secrets {
		for line := range strings.Lines(secret.Reveal()) {
			if line = strings.TrimSpace(line); len(line) >= shortestMasked {
				values = append(values, line)
			}
		}
	}
	// A value that begins with another one must be looked for first.
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(values))
	for _, value := range values {
		pairs = append(pairs, value, bake.Secret{}.String())
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// A lineWriter calls line with every line that is written to it, and once more
// for what has no end when it is closed.
type lineWriter struct {
	line    func(string)
	pending []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		if len(w.pending) < longestLine {
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
