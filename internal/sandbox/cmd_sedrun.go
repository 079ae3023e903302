package sandbox

import (
	"strings"
)

// sedRun applies a sed script to a text.
type sedRun struct {
	program []*sedCommand
	quiet   bool
	status  int

	out    strings.Builder
	lines  []string
	at     int // the number of the current line, starting at 1
	line   string
	append string // printed after the line
	del    bool
	quit   bool
}

func (s *sedRun) text(text string) string {
	final := strings.HasSuffix(text, "\n")
	s.lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		s.lines = nil
	}
	for s.at < len(s.lines) && !s.quit {
		s.line, s.append, s.del = s.lines[s.at], "", false
		s.at++
		s.run(s.program)
		s.finish()
	}
	out := s.out.String()
	if !final && s.at == len(s.lines) {
		out = strings.TrimSuffix(out, "\n")
	}
	return out
}

func (s *sedRun) finish() {
	if !s.quiet && !s.del {
		s.out.WriteString(s.line + "\n")
	}
	s.out.WriteString(s.append)
	s.append = ""
}

func (s *sedRun) run(program []*sedCommand) {
	for _, c := range program {
		if s.del || s.quit {
			return
		}
		if s.selects(c) != c.not {
			s.do(c)
		}
	}
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
	case '{':
		s.run(c.group)
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
	case 'q':
		s.quit, s.status = true, c.exit
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
		b.WriteString(s.line[end:m[0]])
		b.WriteString(replacement(c.text, s.line, m))
		end, done = m[1], true
	}
	if !done {
		return
	}
	s.line = b.String() + s.line[end:]
	if c.print {
		s.out.WriteString(s.line + "\n")
	}
}

// replacement expands & and \1 to \9 in the replacement of s.
func replacement(with, line string, m []int) string {
	var b strings.Builder
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
				b.WriteByte('\t')
			default:
				b.WriteByte(next)
			}
		default:
			b.WriteByte(with[i])
		}
	}
	return b.String()
}
