package mask

import (
	"strings"
	"unicode/utf8"
)

// A walk finds the secret that begins at a position of a text. It follows every
// reading of the text that agrees with a secret, up to a number of them that only
// contrived texts reach.
type walk struct {
	m     *Masker
	text  string
	final bool // nothing follows text
	least int  // bytes of a secret that make it undecided

	start     int
	to        int  // the end of the longest secret found
	undecided bool // text ended within a secret
	matched   int  // bytes of the secret in the current state
	todo      []state
	seen      stateSet
	budget    int // states left to follow from start
	total     int // states left to follow in text, until few may be followed from each start
}

// A state is a place in a secret and the place in the text that was read up to
// there.
type state struct {
	cursor
	mode    mode
	at      int
	matched int    // bytes of the secret
	bits    uint16 // base64: bits read beyond the last byte
	nbits   int8
	folded  bool // line breaks were skipped
	dumped  bool // rows of a dump were passed
}

// A mode is a way to read text.
type mode int8

const (
	inText mode = iota
	inBase64
	inHex
	inDecimal
)

const (
	foldable    = 8    // length of the shortest secret in which line breaks are skipped
	longestSkip = 4096 // bytes between two characters of a secret
	spread      = 32   // bytes of text per byte of a secret, at most
)

// from returns the end of the longest secret that begins at p in one of the ways, or
// p, and whether a secret that is not complete may begin there.
func (w *walk) from(p int, as kinds) (to int, undecided bool) {
	w.start, w.to, w.undecided = p, p, false
	w.budget = 256 + 8*w.m.longest
	if w.total < 0 {
		w.budget = min(32+w.m.longest, 128)
	}
	begin := state{cursor: cursor{node: &w.m.root}, at: p}
	w.matched = 0
	if c := w.text[p]; as&asText != 0 && (w.m.starts.value[c] || w.m.starts.special[c]) {
		w.readText(begin)
	}
	if as&asHex != 0 && w.twoNumbers(p, hexNumber) {
		begin.mode = inHex
		w.readHex(begin)
	}
	if as&asDecimal != 0 && w.twoNumbers(p, decimalNumber) {
		begin.mode = inDecimal
		w.readDecimal(begin)
	}
	if as&(asBase64|asBase64Lead) != 0 {
		if v, at := w.firstBase64(p); v != noBase64 {
			w.beginBase64(begin, v, at)
		}
	}
	for len(w.todo) > 0 && w.budget > 0 {
		s := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		w.follow(s)
	}
	w.todo = w.todo[:0]
	w.seen.empty()
	return w.to, w.undecided
}

// beginBase64 reads base64 of which the first character has the value v and ends at
// the position, at the three offsets that a secret may have in it.
func (w *walk) beginBase64(s state, v uint16, at int) {
	next, behind := w.base64At(at)
	if next == noBase64 {
		return
	}
	s.mode, s.at = inBase64, behind
	for bits := int8(6); bits > 0; bits -= 2 {
		both := v&(1<<bits-1)<<6 | next
		s.nbits = bits - 2 // beyond the first byte
		s.bits = both & (1<<s.nbits - 1)
		first := byte(both >> s.nbits & 0xff)
		if !w.m.starts.value[first] {
			continue
		}
		if after, ok := w.step(s, first, behind); ok {
			w.readBase64(after)
		}
	}
}

// follow reads on from s.
func (w *walk) follow(s state) {
	w.matched = s.matched
	if w.cut(s) {
		return
	}
	switch s.mode {
	case inText:
		w.readText(s)
	case inBase64:
		w.readBase64(s)
	case inHex:
		w.readHex(s)
	case inDecimal:
		w.readDecimal(s)
	}
}

// cut finds that the text was cut in s, with an ellipsis.
func (w *walk) cut(s state) bool {
	const ellipsis = "…"
	if s.matched == 0 || s.at >= len(w.text) || w.text[s.at] != ' ' && w.text[s.at] != ellipsis[0] {
		return false
	}
	rest := strings.TrimPrefix(w.text[s.at:], " ")
	if s.matched >= Shortest && strings.HasPrefix(rest, ellipsis) {
		w.to = max(w.to, s.at)
		return true
	}
	if rest != "" && len(rest) < len(ellipsis) && strings.HasPrefix(ellipsis, rest) {
		w.needMore()
	}
	return false
}

// needMore records that the end of the text was reached within a secret.
func (w *walk) needMore() {
	if !w.final && w.matched >= w.least {
		w.undecided = true
	}
}

// later follows s later.
func (w *walk) later(s state) {
	if w.dead(s) {
		return
	}
	w.spend()
	if w.budget < 0 || s.at-w.start > spread*(s.matched+1)+longestSkip || !w.seen.add(s) {
		return
	}
	w.todo = append(w.todo, s)
}

// spend takes one state from the budgets.
func (w *walk) spend() {
	w.budget--
	w.total--
}

// dead reports whether the next byte already shows that s leads nowhere.
func (w *walk) dead(s state) bool {
	if s.at >= len(w.text) {
		return false
	}
	c := w.text[s.at]
	if c == ' ' || c >= utf8.RuneSelf { // may be an ellipsis
		return false
	}
	switch s.mode {
	case inText:
		if w.m.starts.special[c] {
			return false
		}
		_, ok := s.step(c)
		return !ok
	case inHex:
		if s.at+1 == len(w.text) {
			return !hexDigit(c)
		}
		high, ok1 := hexValue(c)
		low, ok2 := hexValue(w.text[s.at+1])
		b := high<<4 | low
		_, ok := s.step(b)
		return !ok1 || !ok2 || !ok && b != 0
	case inDecimal:
		return !hexDigit(c)
	}
	return false
}

// step returns s after one byte of a secret, which ends at the position in the text.
func (w *walk) step(s state, b byte, at int) (state, bool) {
	c, ok := s.step(b)
	if !ok {
		return s, false
	}
	w.spend()
	s.cursor, s.at = c, at
	s.matched++
	w.matched = s.matched
	w.found(s)
	w.matched--
	return s, c.more()
}

// found records s if a secret ends there.
func (w *walk) found(s state) {
	length := s.length()
	if length == 0 || s.folded && length < foldable {
		return
	}
	to := s.at
	if s.dumped { // the same bytes follow as characters
		to, _ = w.rowEnd(to)
	}
	if s.mode == inBase64 {
		to = w.padding(to)
	}
	w.to = max(w.to, to)
}

// stepAll steps through several bytes, which end at the position in the text.
func (w *walk) stepAll(s state, text []byte, at int) (state, bool) {
	for i, b := range text {
		var ok bool
		if s, ok = w.step(s, b, at); !ok || i == len(text)-1 {
			return s, ok
		}
	}
	return s, false
}

func (w *walk) stepRune(s state, r rune, at int) {
	var text [utf8.UTFMax]byte
	if next, ok := w.stepAll(s, text[:utf8.EncodeRune(text[:], r)], at); ok {
		w.later(next)
	}
}
