package mask

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// A sieve tells quickly which parts of a text a [scanner] must look at. It keeps only
// characters that stand for themselves, and finds what secrets begin with by the first four
// of them. It leaves out those that readings skip or put between others, from secrets as
// well as from texts, so that it need not know why they are there. Around those that change
// what others mean, such as a percent sign before a digit, it leaves the text to the scanner.
type sieve struct {
	bytes  [256]sieveByte
	early  [256]bool // bytes of secrets, up to the fourth that is kept
	grams  gramTable
	coarse bool // a secret has too few characters to keep
}

// A sieveByte is what a sieve does with a byte: flags, and the byte itself above them if it
// is kept.
type sieveByte uint32

const (
	sieveKeep  sieveByte = 8  // it is kept; to shift others by
	sieveShift sieveByte = 31 // the mask of that
	sieveLook  sieveByte = 32 // it may change what others mean
	sieveLine  sieveByte = 64 // a line break, which may do so before a zero
)

// sample is how much of a secret a sieve looks at, at most, in bytes.
const sample = 24

func newSieve() sieve {
	var s sieve
	for c := range s.bytes {
		s.bytes[c] = sieveKeep | sieveByte(c)<<8
	}
	for _, c := range []byte("\x00\r\n'\"`^$%&=+#\\[]()" + separators) {
		s.bytes[c] = 0
	}
	for _, c := range []byte("%&=\\\b\x1b\x9b\xc2\xe2") {
		s.bytes[c] |= sieveLook
	}
	s.bytes['\n'] |= sieveLine
	return s
}

func (s *sieve) keeps(c byte) bool { return s.bytes[c]&sieveKeep != 0 }

// addSecret adds the beginnings of a secret in every encoding.
func (s *sieve) addSecret(value string) {
	value = value[:min(len(value), sample)]
	for n, i := 0, 0; i < len(value) && n < gram; i++ {
		s.early[value[i]] = true
		if s.keeps(value[i]) {
			n++
		}
	}
	s.begin(value)
	for _, first := range digitsOf(value[0]) {
		for _, second := range append(digitsOf(value[1]), "00", "0x", "0X") { // 00 in UTF-16
			s.begin(first + second)
		}
	}
	s.beginDecimal("", value)
	for _, v := range []string{value, wide(value)} {
		eachBase64(v, func(text string, _ []byte) { s.begin(text) })
	}
}

// digitsOf returns the hexadecimal digits of a byte in either case.
func digitsOf(b byte) []string {
	lower := hex.EncodeToString([]byte{b})
	return []string{lower, strings.ToUpper(lower)}
}

// beginDecimal adds the list of the bytes of value behind the digits of those before.
func (s *sieve) beginDecimal(before, value string) {
	if len(before) >= gram || value == "" {
		s.begin(before)
		return
	}
	number := strconv.Itoa(int(value[0]))
	if before == "" {
		s.beginDecimal(number, value[1:])
		return
	}
	for n := number; len(n) <= 3; n = "0" + n {
		s.beginDecimal(before+n, value[1:])
	}
}

// begin adds a text that a secret begins with.
func (s *sieve) begin(text string) {
	kept := slices.DeleteFunc([]byte(text), func(c byte) bool { return !s.keeps(c) })
	switch {
	case len(kept) >= gram:
		s.add(kept)
	case len(kept) == gram-1: // and any character behind it
		for c := range len(s.bytes) {
			if b := byte(c & 0xff); s.keeps(b) {
				s.add(append(kept, b))
			}
		}
	default:
		s.coarse = true
	}
}

// add adds the first characters of kept, of which a sieve has the last one lowest.
func (s *sieve) add(kept []byte) {
	s.grams.add(uint32(kept[0])<<24|uint32(kept[1])<<16|uint32(kept[2])<<8|uint32(kept[3]), asAny)
}
