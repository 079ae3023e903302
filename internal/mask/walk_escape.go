package mask

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// backslash reads a run of backslashes and the character behind it. Each level of
// encoding doubles the backslashes, so any number of them may be one or none.
func (w *walk) backslash(s state) {
	const most = 16
	at, n := s.at, 0
	for n < most {
		c, next := w.unit(at)
		if next == at || c != '\\' {
			break
		}
		at, n = next, n+1
		switch n {
		case 1:
			if w.text[s.at] != '\\' { // not encoded
				continue
			}
		case 2, 4, 8:
			if next, ok := w.step(s, '\\', at); ok {
				w.later(next)
			}
		}
	}
	if n > 0 {
		w.escape(s, at)
	}
}

// escape reads what follows the backslashes that end at the position.
func (w *walk) escape(s state, at int) {
	c, next := w.unit(at)
	if next == at {
		return
	}
	switch c {
	case '\n', '\r': // a continued line
		if s.matched > 0 {
			s.at = next
			if c == '\r' && strings.HasPrefix(w.text[next:], "\n") {
				s.at++
			}
			w.later(s)
		}
		return
	case 'x':
		if v, digits := w.hexDigits(next, 2); digits > 0 {
			if after, ok := w.step(s, byte(v&0xff), next+digits); ok {
				w.later(after)
			}
		}
	case 'u':
		w.unicodeEscape(s, next)
	case 'U':
		w.hexRune(s, next, 8, 8)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		w.octal(s, at)
	}
	const letters, meanings = "ntrbfvaeE", "\n\t\r\b\f\v\a\x1b\x1b"
	if i := strings.IndexByte(letters, c); i >= 0 {
		if after, ok := w.step(s, meanings[i], next); ok {
			w.later(after)
		}
	}
	if s.matched > 0 && (c == 'r' || c == 'n') { // as a raw one
		skipped := s
		skipped.at, skipped.folded = next, s.folded || c == 'n'
		w.later(skipped)
	}
	if after, ok := w.step(s, c, next); ok {
		w.later(after)
	}
}

// unicodeEscape reads the digits of \u00e9, \u{e9} or \ud83d\ude00.
func (w *walk) unicodeEscape(s state, at int) {
	if strings.HasPrefix(w.text[at:], "{") {
		if r, n := w.hexDigits(at+1, 8); n > 0 {
			if end := at + 1 + n; strings.HasPrefix(w.text[end:], "}") {
				w.stepRune(s, r, end+1)
			}
		}
		return
	}
	r, n := w.hexDigits(at, 4)
	if n < 4 {
		return
	}
	at += n
	if utf16.IsSurrogate(r) {
		low := at
		for strings.HasPrefix(w.text[low:], `\`) {
			low++
		}
		if low == len(w.text) {
			w.needMore()
		}
		if low == at || !strings.HasPrefix(w.text[low:], "u") {
			return
		}
		second, n := w.hexDigits(low+1, 4)
		if r = utf16.DecodeRune(r, second); n < 4 || r == utf8.RuneError {
			return
		}
		at = low + 1 + n
	}
	w.stepRune(s, r, at)
}

// octal reads the digits of \101 or \0101.
func (w *walk) octal(s state, at int) {
	value, n := 0, 0
	for n < 4 {
		if at+n >= len(w.text) {
			w.needMore()
			break
		}
		digit := w.text[at+n]
		if digit < '0' || digit > '7' || n == 3 && w.text[at] != '0' {
			break
		}
		value, n = value<<3|int(digit-'0'), n+1
		if value > 0xff {
			return
		}
		if after, ok := w.step(s, byte(value&0xff), at+n); ok {
			w.later(after)
		}
	}
}
