package mask

import "strings"

// separators may be between the bytes of a list of numbers, besides line breaks.
const separators = " :-,;._\t"

func hexValue(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// readHex reads bytes as two hexadecimal digits each, and what separates them.
func (w *walk) readHex(s state) {
	for {
		w.matched = s.matched
		b, ok := w.hexByte(s.at)
		if !ok {
			return
		}
		next, ok := w.step(s, b, s.at+2)
		if !ok {
			if b != 0 || s.matched == 0 || next.cursor != s.cursor {
				return
			}
			next.at = s.at + 2 // UTF-16
		}
		s = next
		w.matched = s.matched
		if s.at >= len(w.text) || !hexDigit(w.text[s.at]) {
			w.separated(s)
			return
		}
	}
}

// separated follows s, which is behind a number, across a separator or a row of a
// dump.
func (w *walk) separated(s state) {
	if s.at >= len(w.text) {
		w.needMore()
		return
	}
	const most = 8
	at := s.at
	for at < len(w.text) && at-s.at < most && w.m.starts.between[w.text[at]] {
		at++
	}
	if at == len(w.text) {
		w.needMore()
	}
	after := s
	if after.at = at; at > s.at && at < len(w.text) && hexDigit(w.text[at]) {
		w.later(after)
	}
	if at < len(w.text) && strings.IndexByte(`0\%#`, w.text[at]) >= 0 {
		for _, prefix := range []string{"0x", "0X", `\x`, `\\x`, "%", "#"} {
			after.at = at + len(prefix)
			if rest := w.text[at:]; strings.HasPrefix(rest, prefix) {
				w.later(after)
			} else if len(rest) < len(prefix) && strings.HasPrefix(prefix, rest) {
				w.needMore()
			}
		}
	}
	if s.mode == inHex && s.matched > 1 && (w.text[s.at] == ' ' || w.text[s.at] == '\n') {
		w.row(s)
	}
}

func hexDigit(c byte) bool {
	_, ok := hexValue(c)
	return ok
}

// row follows s to the next row of a dump: across the characters at the end of this
// one and the address of the next.
func (w *walk) row(s state) {
	end, whole := w.rowEnd(s.at)
	if !whole {
		return
	}
	at := end + 1
	address := at
	for address < len(w.text) && hexDigit(w.text[address]) {
		address++
	}
	if digits := address - at; digits < 4 || digits > 16 {
		if address == len(w.text) {
			w.needMore()
		}
		return
	}
	for address < len(w.text) && (w.text[address] == ':' || w.text[address] == ' ') {
		address++
	}
	if address == len(w.text) {
		w.needMore()
		return
	}
	s.at, s.dumped = address, true
	w.later(s)
}

// rowEnd returns the position of the line break that ends a row of a dump, or how far
// the row may reach.
func (w *walk) rowEnd(at int) (end int, whole bool) {
	const longest = 100
	row := w.text[at:min(len(w.text), at+longest+1)]
	if i := strings.IndexByte(row, '\n'); i >= 0 {
		return at + i, true
	}
	if len(row) <= longest {
		w.needMore()
	}
	return at + len(row), false
}

// readDecimal reads one byte as a decimal number and what separates it from the
// next.
func (w *walk) readDecimal(s state) {
	w.matched = s.matched
	value, at := 0, s.at
	for at < len(w.text) && at-s.at < 3 && w.text[at] >= '0' && w.text[at] <= '9' {
		value = value*10 + int(w.text[at]-'0')
		at++
	}
	if at == len(w.text) {
		w.needMore()
	}
	if at == s.at || value > 0xff {
		return
	}
	if next, ok := w.step(s, byte(value), at); ok {
		w.matched = next.matched
		w.separated(next)
	}
}
