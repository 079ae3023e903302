package provision

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
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
			l.lines[n-1] = cut(l.lines[n-1])
		}
		if len(l.lines) > maxLines {
			l.lines = append(l.lines[:0], l.lines[1:]...)
		}
	}
}

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

// maskSecretsIn masks the values of secrets in text.
func maskSecretsIn(text string, secrets []bake.Secret) string {
	var m mask.Masker
	for _, secret := range secrets {
		m.Add(secret.Reveal())
	}
	return m.Mask(text)
}

// cut returns the first maxLineLen bytes of line and an ellipsis, which lets the part
// of a secret before it be masked.
func cut(line string) string {
	return visible.Shorten(line, maxLineLen)
}

// A lineWriter calls line with each line written to it. It cuts lines longer
// than maxLineLen. Call end after the last Write to pass on an incomplete line.
type lineWriter struct {
	line    func(string)
	pending []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		if room := maxLineLen + 1 - len(w.pending); room > 0 {
			w.pending = append(w.pending, line[:min(len(line), room)]...)
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
		line := string(w.pending)
		if len(line) > maxLineLen {
			line = cut(line)
		}
		w.line(strings.TrimRight(line, "\r"))
		w.pending = w.pending[:0]
	}
}
