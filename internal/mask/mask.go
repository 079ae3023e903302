// Package mask replaces secrets in text, however they are encoded there.
//
// A [Masker] does not list the encodings of a secret. It reads the text as the
// programs that print secrets may have written it: from each position where a
// secret could begin, it follows every reading of the text through one trie of all
// secrets, and so knows which stretch of the text to replace. The readings are:
//
//   - plain bytes, with escape sequences of terminals, carriage returns, NUL bytes,
//     overstrikes and shell quotes skipped, and line breaks with their indentation
//     skipped in secrets of at least eight bytes
//   - backslash escapes of JSON, C and shells (\n, \", \/, \u00e9, \ud83d\ude00, \x41,
//     \101), percent escapes, "+" for a space, entities of XML and HTML, quoted
//     printable, doubled dollar and percent signs, and the escape characters of cmd.exe
//     and PowerShell, each for any character, and the first three nested
//   - base64, standard and for URLs, at every offset and wrapped at any width
//   - hexadecimal digits with or without separators, and the dumps of xxd, hexdump
//     and od -tx1
//   - lists of decimal bytes, as Go prints a []byte
//
// ASCII characters in UTF-16 are recognized plain, in base64 and in hexadecimal
// digits. Each line of a
// secret is a secret as well. White space around a secret or line does not belong to
// it. Values shorter than four bytes are not masked: they occur everywhere.
//
// The time is linear in the text. It does not depend on the number of secrets where
// the text resembles none of them.
package mask

import (
	"io"
	"strings"
	"sync"
)

// Redacted replaces each secret.
const Redacted = "[redacted]"

// Shortest is the length in bytes of the shortest value that is masked.
const Shortest = 4

// A Masker replaces secrets in text. The zero value knows no secrets. A nil *Masker
// returns every text unchanged. It is safe for concurrent use.
type Masker struct {
	mu      sync.RWMutex
	known   map[string]bool
	longest int // secret, in bytes
	root    node
	starts  *starts
}

// Add makes m replace the values and each of their lines from now on.
func (m *Masker) Add(values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, value := range values {
		if m.known[value] {
			continue
		}
		m.add(strings.TrimSpace(value))
		if unix := strings.ReplaceAll(value, "\r\n", "\n"); unix != value {
			m.add(strings.TrimSpace(unix))
		}
		for line := range strings.Lines(value) {
			m.add(strings.TrimSpace(line))
		}
	}
}

func (m *Masker) add(value string) {
	if len(value) < Shortest || m.known[value] {
		return
	}
	if m.starts == nil {
		m.known, m.starts = map[string]bool{}, newStarts()
	}
	m.known[value] = true
	m.longest = max(m.longest, len(value))
	m.root.insert(value, len(value))
	m.starts.add(value)
}

// Mask returns text with every secret replaced. The first part of a secret, of at
// least four bytes, is replaced if the text was cut after it with an ellipsis.
func (m *Masker) Mask(text string) string {
	spans, _ := m.decide(text, true, 0)
	return replace(text, spans, 0)
}

// replace returns text from done on with the spans replaced.
func replace(text string, spans []span, done int) string {
	if len(spans) == 0 {
		return text[done:]
	}
	var b strings.Builder
	b.Grow(len(text) - done)
	for _, s := range spans {
		b.WriteString(text[done:s.from])
		b.WriteString(Redacted)
		done = s.to
	}
	b.WriteString(text[done:])
	return b.String()
}

// decide is scan under the lock. A nil m decides at once.
func (m *Masker) decide(text string, final bool, least int) (spans []span, decided int) {
	if m == nil {
		return nil, len(text)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.scan(text, final, least)
}

// Writer returns a writer that masks what is written to it and passes it to w. It
// holds back only text that may turn out to be part of a secret.
func (m *Masker) Writer(w io.Writer) *Writer { return &Writer{masker: m, next: w} }

// A span is a stretch of text to replace.
type span struct{ from, to int }

// scan returns the stretches of text that are secrets, in order, and the length of
// the text that can be decided upon: all of it if final, else up to where a secret
// may have begun that text does not contain the end of. Overlapping secrets are one
// span. A secret of which fewer than least bytes were found does not count as begun.
func (m *Masker) scan(text string, final bool, least int) (spans []span, decided int) {
	if m.starts == nil {
		return nil, len(text)
	}
	w := walk{m: m, text: text, final: final, least: least, total: 4096 + 4*m.longest + 8*len(text)}
	begins := newScanner(m.starts, text)
	for p, as := begins.next(0); p < len(text); p, as = begins.next(p + 1) {
		to, undecided := w.from(p, as)
		last := len(spans) - 1
		overlaps := last >= 0 && p < spans[last].to
		switch {
		case undecided && overlaps:
			return spans[:last], spans[last].from
		case undecided:
			return spans, p
		case to <= p:
		case overlaps:
			spans[last].to = max(spans[last].to, to)
		default:
			spans = append(spans, span{p, to})
		}
	}
	return spans, len(text)
}
