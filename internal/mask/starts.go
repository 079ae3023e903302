package mask

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
)

// starts tells quickly where in a text a secret cannot begin, from the first bytes
// of all secrets in all encodings.
type starts struct {
	special [256]bool      // bytes that may be part of an encoded character, or skipped
	first   [256]bool      // special bytes that may begin a secret
	value   [256]bool      // bytes that secrets begin with
	pairs   [1 << 16]kinds // of the first two bytes

	bits  int      // of the hashes of the first four bytes
	grams []uint64 // a bit for each hash
	kinds []kinds  // of the grams, by shorter hashes
	used  int      // bits set in grams
}

const (
	gram       = 4  // bytes
	fewestBits = 18 // 32 KiB, which fit in the fastest cache
	mostBits   = 24
	kindBits   = 3 // that the hashes of kinds are shorter by
)

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

func newStarts(bits int) *starts {
	s := &starts{bits: bits, grams: make([]uint64, 1<<bits/64), kinds: make([]kinds, 1<<(bits-kindBits))}
	for _, b := range []byte("\\%&'\"$=+^`\r\n\x00\b\x1b\x9b\xc2") {
		s.special[b] = true
	}
	for _, b := range []byte("\\%&=^`") { // may be any character, encoded
		s.first[b] = true
	}
	return s
}

func gramHash(text string) uint32 {
	_ = text[gram-1]
	const multiplier = 0x9e3779b1
	four := uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24
	return four * multiplier
}

// hit reports whether a secret may begin with the gram of this hash.
func (s *starts) hit(hash uint32) bool {
	h := hash >> (32 - s.bits)
	return s.grams[h>>6]>>(h&63)&1 != 0
}

// kind returns how a secret may begin with the gram of this hash.
func (s *starts) kind(hash uint32) kinds { return s.kinds[hash>>(32-s.bits+kindBits)] }

// full reports whether so many bits are set that larger tables would be faster.
func (s *starts) full() bool { return s.bits < mostBits && s.used > 1<<s.bits/16 }

func (s *starts) begin(text string, as kinds) {
	if len(text) < gram {
		return
	}
	hash := gramHash(text)
	if !s.hit(hash) {
		s.used++
	}
	h := hash >> (32 - s.bits)
	s.grams[h>>6] |= 1 << (h & 63)
	s.kinds[hash>>(32-s.bits+kindBits)] |= as
	if as != asBase64Lead {
		s.pairs[pair(text)] |= as
	}
}

func pair(text string) uint16 { return uint16(text[0])<<8 | uint16(text[1]) }

// add adds the beginnings of value in every encoding.
func (s *starts) add(value string) {
	s.first[value[0]], s.value[value[0]] = true, true
	if value[0] == ' ' {
		s.first['+'] = true
	}
	s.begin(value, asText)
	s.begin(value[:1]+"   ", asText) // od -c
	s.addNumbers(value)
	s.addBase64(value)
	wide := make([]byte, 0, 2*gram)
	for _, b := range []byte(value[:gram]) {
		wide = append(wide, b, 0)
	}
	s.addBase64(string(wide))
}

func (s *starts) addNumbers(value string) {
	const upper = "0123456789ABCDEF"
	first := hex.EncodeToString([]byte(value[:1]))
	firstUpper := string([]byte{upper[value[0]>>4], upper[value[0]&0xf]})
	for _, second := range []byte{value[1], 0} { // 0 for UTF-16
		s.begin(first+hex.EncodeToString([]byte{second}), asHex)
		s.begin(firstUpper+string([]byte{upper[second>>4], upper[second&0xf]}), asHex)
		for _, sep := range []byte(separators) {
			s.begin(first+string(sep)+hex.EncodeToString([]byte{second}), asHex)
			s.begin(firstUpper+string(sep)+string([]byte{upper[second>>4], upper[second&0xf]}), asHex)
		}
	}
	for _, sep := range []string{", ", "; ", "  ", ",0", " 0"} { // further separators, and 0x
		s.begin(first+sep, asHex)
		s.begin(firstUpper+sep, asHex)
	}
	for _, sep := range []string{", ", ",", " "} {
		s.begin(strconv.Itoa(int(value[0]))+sep+strconv.Itoa(int(value[1])), asDecimal)
	}
}

// addBase64 adds value at each of its three offsets in base64. A gram consists of
// characters that depend on value alone. At two of the offsets, value begins within
// the character before.
func (s *starts) addBase64(value string) {
	value = value[:min(len(value), 2*gram)]
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, last := range []string{"+/", "-_"} {
		alphabet := letters + last
		enc := base64.NewEncoding(alphabet).WithPadding(base64.NoPadding)
		for offset := range 3 {
			text := enc.EncodeToString(append(make([]byte, offset), value...))
			from := (offset*8 + 5) / 6
			if offset == 0 {
				s.begin(text, asBase64)
				continue
			}
			s.begin(text[from:], asBase64Lead)
			known := 6 - offset*2 // bits of the character before
			lead := int(base64Value(text[from-1]))
			for i := range 1 << (6 - known) {
				s.pairs[pair(string([]byte{alphabet[lead&(1<<known-1)|i<<known], text[from]}))] |= asBase64Lead
			}
		}
	}
}

// A scanner finds the positions of a text where a secret may begin.
type scanner struct {
	*starts
	text    string
	special int // the first special byte from the current position on
}

// next returns the first position from p on where a secret may begin, and how, or
// len(text).
func (s *scanner) next(p int) (int, kinds) {
	for p < len(s.text) {
		if s.special < p {
			s.special = p
		}
		for s.special < len(s.text) && !s.starts.special[s.text[s.special]] {
			s.special++
		}
		if p+gram < s.special {
			hash := gramHash(s.text[p:])
			hit := s.hit(hash)
			for ; p+gram < s.special; p++ {
				nextHash := gramHash(s.text[p+1:])
				nextHit := s.hit(nextHash)
				if hit || nextHit {
					var as kinds
					if hit {
						as = s.kind(hash) &^ asBase64Lead
					}
					if nextHit {
						as |= s.kind(nextHash) & asBase64Lead
					}
					if as != 0 {
						return p, as
					}
				}
				hash, hit = nextHash, nextHit
			}
		}
		for ; p < s.special; p++ {
			as := asAny
			if p+1 < s.special {
				as = s.pairs[pair(s.text[p:])]
			}
			if as != 0 {
				return p, as
			}
		}
		if p < len(s.text) {
			if s.first[s.text[p]] {
				return p, asAny
			}
			p++
		}
	}
	return len(s.text), 0
}
