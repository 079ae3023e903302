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

// hexNumber returns the byte that text has at p as two hexadecimal digits, and where
// they end, or p if there are none. Digits that the end of text cuts end there.
func hexNumber(text string, p int) (value, end int) {
	if p+2 > len(text) {
		return 0, len(text)
	}
	high, ok1 := hexValue(text[p])
	low, ok2 := hexValue(text[p+1])
	if !ok1 || !ok2 {
		return 0, p
	}
	return int(high)<<4 | int(low), p + 2
}

// decimalNumber is hexNumber for at most three decimal digits.
func decimalNumber(text string, p int) (value, end int) {
	for end = p; end < len(text) && end < p+3 && text[end] >= '0' && text[end] <= '9'; end++ {
		value = value*10 + int(text[end]-'0')
	}
	return value, end
}

// twoNumbers reports whether the first two bytes of a secret may be numbers at p. It
// tells most numbers from secrets before they are followed.
func (w *walk) twoNumbers(p int, number func(text string, p int) (value, end int)) bool {
	first, end := number(w.text, p)
	at := w.behindSeparators(end)
	second, end := number(w.text, at)
	switch {
	case end == len(w.text) || second == 0 && end > at: // more may follow, or UTF-16
		return true
	case end == at:
		return beginsNumber(w.text[at])
	}
	return max(first, second) <= 0xff && w.m.starts.pairs[uint16(first&0xff)|uint16(second&0xff)<<8]&asText != 0
}

// behindSeparators returns the position behind what separates numbers at the given one.
func (w *walk) behindSeparators(at int) int {
	const most = 8
	for from := at; at < len(w.text) && at-from < most && w.m.starts.between[w.text[at]]; at++ {
	}
	return at
}

// beginsNumber reports whether something like 0x may be at c.
func beginsNumber(c byte) bool { return strings.IndexByte(`0\%#`, c) >= 0 }

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
	at := w.behindSeparators(s.at)
	if at == len(w.text) {
		w.needMore()
	}
	after := s
	if after.at = at; at > s.at && at < len(w.text) && hexDigit(w.text[at]) {
		w.later(after)
	}
	if at < len(w.text) && beginsNumber(w.text[at]) {
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
	value, at := decimalNumber(w.text, s.at)
	if at == len(w.text) {
		w.needMore()
	}
	if at == s.at || value > 0xff {
		return
	}
	if next, ok := w.step(s, byte(value&0xff), at); ok {
		w.matched = next.matched
		w.separated(next)
	}
}
