package mask

import "strings"

// noBase64 is the value of a character that base64 does not have.
const noBase64 = 64

// base64Value returns the value of a character of either alphabet, or noBase64.
func base64Value(c byte) uint16 {
	switch {
	case c >= 'A' && c <= 'Z':
		return uint16(c - 'A')
	case c >= 'a' && c <= 'z':
		return uint16(c-'a') + 26
	case c >= '0' && c <= '9':
		return uint16(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return noBase64
}

// readBase64 reads characters of base64. It skips what wraps its lines.
func (w *walk) readBase64(s state) {
	for {
		w.matched = s.matched
		v, at := w.base64At(s.at)
		if v == noBase64 {
			return
		}
		s.at = at
		s.bits, s.nbits = s.bits<<6|v, s.nbits+6
		if s.nbits < 8 {
			continue
		}
		s.nbits -= 8
		b := byte(s.bits >> s.nbits & 0xff)
		s.bits &= 1<<s.nbits - 1
		next, ok := w.step(s, b, at)
		switch {
		case ok:
			s = next
		case b == 0 && s.matched > 0 && next.cursor == s.cursor: // UTF-16
		default:
			return
		}
		if w.cut(s) {
			return
		}
	}
}

// firstBase64 returns the value of the character of base64 at the position, which may
// be escaped, and the position behind it, or noBase64.
func (w *walk) firstBase64(at int) (value uint16, next int) {
	rest := w.text[at:]
	switch {
	case rest[0] == '%', rest[0] == '&', strings.HasPrefix(rest, `\/`), strings.HasPrefix(rest, `\u`):
		return w.base64At(at)
	}
	return base64Value(rest[0]), at + 1
}

// base64At returns the value of the next character of base64 and the position behind
// it, or noBase64.
func (w *walk) base64At(at int) (value uint16, next int) {
	for begin := at; at-begin < longestSkip && w.budget >= 0; {
		if at > begin {
			w.spend()
		}
		c, next := w.unit(at)
		if next == at {
			return noBase64, at
		}
		if v := base64Value(c); v != noBase64 {
			return v, next
		}
		switch c {
		case ' ', '\t', '\r', '\n', '"', '\'', 0:
			at = next
		case '\\': // \/ and \n of JSON, or a continued line
			c, after := w.unit(next)
			switch {
			case after == next:
				return noBase64, at
			case c == 'n' || c == 'r':
				at = after
			case c == 'u':
				r, n := w.hexDigits(after, 4)
				if n < 4 {
					return noBase64, at
				}
				if r > 0x7f {
					return noBase64, at
				}
				return base64Value(byte(r & 0x7f)), after + n
			default:
				at = next
			}
		case 0x1b, 0x9b, 0xc2:
			n, whole := sequence(w.text[at:])
			if !whole {
				if n > 0 {
					w.needMore()
				}
				return noBase64, at
			}
			at += n
		default:
			return noBase64, at
		}
	}
	return noBase64, at
}

// padding returns the end of the padding that begins at the position.
func (w *walk) padding(at int) int {
	for n := range 2 {
		if at >= len(w.text) {
			w.needMore()
			return at
		}
		c, next := w.unit(at)
		if n == 1 && next == len(w.text) {
			w.needMore()
		}
		if c != '=' || strings.HasPrefix(w.text[next:], "=") && n == 1 {
			return at
		}
		at = next
	}
	return at
}
