package mask

import (
	"html"
	"strings"
)

// readText reads characters: plain ones at once, special ones in every way.
func (w *walk) readText(s state) {
	for {
		s = w.readPlain(s)
		if w.matched = s.matched; w.cut(s) {
			return
		}
		if s.at >= len(w.text) {
			w.needMore()
			return
		}
		c := w.text[s.at]
		if w.budget > 0 && (w.m.starts.special[c] || c == ' ') {
			w.spend()
			if s.matched > 0 {
				w.skip(s, c)
			}
			w.decode(s, c)
		}
		next, ok := w.step(s, c, s.at+1)
		if !ok {
			return
		}
		s = next
	}
}

// readPlain reads the part of a secret's tail that has no special characters.
func (w *walk) readPlain(s state) state {
	tail := s.node.tail
	for s.tail < len(tail)-1 && s.at < len(w.text) {
		if c := w.text[s.at]; c != tail[s.tail] || c == ' ' || w.m.starts.special[c] {
			break
		}
		s.tail, s.at, s.matched = s.tail+1, s.at+1, s.matched+1
	}
	return s
}

// skip skips what programs and terminals put between the characters of a text.
func (w *walk) skip(s state, c byte) {
	rest := w.text[s.at:]
	switch c {
	case '\'', '"', '\r', 0:
		w.jump(s, 1)
	case '$': // $'…'
		if len(rest) == 1 {
			w.needMore()
		} else if rest[1] == '\'' || rest[1] == '"' {
			w.jump(s, 1)
		}
	case '\b': // overstrike
		if len(rest) == 1 {
			w.needMore()
		} else {
			w.jump(s, 2)
		}
	case '\n':
		s.folded = true
		w.jump(s, 1)
		if n := w.blanks(rest[1:]); n > 0 {
			w.jump(s, 1+n)
		}
	case ' ': // od -c
		if strings.HasPrefix(rest, "   ") {
			s.folded = true
			w.jump(s, 3)
		} else if len(rest) < 3 && strings.TrimLeft(rest, " ") == "" {
			w.needMore()
		}
	case 0x1b, 0x9b, 0xc2:
		n, whole := sequence(rest)
		if n > 0 && whole {
			w.jump(s, n)
		} else if n > 0 {
			w.needMore()
		}
	}
}

// jump follows s n bytes further on.
func (w *walk) jump(s state, n int) {
	s.at += n
	w.later(s)
}

// blanks returns the length of the spaces and tabs that text begins with, and of the
// address at the beginning of a row of od -c.
func (w *walk) blanks(text string) int {
	if n := odAddress(text); n > 0 {
		if n > len(text) {
			w.needMore()
			return 0
		}
		return n
	}
	n := 0
	for n < min(len(text), longestSkip) && isBlank(text[n]) {
		n++
	}
	if n == len(text) {
		w.needMore()
	}
	return n
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// odAddress returns the length of the address that a row of od -c begins with, or 0. It
// is longer than text if text ends within what may be one.
func odAddress(text string) int {
	const length = 10 // 7 digits and 3 spaces
	for i := range min(len(text), length) {
		switch c := text[i]; {
		case i == 0 && c != '0', i < 7 && (c < '0' || c > '7'), i >= 7 && c != ' ':
			return 0
		}
	}
	return length
}

// decode reads the encoded character at s.
func (w *walk) decode(s state, c byte) {
	rest := w.text[s.at:]
	switch c {
	case '+': // a space in a URL
		w.stepRune(s, ' ', s.at+1)
	case '\n': // followed by indentation
		const deepest = 64
		for n := range min(w.blanks(rest[1:]), deepest) {
			w.stepRune(s, '\n', s.at+2+n)
		}
	case '%':
		w.percent(s)
	case '&':
		w.entity(s, s.at+1)
	case '=':
		w.quotedPrintable(s)
	case '$': // $$ of Make
		if strings.HasPrefix(rest, "$$") {
			w.stepRune(s, '$', s.at+2)
		}
	case '^', '`': // of cmd.exe and PowerShell
		if len(rest) == 1 {
			w.needMore()
		} else if next, ok := w.step(s, rest[1], s.at+2); ok {
			w.later(next)
		}
	}
	if c == '\\' || c == '%' || c == '&' {
		w.backslash(s)
	}
}

// percent reads %41 and %u0041. Each further level of encoding turns the percent
// sign into %25.
func (w *walk) percent(s state) {
	at := s.at + 1
	if strings.HasPrefix(w.text[at:], "%") { // of format strings
		w.stepRune(s, '%', at+1)
	}
	const levels = 4
	for range levels {
		if strings.HasPrefix(w.text[at:], "u") {
			w.hexRune(s, at+1, 4, 4)
		}
		b, ok := w.hexByte(at)
		if !ok {
			return
		}
		if next, ok := w.step(s, b, at+2); ok {
			w.later(next)
		}
		switch b {
		case '+':
			w.stepRune(s, ' ', at+2)
		case '&':
			w.entity(s, at+2)
		case '%':
			at += 2
			continue
		}
		return
	}
}

// hexByte returns the value of two hexadecimal digits.
func (w *walk) hexByte(at int) (byte, bool) {
	var value byte
	for i := range 2 {
		if at+i >= len(w.text) {
			w.needMore()
			return 0, false
		}
		v, ok := hexValue(w.text[at+i])
		if !ok {
			return 0, false
		}
		value = value<<4 | v
	}
	return value, true
}

// hexRune reads a character given by at least low and at most high hexadecimal
// digits.
func (w *walk) hexRune(s state, at, low, high int) {
	r, n := w.hexDigits(at, high)
	if n >= low {
		w.stepRune(s, r, at+n)
	}
}

func (w *walk) hexDigits(at, most int) (value rune, n int) {
	for n < most {
		if at+n >= len(w.text) {
			w.needMore()
			break
		}
		v, ok := hexValue(w.text[at+n])
		if !ok {
			break
		}
		value, n = value<<4|rune(v), n+1
	}
	return value, n
}

const longestEntity = 32 // bytes, with the ampersand

// entity reads &amp; &#38; or &#x26; behind its ampersand. Each further level of
// encoding turns the ampersand into &amp;.
func (w *walk) entity(s state, at int) {
	const levels = 4
	for range levels {
		text, next := w.entityAt(at)
		if text == "" {
			return
		}
		if after, ok := w.stepAll(s, []byte(text), next); ok {
			w.later(after)
		}
		if text != "&" {
			return
		}
		at = next
	}
}

// entityAt returns the meaning of the entity whose name begins at the position, or
// "", and the position behind it. Its characters may be percent-encoded.
func (w *walk) entityAt(at int) (text string, next int) {
	name := make([]byte, 1, longestEntity)
	name[0] = '&'
	for len(name) < longestEntity {
		if at >= len(w.text) {
			w.needMore()
			return "", at
		}
		c := w.text[at]
		at++
		if c == '%' {
			b, ok := w.hexByte(at)
			if !ok {
				return "", at
			}
			c, at = b, at+2
		}
		name = append(name, c)
		if c == ';' {
			if text = html.UnescapeString(string(name)); text == string(name) {
				return "", at
			}
			return text, at
		}
		if c != '#' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
	}
	return "", at
}

// quotedPrintable reads =41 and skips soft line breaks.
func (w *walk) quotedPrintable(s state) {
	rest := w.text[s.at+1:]
	for _, end := range []string{"\n", "\r\n"} {
		if s.matched > 0 && strings.HasPrefix(rest, end) {
			w.jump(s, 1+len(end))
		}
	}
	if rest == "\r" {
		w.needMore()
	}
	if b, ok := w.hexByte(s.at + 1); ok {
		if next, ok := w.step(s, b, s.at+3); ok {
			w.later(next)
		}
	}
}

// unit returns the ASCII character at the position, which may be percent-encoded or
// an entity, and the position behind it.
func (w *walk) unit(at int) (c byte, next int) {
	if at >= len(w.text) {
		w.needMore()
		return 0, at
	}
	switch c = w.text[at]; c {
	case '%':
		if b, ok := w.hexByte(at + 1); ok {
			return b, at + 3
		}
	case '&':
		if text, next := w.entityAt(at + 1); len(text) == 1 {
			return text[0], next
		}
	}
	return c, at + 1
}

// sequence returns the length of the terminal's escape sequence that text begins
// with, or 0, and whether it is complete.
func sequence(text string) (n int, whole bool) {
	kind, n := byte('['), 1 // CSI in one byte
	switch {
	case text[0] == 0xc2 && len(text) == 1:
		return 1, false
	case text[0] == 0xc2 && text[1] == 0x9b:
		n = 2
	case text[0] == 0xc2 && (text[1] == 0x90 || text[1] == 0x9d):
		kind, n = ']', 2
	case text[0] == 0xc2:
		return 0, false
	case text[0] == 0x1b && len(text) == 1:
		return 1, false
	case text[0] == 0x1b:
		kind, n = text[1], 2
	}
	switch kind {
	case '[':
		return until(text, n, func(c byte) bool { return c >= 0x40 && c <= 0x7e })
	case ']', 'P', 'X', '^', '_':
		return command(text, n)
	default:
		if kind >= 0x20 && kind < 0x30 {
			return until(text, n, func(c byte) bool { return c >= 0x30 })
		}
		return n, true
	}
}

// command returns the length of text up to and with what ends a title or another
// command to the terminal.
func command(text string, from int) (n int, whole bool) {
	part := text[:min(len(text), longestSkip)]
	n = len(part)
	for _, end := range []byte{'\a', 0x1b, 0x9c} {
		if i := strings.IndexByte(part[from:n], end); i >= 0 {
			n = from + i
		}
	}
	switch {
	case n == longestSkip:
		return 0, false
	case n == len(text):
		return n, false
	case text[n] == 0x1b: // ESC \
		return n + 2, n+2 <= len(text)
	}
	return n + 1, true
}

// until returns the length of text up to and with the byte that ends it.
func until(text string, from int, end func(byte) bool) (n int, whole bool) {
	const longest = 256
	for i := from; i < min(len(text), longest); i++ {
		if end(text[i]) {
			return i + 1, true
		}
	}
	if len(text) >= longest {
		return 0, false
	}
	return len(text), false
}
