package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// slice implements ${x:offset:length}.
func (e *expander) slice(s *syntax.Slice, val value, quoted bool) {
	r := e.r
	offset, ok := int64(0), true
	if s.Offset != nil {
		offset, ok = r.arith(s.Offset)
	}
	length, limited := int64(0), s.Length != nil
	if ok && limited {
		length, ok = r.arith(s.Length)
	}
	if !ok {
		r.flow = flowDiscard
		return
	}
	if !val.isList {
		runes := []rune(val.str)
		from, to, ok := bounds(int64(len(runes)), offset, length, limited)
		if !ok {
			r.fatal("%d: substring expression < 0", length)
			return
		}
		e.expansion(string(runes[from:to]), quoted)
		return
	}
	all := val.list
	switch {
	case val.name == "@" || val.name == "*":
		all = append([]string{r.arg0}, all...)
		if offset < 0 {
			offset += int64(len(all))
			if offset < 0 {
				offset = int64(len(all))
			}
		}
	case val.v != nil && val.v.list != nil:
		keys := val.v.keys()
		if offset < 0 && len(keys) > 0 {
			last, _ := strconv.ParseInt(keys[len(keys)-1], 10, 64)
			if offset += last + 1; offset < 0 {
				offset = last + 1
			}
		}
		at := slices.IndexFunc(keys, func(k string) bool { n, _ := strconv.ParseInt(k, 10, 64); return n >= offset })
		if at < 0 {
			at = len(all)
		}
		offset = int64(at)
	}
	if limited && length < 0 {
		r.fatal("%d: substring expression < 0", length)
		return
	}
	from, to, _ := bounds(int64(len(all)), offset, length, limited)
	e.list(all[from:to], val.star, quoted)
}

// bounds returns the range of n elements that an offset and a length select.
func bounds(n, offset, length int64, limited bool) (from, to int64, ok bool) {
	if offset < 0 {
		if offset += n; offset < 0 {
			return 0, 0, true
		}
	}
	offset = min(offset, n)
	to = n
	if limited {
		if length < 0 {
			to = n + length
		} else if length < n-offset {
			to = offset + length
		}
	}
	return offset, max(to, offset), to >= offset
}

// ansiC returns the value of a $'...' string.
func ansiC(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'u', 'U', 'x':
			most := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			n := 0
			for n < most && i+1+n < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[i+1+n]) >= 0 {
				n++
			}
			code, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
			switch {
			case err != nil:
				b.WriteString(`\` + string(c))
			case c == 'x':
				b.WriteByte(byte(code)) //nolint:gosec // two digits
			default:
				b.WriteRune(rune(code)) //nolint:gosec // invalid characters become U+FFFD
			}
			i += n
		case 'c':
			if i+1 < len(s) {
				i++
				b.WriteByte(s[i] & 0x1f)
			}
		default:
			if at := strings.IndexByte(`abeEfnrtv\'"?`, c); at >= 0 {
				b.WriteByte("\a\b\x1b\x1b\f\n\r\t\v\\'\"?"[at])
				continue
			}
			n := 0
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				n++
			}
			if n == 0 {
				b.WriteString(`\` + string(c))
				continue
			}
			code, _ := strconv.ParseUint(s[i:i+n], 8, 16)
			b.WriteByte(byte(code)) //nolint:gosec // wraps, as in C
			i += n - 1
		}
	}
	text, _, _ := strings.Cut(b.String(), "\x00")
	return text
}
