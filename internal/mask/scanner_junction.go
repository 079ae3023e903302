package mask

// A junction is what is around special bytes.
type junction struct {
	before uint32 // the last four bytes
	behind uint32 // the first four
	known  int    // of those behind
}

// bytes returns the last n bytes before j and those behind it, the first one lowest.
func (j *junction) bytes(n int) uint64 {
	return (uint64(j.before) | uint64(j.behind)<<32) >> (8 * (gram - n))
}

// quiet reports whether no secret may begin at the last n bytes before j.
func (j *junction) quiet(grams *gramTable, n int) bool {
	if j.known < gram {
		return false
	}
	for w := j.bytes(n); n >= 0; n-- {
		if grams.may(uint32(w & 0xffffffff)) {
			return false
		}
		w >>= 8
	}
	return true
}

// kinds returns how a secret may begin with the last n bytes before j.
func (j *junction) kinds(s *starts, n int) kinds {
	w := j.bytes(n)
	own, next, pair := uint32(w&0xffffffff), uint32(w>>8&0xffffffff), uint16(w&0xffff)
	switch n += j.known; {
	case n > gram:
		return s.grams.kinds(own)&^asBase64Lead | s.grams.kinds(next)&asBase64Lead
	case n == gram:
		return s.grams.kinds(own)&^asBase64Lead | s.pairs[pair]&asBase64Lead
	case n > 1:
		return s.pairs[pair]
	default:
		return s.single[byte(w&0xff)]
	}
}

// join finds what is around the special bytes at end.
func (s *scanner) join() {
	s.joined = true
	var before uint32
	if s.end >= gram {
		before = gramOf(s.text[s.end-gram:])
	} else {
		for i := range s.end {
			before = before>>8 | uint32(s.text[i])<<24
		}
	}
	after, n := s.behind(false)
	s.asText = junction{before, after, n}
	blanks := blanksIn(after)
	s.spaced = false
	if !blanks && !blanksIn(before) {
		return
	}
	before = withoutBlanks(before)
	if base64Value(byte(before>>24)) == noBase64 || n > 0 && !blanks && base64Value(byte(after&0xff)) == noBase64 {
		return // base64 does not continue here
	}
	if blanks || n < gram {
		after, n = s.behind(true)
	}
	s.spaced, s.asCode = true, junction{before, after, n}
}

// behind returns the first characters behind the special bytes at end, and how many of
// them are known.
func (s *scanner) behind(spaces bool) (uint32, int) {
	if s.length <= 0 {
		return 0, 0
	}
	at := s.end + s.length
	if !spaces && at+gram <= len(s.text) {
		if t := s.text[at : at+gram]; !s.stops[t[0]] && !s.stops[t[1]] && !s.stops[t[2]] && !s.stops[t[3]] {
			return gramOf(t), gram
		}
	}
	return s.gather(at, spaces)
}

// blanksIn reports whether one of the bytes of a gram is a space or tab.
func blanksIn(gram uint32) bool {
	const ones, tops, spaces, tabs = 0x01010101, 0x80808080, 0x20202020, 0x09090909
	space, tab := gram^spaces, gram^tabs
	return ((space-ones)&^space|(tab-ones)&^tab)&tops != 0
}

// withoutBlanks moves the bytes of a gram besides blanks to its end.
func withoutBlanks(gram uint32) (out uint32) {
	for range 4 {
		if !isBlank(byte(gram & 0xff)) {
			out = out>>8 | gram<<24
		}
		gram >>= 8
	}
	return out
}

// gather returns the characters from the position on, without what readings skip, and
// perhaps without spaces, up to characters that readings differ about, and their number.
func (s *scanner) gather(at int, spaces bool) (chars uint32, n int) {
	const longest = 64
	for steps := 0; n < gram && at < len(s.text) && steps < longest; steps++ {
		c := s.text[at]
		if s.quotes[c] && at+1 < len(s.text) {
			at++
			continue
		}
		if s.stops[c] {
			length, _ := s.reading(at)
			if length < 0 {
				break
			}
			if length > 0 {
				at += length
				continue
			}
		} else if spaces && isBlank(c) {
			at++
			continue
		}
		chars |= uint32(c) << (8 * n)
		n, at = n+1, at+1
	}
	return chars, n
}
