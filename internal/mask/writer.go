package mask

import "io"

// A Writer masks what is written to it and passes it on. See [Masker.Writer]. It is
// not safe for concurrent use.
type Writer struct {
	masker *Masker
	next   io.Writer
	held   []byte // may begin with a secret that is not complete
	passed int    // bytes of held that Flush has passed on
}

// Write masks p and passes on as much as is decided.
func (w *Writer) Write(p []byte) (int, error) {
	w.held = append(w.held, p...)
	if err := w.pass(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what may be a secret of which fewer than [Shortest] bytes are
// there. If it proves to be one, only the rest is masked.
func (w *Writer) Flush() error {
	if len(w.held) == w.passed {
		return nil
	}
	text := string(w.held)
	spans, decided := w.masker.decide(text, false, Shortest)
	if decided <= w.passed {
		return nil
	}
	out := rest(text[:decided], spans, w.passed)
	w.passed = decided
	return w.write(out)
}

// Close passes on everything that was held back. It does not close the underlying
// writer, and more can be written afterwards.
func (w *Writer) Close() error { return w.pass(true) }

func (w *Writer) pass(final bool) error {
	text := string(w.held)
	spans, decided := w.masker.decide(text, final, 0)
	if decided == 0 {
		return nil
	}
	out := rest(text[:decided], spans, min(w.passed, decided))
	w.held = append(w.held[:0], text[decided:]...)
	w.passed = max(0, w.passed-decided)
	return w.write(out)
}

func (w *Writer) write(text string) error {
	if text == "" {
		return nil
	}
	_, err := io.WriteString(w.next, text)
	return err
}

// rest returns text without its first passed bytes, with the spans replaced.
func rest(text string, spans []span, passed int) string {
	var left []span
	for _, s := range spans {
		if s.to > passed {
			left = append(left, span{max(s.from, passed) - passed, s.to - passed})
		}
	}
	return replace(text[passed:], left)
}
