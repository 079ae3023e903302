package mask

import "strings"

// stretch moves on to the next part of the text in which a secret may begin, and returns its
// first position. s.upTo is the position behind it.
func (s *scanner) stretch() (from int) {
	v, text := &s.sieve, s.text
	if v.coarse {
		s.upTo = len(text)
		return 0
	}
	for i := s.sifted; ; {
		i = s.sift(i)
		for behind := min(i+2*gram, len(text)); i < behind; i++ {
			b := v.bytes[text[i]]
			if b&(sieveLook|sieveLine) != 0 {
				for b&sieveKeep == 0 && i+1 < len(text) && text[i] == text[i+1] {
					i++ // which means the same
				}
				if n := s.skip(i); n > 0 {
					i += n - 1
					continue
				}
				if s.changes(i) {
					from = s.back(i, gram+1) + 1
					s.sifted, s.upTo, s.kept, s.skipped = i+1, i+1, 0, s.skipped[:0]
					return from
				}
			}
			s.kept = s.kept<<(b&sieveKeep) | uint32(b>>8)
			if v.grams.kinds(s.kept) != 0 && b&sieveKeep != 0 {
				first := s.back(i+1, gram)
				from = s.back(first, 2) + 1
				s.sifted, s.upTo = i+1, first+1
				return from
			}
		}
		if i == len(text) {
			from = s.back(i, gram+1) + 1
			s.sifted, s.upTo = i, i
			return from
		}
	}
}

// back returns the position of the nth kept byte before i, or else the last position that
// was looked at.
func (s *scanner) back(i, n int) int {
	skipped := len(s.skipped) - 1
	for skipped >= 0 && s.skipped[skipped].to > i {
		skipped--
	}
	for i--; i >= s.upTo; i-- {
		if skipped >= 0 && i == s.skipped[skipped].to-1 {
			i = s.skipped[skipped].from
			skipped--
			continue
		}
		if s.sieve.keeps(s.text[i]) {
			if n--; n == 0 {
				break
			}
		}
	}
	return max(i, s.upTo-1)
}

// skip returns the length of the terminal's escape sequence at the position if every reading
// from before it skips it, and no secret may begin within it.
func (s *scanner) skip(at int) int {
	const most = 4
	n := s.sequence(at)
	if n == 0 || s.beginsWithin(at+1, at+n) {
		return 0
	}
	if len(s.skipped) == most {
		if s.skipped[0].to > s.back(at, gram+2) {
			return 0
		}
		s.skipped = append(s.skipped[:0], s.skipped[1:]...)
	}
	s.skipped = append(s.skipped, span{at, at + n})
	return n
}

// sequence returns the length of the terminal's escape sequence at the position if it is
// whole and no secret may have its first byte.
func (s *scanner) sequence(at int) int {
	if c := s.text[at]; c != 0x1b && c != 0x9b || s.sieve.early[c] {
		return 0
	}
	n, whole := sequence(s.text[at:])
	if !whole {
		return 0
	}
	return n
}

// beginsWithin reports whether a secret may begin between two positions.
func (s *scanner) beginsWithin(from, to int) bool {
	const farthest = 32 // behind them
	var kept uint32
	for i, behind := from, 0; i < min(len(s.text), to+farthest); i++ {
		b := s.sieve.bytes[s.text[i]]
		if b&(sieveLook|sieveLine) != 0 && s.changes(i) {
			n := s.sequence(i)
			if n == 0 || i < to {
				return true
			}
			i += n - 1
			continue
		}
		if b&sieveKeep == 0 {
			continue
		}
		kept = kept<<8 | uint32(b>>8)
		if s.sieve.grams.kinds(kept) != 0 {
			return true
		}
		if i >= to {
			if behind++; behind == gram-1 {
				return false
			}
		}
	}
	return true
}

// sift returns the first position from i on that eight bytes begin at which must be looked
// at, or at which the text has fewer than nine. Most of a text is looked at here alone, so the
// eight are written out: a loop over them takes 1.2 to 1.4 times as long.
func (s *scanner) sift(i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	bytes, hashes := &s.sieve.bytes, &s.sieve.grams.hashes
	kept := s.kept
	for ; i+2*gram < len(s.text); i += 2 * gram {
		t := s.text[i : i+2*gram+1]
		w := wordOf(t)
		row := (w ^ '\n'*ones) | ((w>>8 | uint64(t[2*gram])<<56) ^ '0'*ones) // zero where "\n0" is
		row = (row - ones) &^ row & tops
		b := bytes[byte(w&0xff)]
		k := kept<<(b&sieveShift) | uint32(b>>8)
		look, hit := b, hashes[hash(k)]
		b = bytes[byte(w>>8&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		b = bytes[byte(w>>16&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		b = bytes[byte(w>>24&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		b = bytes[byte(w>>32&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		b = bytes[byte(w>>40&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		b = bytes[byte(w>>48&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		b = bytes[byte(w>>56&0xff)]
		k = k<<(b&sieveShift) | uint32(b>>8)
		look, hit = look|b, hit|hashes[hash(k)]
		if row|uint64(look&sieveLook)|uint64(hit) != 0 {
			break
		}
		kept = k
	}
	s.kept = kept
	return i
}

// changes reports whether the byte at the position may change what those around it mean to a
// reading, or end one.
func (s *scanner) changes(at int) bool {
	rest := s.text[at+1:]
	if rest == "" {
		return true
	}
	switch next := rest[0]; s.text[at] {
	case '\n':
		return odAddress(rest) > 0
	case '%':
		return next == 'u' || hexDigit(next)
	case '&':
		return entityLike(rest)
	case '=':
		value, end := hexNumber(s.text, at+1)
		return end > at+1 && (end < at+3 || s.sieve.early[value])
	case '\\':
		return strings.IndexByte("ntrbfvaeExuU01234567", next) >= 0
	case 0xc2:
		return next == 0x9b || next == 0x90 || next == 0x9d
	case 0xe2:
		const ellipsis = "\x80\xa6"
		return strings.HasPrefix(rest, ellipsis) || strings.HasPrefix(ellipsis, rest)
	}
	return true
}
