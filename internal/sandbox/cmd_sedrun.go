package sandbox

import (
	"strings"
)

// sedRun applies a sed script to a text.
type sedRun struct {
	p       *Process
	program []*sedCommand
	quiet   bool
	status  int
	held    int64 // bytes that the process holds for the texts
	failed  error // why the script ended early

	out    strings.Builder
	lines  []string
	at     int // the number of the current line, starting at 1
	line   string
	append string // printed after the line
	del    bool
	quit   bool
	hold   string
	done   bool // s replaced something since the line was read or t jumped
	again  bool // D starts the script again without reading a line
	read   func(name string) string
	name   string // of the file
	end    string // what separates lines
}

func (s *sedRun) text(text string) string {
	if s.end == "" {
		s.end = "\n"
	}
	final := strings.HasSuffix(text, s.end)
	s.lines = strings.Split(strings.TrimSuffix(text, s.end), s.end)
	if text == "" {
		s.lines = nil
	}
	for s.at < len(s.lines) && !s.quit || s.again && !s.quit {
		if !s.again {
			s.line = s.lines[s.at]
			s.at++
		}
		s.append, s.del, s.done, s.again = "", false, false, false
		s.run()
		s.finish()
	}
	out := s.out.String()
	if !final && s.at == len(s.lines) {
		out = strings.TrimSuffix(out, s.end)
	}
	return out
}

func (s *sedRun) finish() {
	if !s.quiet && !s.del {
		s.out.WriteString(s.line + s.end)
	}
	s.out.WriteString(s.append)
	s.append = ""
}

// maxJumps bounds the jumps that a script makes for one line.
const maxJumps = 1_000_000

func (s *sedRun) run() {
	jumps := 0
	for pc := 0; pc < len(s.program) && !s.del && !s.quit && s.fits(0); pc++ {
		c := s.program[pc]
		if s.selects(c) == c.not {
			if c.name == '{' {
				pc = c.skip - 1
			}
			continue
		}
		jump := c.name == 'b' || c.name == 't' && s.done || c.name == 'T' && !s.done
		if c.name == 't' || c.name == 'T' {
			s.done = false
		}
		if jump {
			if jumps++; c.label == "" || jumps > maxJumps {
				return
			}
			pc = labelIndex(s.program, c.label)
			continue
		}
		s.do(c)
	}
}

// fits counts a step and reports whether the texts, with more bytes, are within the
// machine's memory.
func (s *sedRun) fits(more int64) bool {
	size := int64(s.out.Len()+len(s.line)+len(s.append)+len(s.hold)) + more
	switch {
	case !s.p.session.step(1):
		s.p.kill(signal("XCPU"))
	case size > s.held && !s.p.hold(2*size-s.held): //nolint:mnd // as much again for the next
	default:
		if size > s.held {
			s.held = 2 * size
		}
		return true
	}
	s.failed, s.quit = errMemory, true
	return false
}

func (s *sedRun) matches(a *sedAddress) bool {
	switch {
	case a.last:
		return s.at == len(s.lines)
	case a.re != nil:
		return a.re.MatchString(s.line)
	}
	return a.line == s.at
}

func (s *sedRun) selects(c *sedCommand) bool {
	switch {
	case c.from == nil:
		return true
	case c.to == nil:
		return s.matches(c.from)
	case c.inside:
		c.inside = !s.matches(c.to) && (c.to.line == 0 || s.at < c.to.line)
		return true
	case !s.matches(c.from):
		return false
	}
	c.inside = c.to.line == 0 || c.to.line > s.at
	return true
}

func (s *sedRun) do(c *sedCommand) {
	switch c.name {
	case 's':
		s.substitute(c)
	case 'y':
		half := len(c.text) / 2
		s.line = strings.Map(func(r rune) rune {
			if i := strings.IndexRune(c.text[:half], r); i >= 0 {
				return rune(c.text[half+i])
			}
			return r
		}, s.line)
	case 'd':
		s.del = true
	case 'p':
		s.out.WriteString(s.line + "\n")
	case '=':
		s.out.WriteString(itoa(s.at) + "\n")
	case 'a':
		s.append += c.text
	case 'i':
		s.out.WriteString(c.text)
	case 'c':
		if !c.inside {
			s.out.WriteString(c.text)
		}
		s.del = true
	case 'n':
		s.finish()
		if s.at == len(s.lines) {
			s.del, s.quit = true, true
			return
		}
		s.line = s.lines[s.at]
		s.at++
	case 'N':
		if s.at == len(s.lines) {
			s.quit = true
			return
		}
		s.line += s.end + s.lines[s.at]
		s.at++
	case 'D':
		_, rest, more := strings.Cut(s.line, "\n")
		s.del, s.again = true, more
		s.line = rest
	case 'P':
		first, _, _ := strings.Cut(s.line, "\n")
		s.out.WriteString(first + s.end)
	case 'h':
		s.hold = s.line
	case 'H':
		if !s.fits(int64(len(s.line))) {
			return
		}
		s.hold += "\n" + s.line
	case 'g':
		s.line = s.hold
	case 'G':
		if !s.fits(int64(len(s.hold))) {
			return
		}
		s.line += "\n" + s.hold
	case 'x':
		s.line, s.hold = s.hold, s.line
	case 'z':
		s.line = ""
	case 'F':
		s.out.WriteString(s.name + "\n")
	case 'r':
		if text := s.read(c.text); s.fits(int64(len(text))) {
			s.append += text
		}
	case 'q':
		s.quit, s.status = true, c.exit
		s.del = s.del || c.quiet
	}
}

func (s *sedRun) substitute(c *sedCommand) {
	matches := c.re.FindAllStringSubmatchIndex(s.line, -1)
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
		s.out.WriteString(s.line + "\n")
	}
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
			case next == 't':
				b.WriteString("\t")
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
