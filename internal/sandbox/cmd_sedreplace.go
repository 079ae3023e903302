package sandbox

import "strings"

func (s *sedRun) substitute(c *sedCommand) {
	re := s.expression(c.re)
	if re == nil {
		return
	}
	matches := re.FindAllStringSubmatchIndex(s.line, -1)
	var b strings.Builder
	end, done := 0, false
	for i, m := range matches {
		if c.nth > 0 && (i+1 < c.nth || i+1 > c.nth && !c.global) || c.nth == 0 && i > 0 && !c.global {
			continue
		}
		if !s.fits(int64(b.Len()) + int64(len(c.text)) + int64(strings.Count(c.text, "&")+strings.Count(c.text, `\`))*int64(m[1]-m[0])) {
			return
		}
		b.WriteString(s.line[end:m[0]])
		b.WriteString(replacement(c.text, s.line, m))
		end, done = m[1], true
	}
	if !done {
		return
	}
	s.line = b.String() + s.line[end:]
	s.done = true
	if c.print {
		s.put(s.line)
	}
	if c.file != "" {
		s.write(c.file, s.line)
	}
}

// write appends a line to a file of w.
func (s *sedRun) write(name, line string) {
	switch {
	case !s.fits(int64(len(line) + s.files[name].Len())):
	case name == "/dev/stdout":
		s.print(line)
	default:
		_, _ = s.files[name].WriteString(line + "\n") // never fails
	}
}

// visibly returns a line as the command l prints it.
func visibly(line string) string {
	var b strings.Builder
	for i := range len(line) {
		c := line[i]
		at := strings.IndexByte("\a\b\f\n\r\t\v\\", c)
		switch {
		case at >= 0:
			b.WriteString(`\` + `abfnrtv\`[at:at+1])
		case c < ' ' || c > '~':
			fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// replacement expands & and \1 to \9 in the replacement of s.
func replacement(with, line string, m []int) string {
	var b caseBuilder
	group := func(n int) {
		if 2*n+1 < len(m) && m[2*n] >= 0 {
			b.WriteString(line[m[2*n]:m[2*n+1]])
		}
	}
	for i := 0; i < len(with); i++ {
		switch {
		case with[i] == '&':
			group(0)
		case with[i] == '\\' && i+1 < len(with):
			i++
			switch next := with[i]; {
			case next >= '0' && next <= '9':
				group(int(next - '0'))
			case strings.IndexByte("tfvar", next) >= 0:
				b.WriteString(map[byte]string{'t': "\t", 'f': "\f", 'v': "\v", 'a': "\a", 'r': "\r"}[next])
			case strings.IndexByte("ULEul", next) >= 0:
				b.convert(next)
			default:
				b.WriteString(string(next))
			}
		default:
			b.WriteString(with[i : i+1])
		}
	}
	return b.String()
}

// caseBuilder implements \U, \L, \u, \l and \E.
type caseBuilder struct {
	strings.Builder
	all, next byte
}

func (b *caseBuilder) convert(how byte) {
	switch how {
	case 'u', 'l':
		b.next = how
	case 'E':
		b.all = 0
	default:
		b.all = how
	}
}

func (b *caseBuilder) WriteString(s string) {
	switch b.all {
	case 'U':
		s = strings.ToUpper(s)
	case 'L':
		s = strings.ToLower(s)
	}
	if s != "" && b.next != 0 {
		first := map[byte]func(string) string{'u': strings.ToUpper, 'l': strings.ToLower}[b.next](s[:1])
		s, b.next = first+s[1:], 0
	}
	_, _ = b.Builder.WriteString(s) // never fails
}
