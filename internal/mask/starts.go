package mask

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// starts are the first characters of all secrets in all encodings, from which a
// [scanner] tells where in a text a secret cannot begin.
type starts struct {
	special [256]bool // bytes that may be part of an encoded character, or skipped
	stops   [256]bool // special bytes that are more than themselves to a scanner
	quotes  [256]bool // of them, those that are skipped alone in every reading
	value   [256]bool // the first bytes of secrets
	early   [256]bool // the first four bytes of secrets
	between [256]bool // bytes that may be between numbers

	single [256]kinds     // of the first character
	pairs  [1 << 16]kinds // of the first two characters
	grams  gramTable      // of the first four characters
	sieve  sieve
}

// kinds are the ways in which a secret may begin.
type kinds uint8

const (
	asText kinds = 1 << iota
	asBase64
	asBase64Lead // one character earlier
	asHex
	asDecimal

	asAny kinds = 0xff
)

func newStarts() *starts {
	s := &starts{sieve: newSieve()}
	for _, b := range []byte("\\%&'\"$=+^`\r\n\x00\b\x1b\x9b\xc2") {
		s.special[b] = true
		s.stops[b] = b != '+'
	}
	for _, b := range []byte(separators + "\r\n'\"[]()") {
		s.between[b] = true
	}
	return s
}

// begin adds the text that a secret begins with in an encoding.
func (s *starts) begin(text string, as kinds) {
	s.grams.add(gramOf(text), as)
	if as != asBase64Lead {
		s.beginPair(text[0], text[1], as)
	}
}

func (s *starts) beginPair(first, second byte, as kinds) {
	s.single[first] |= as
	s.pairs[uint16(first)|uint16(second)<<8] |= as
}

// add adds the beginnings of value in every encoding.
func (s *starts) add(value string) {
	s.sieve.addSecret(value)
	s.value[value[0]] = true
	for _, b := range []byte(value[:gram]) {
		s.early[b] = true
	}
	s.stops['+'] = s.early[' ']
	for _, b := range []byte("\"'\r\x00") {
		s.quotes[b] = !s.early[b]
	}
	s.begin(value, asText)
	s.begin(value[:1]+"   ", asText) // od -c
	s.addNumbers(value)
	s.addBase64(value)
	s.addBase64(wide(value[:gram]))
}

// wide returns value in UTF-16.
func wide(value string) string {
	out := make([]byte, 0, 2*len(value))
	for _, b := range []byte(value) {
		out = append(out, b, 0)
	}
	return string(out)
}

func (s *starts) addNumbers(value string) {
	for i, first := range digitsOf(value[0]) {
		for _, second := range []byte{value[1], 0} { // 0 for UTF-16
			s.begin(first+digitsOf(second)[i], asHex)
			for _, sep := range []byte(separators) {
				s.begin(first+string(sep)+digitsOf(second)[i], asHex)
			}
		}
		for _, sep := range []string{", ", "; ", "  ", ",0", " 0"} { // further separators, and 0x
			s.begin(first+sep, asHex)
		}
	}
	for _, sep := range append(strings.Split(separators, ""), ", ", "; ", "  ") {
		numbers := make([]string, 0, gram-1)
		for _, b := range []byte(value[:gram-1]) {
			numbers = append(numbers, strconv.Itoa(int(b)))
		}
		s.begin(strings.Join(numbers, sep), asDecimal)
	}
}

// addBase64 adds value at each of its three offsets in base64. At two of the offsets, value
// begins within the character before.
func (s *starts) addBase64(value string) {
	eachBase64(value[:min(len(value), 2*gram)], func(text string, lead []byte) {
		if lead == nil {
			s.begin(text, asBase64)
			return
		}
		s.begin(text, asBase64Lead)
		for _, c := range lead {
			s.beginPair(c, text[0], asBase64Lead)
		}
	})
}

// eachBase64 calls begin with the characters of base64 that depend on value alone, at each of
// the three offsets and with either alphabet, and with those of which one is before them, if
// value begins within it.
func eachBase64(value string, begin func(text string, lead []byte)) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, last := range []string{"+/", "-_"} {
		alphabet := letters + last
		enc := base64.NewEncoding(alphabet).WithPadding(base64.NoPadding)
		for offset := range 3 {
			bits := 8 * (offset + len(value))
			text := enc.EncodeToString(append(make([]byte, offset), value...))[:bits/6]
			from := (offset*8 + 5) / 6
			var lead []byte
			if offset > 0 {
				known := 6 - offset*2 // bits of the character before
				own := int(base64Value(text[from-1]))
				for i := range 1 << (6 - known) {
					lead = append(lead, alphabet[own&(1<<known-1)|i<<known])
				}
			}
			begin(text[from:], lead)
		}
	}
}
