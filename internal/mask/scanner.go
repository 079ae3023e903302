package mask

import "strings"

// A scanner finds the positions of a text where a secret may begin. It looks at the
// four or five characters from each position on, without those that a reading of the
// text may skip. Where it cannot tell what they are, it looks at fewer. It never
// leaves out a position where a secret begins.
type scanner struct {
	*starts

	text   string
	end    int  // of the plain bytes that the position is in, where a special one follows
	length int  // of the special bytes at end; see reading
	begins bool // a secret may begin at end

	joined bool     // the following are known
	asText junction // of the bytes around the special ones
	asCode junction // the same for base64, without spaces
	spaced bool     // asCode differs

	upTo    int    // where the stretch ends that is looked at
	sifted  int    // how far the sieve has come
	kept    uint32 // the last bytes that it has kept, the last one lowest
	skipped []span // the last sequences that it has skipped
}

func newScanner(s *starts, text string) *scanner { return &scanner{starts: s, text: text, end: -1} }

// next returns the first position from p on where a secret may begin, and how, or
// len(text).
func (s *scanner) next(p int) (int, kinds) {
	for p < len(s.text) {
		if p >= s.upTo {
			p = max(p, s.stretch())
		}
		if at, as := s.look(p); as != 0 {
			return at, as
		}
		p = max(p, s.upTo)
	}
	return len(s.text), 0
}

// look is next within the stretch.
func (s *scanner) look(p int) (int, kinds) {
	for ; p < s.upTo; p++ {
		if s.end < p {
			s.findEnd(p)
		}
		if at, as := s.plain(p); as != 0 {
			return at, as
		}
		p = max(p, s.end-gram)
		if p < s.end && p < s.upTo && s.quiet(p) {
			p = s.end
		}
		for ; p < min(s.end, s.upTo); p++ {
			if as := s.kindsAt(p); as != 0 {
				return p, as
			}
		}
		if p == s.end && p < s.upTo && s.begins {
			return p, asAny
		}
		for s.length == 1 && p+2 < len(s.text) && s.text[p] == s.text[p+1] && s.text[p] == s.text[p+2] {
			p++ // which means the same
		}
	}
	return 0, 0
}

// plain looks for a position before the last four plain bytes.
func (s *scanner) plain(p int) (int, kinds) {
	end := min(s.end, s.upTo+gram)
	if p+gram >= end {
		return 0, 0
	}
	text := s.text[p:end]
	for i := s.grams.find(text, 0); i < len(text)-gram; i = s.grams.find(text, i+1) {
		as := s.grams.kinds(gramOf(text[i:]))
		if as&asBase64Lead != 0 && i > 0 {
			return p + i - 1, asBase64Lead
		}
		as &^= asBase64Lead
		as |= s.grams.kinds(gramOf(text[i+1:])) & asBase64Lead
		if as != 0 {
			return p + i, as
		}
	}
	// The last four bytes may follow the character in which base64 begins.
	if i := len(text) - gram; s.grams.kinds(gramOf(text[i:]))&asBase64Lead != 0 {
		return p + i - 1, asBase64Lead
	}
	return 0, 0
}

// findEnd finds the end of the plain bytes from p on.
func (s *scanner) findEnd(p int) {
	s.joined, s.begins, s.length = false, false, -1
	text, stops := s.text, &s.stops
	for ; ; p++ {
		for ; p+8 <= len(text); p += 8 {
			t := text[p : p+8]
			if stops[t[0]] || stops[t[1]] || stops[t[2]] || stops[t[3]] || stops[t[4]] || stops[t[5]] || stops[t[6]] || stops[t[7]] {
				break
			}
		}
		for p < len(text) && !stops[text[p]] {
			p++
		}
		s.end = p
		if p == len(text) {
			return
		}
		if s.quotes[text[p]] && p+1 < len(text) {
			s.length = 1
			return
		}
		if s.length, s.begins = s.reading(p); s.length != 0 || s.begins {
			return
		}
	}
}

// quiet reports whether no secret may begin at p, one of the last four plain bytes, and
// at those behind it. It may report false in any case.
func (s *scanner) quiet(p int) bool {
	if !s.joined {
		s.join()
	}
	n := s.end - p
	if !s.asText.quiet(&s.grams, n) {
		return false
	}
	if s.spaced && !s.asCode.quiet(&s.grams, s.letters(p)) {
		return false
	}
	for i := p; i < s.end; i++ {
		if s.numberAt(i) != 0 {
			return false
		}
	}
	return true
}

// kindsAt returns how a secret may begin at p, one of the last four plain bytes.
func (s *scanner) kindsAt(p int) kinds {
	if isBlank(s.text[p]) {
		return 0 // secrets begin with no white space
	}
	if !s.joined {
		s.join()
	}
	as := s.asText.kinds(s.starts, s.end-p)
	if s.spaced {
		as = as&asText | s.asCode.kinds(s.starts, s.letters(p))&^asText
	}
	return as&(asText|asBase64|asBase64Lead) | s.numberAt(p)
}

// numberAt returns how a secret may begin as a list of numbers at p, one of the last
// four plain bytes. Numbers have no skipped bytes in them.
func (s *scanner) numberAt(p int) kinds {
	switch c := s.text[p]; {
	case p+1 < s.end:
		return s.pairs[uint16(c)|uint16(s.text[p+1])<<8] & (asHex | asDecimal)
	case s.end == len(s.text):
		return s.single[c] & (asHex | asDecimal)
	case c >= '0' && c <= '9' && s.value[c-'0']:
		return asDecimal
	}
	return 0
}

// letters returns the number of bytes without spaces from p on, one of the last four
// plain bytes.
func (s *scanner) letters(p int) (n int) {
	for ; p < s.end; p++ {
		if c := s.text[p]; !isBlank(c) {
			n++
		}
	}
	return n
}

// reading returns how many bytes from the special one at the position on are skipped
// in every reading of the beginning of a secret: 0 if the byte stands for itself only,
// and -1 if readings differ. It reports whether a secret may begin at the position.
func (s *scanner) reading(at int) (length int, begins bool) {
	const differs = -1
	c, rest := s.text[at], s.text[at+1:]
	if rest == "" {
		return differs, true
	}
	next := rest[0]
	itself := s.early[c] // a secret may have c itself
	switch c {
	case '"', '\'', '\r', 0:
		length = 1
	case '\b':
		length = 2
	case '\n':
		length = s.newline(rest)
	case 0x1b, 0x9b, 0xc2:
		n, whole := sequence(s.text[at:])
		switch {
		case whole:
			length = n
		case n > 0:
			return differs, s.value[c]
		}
	case '$':
		switch {
		case next == '\'' || next == '"':
			length = 1
		case next == '$' && itself:
			return differs, s.value[c]
		}
	case '=':
		length, begins = s.quotedPrintable(rest)
	case '%':
		if next == '%' && itself || next == 'u' || hexDigit(next) && (len(rest) == 1 || hexDigit(rest[1])) {
			return differs, true
		}
	case '&':
		if entityLike(rest) {
			return differs, true
		}
	case '^', '`':
		length, begins = 1, s.value[next]
	case '\\':
		if (next == '"' || next == '\'') && !s.early[next] {
			length = 2
			break
		}
		return differs, s.value[c] || s.escaped(next)
	case '+':
		return differs, s.value[c] // a space, or itself
	}
	if itself && length != 0 {
		return differs, begins || s.value[c]
	}
	return length, begins
}

// newline is reading for what follows a line break.
func (s *scanner) newline(rest string) int {
	n := 0
	for n < len(rest) && isBlank(rest[n]) {
		n++
	}
	if n == len(rest) && n < longestSkip || n > 0 && (s.early[' '] || s.early['\t']) || rest[0] == '0' && odAddress(rest) > 0 {
		return -1
	}
	return 1 + n
}

// quotedPrintable is reading for what follows "=".
func (s *scanner) quotedPrintable(rest string) (length int, begins bool) {
	switch {
	case rest[0] == '\n':
		return 2, false
	case strings.HasPrefix(rest, "\r\n"):
		return 3, false
	case rest == "\r":
		return -1, false
	}
	high, ok := hexValue(rest[0])
	if !ok {
		return 0, false
	}
	if len(rest) == 1 {
		return -1, true
	}
	if low, ok := hexValue(rest[1]); ok && s.early[high<<4|low] {
		return -1, true
	}
	return 0, false
}

// escaped reports whether a secret may begin with a backslash and c.
func (s *scanner) escaped(c byte) bool {
	return s.value[c] || s.special[c] || strings.IndexByte("/xuU01234567abefv", c) >= 0
}

// entityLike reports whether rest, which follows an ampersand, may be the rest of an
// entity.
func entityLike(rest string) bool {
	for i := range min(len(rest), longestEntity) {
		switch c := rest[i]; {
		case c == ';' || c == '%':
			return true
		case c != '#' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z'):
			return false
		}
	}
	return len(rest) < longestEntity
}
