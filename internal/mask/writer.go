package mask

import (
	"io"
	"unsafe"
)

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
	var err error
	if len(w.held) == 0 {
		err = w.pass(p, false)
	} else {
		w.held = append(w.held, p...)
		err = w.pass(w.held, false)
	}
	if err != nil {
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
	spans, decided := w.masker.decide(view(w.held), false, Shortest)
	if decided <= w.passed {
		return nil
	}
	from := w.passed
	w.passed = decided
	return w.write(w.held[:decided], spans, from)
}

// Close passes on everything that was held back. It does not close the underlying
// writer, and more can be written afterwards.
func (w *Writer) Close() error { return w.pass(w.held, true) }

// pass passes on what is decided of text and holds the rest.
func (w *Writer) pass(text []byte, final bool) error {
	spans, decided := w.masker.decide(view(text), final, 0)
	from := min(w.passed, decided)
	w.passed -= from
	err := w.write(text[:decided], spans, from)
	w.held = append(w.held[:0], text[decided:]...)
	return err
}

// write passes on text without its first bytes, which were passed on already.
func (w *Writer) write(text []byte, spans []span, passed int) error {
	for len(spans) > 0 && spans[0].to <= passed {
		spans = spans[1:]
	}
	out := text[passed:]
	if len(spans) > 0 {
		spans[0].from = max(spans[0].from, passed)
		out = []byte(replace(view(text), spans, passed))
	}
	if len(out) == 0 {
		return nil
	}
	_, err := w.next.Write(out)
	return err
}

// view returns text as a string without a copy. It must not be kept.
func view(text []byte) string {
	return unsafe.String(unsafe.SliceData(text), len(text)) //nolint:gosec // text does not change while it is read
}
