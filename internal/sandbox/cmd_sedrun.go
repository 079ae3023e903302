package sandbox

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
)

// sedRun applies a sed script to lines.
type sedRun struct {
	p        *Process
	program  []*sedCommand
	quiet    bool
	status   int
	held     int64  // bytes that the process holds for the texts
	failed   error  // why the script ended early
	name     string // of the file
	end      string // what separates lines
	in       sedInput
	flush    func(text string) error     // called after every line
	files    map[string]*strings.Builder // of w
	previous *regexp.Regexp              // the meaning of an empty expression

	out     strings.Builder
	at      int // the number of the current line, starting at 1
	line    string
	whole   bool   // the current line ended with what separates lines
	missing bool   // the output so far does not
	append  string // printed after the line
	del     bool
	quit    bool
	hold    string
	done    bool // s replaced something since the line was read or t jumped
	again   bool // D starts the script again without reading a line
}

// sedInput reads lines, of which it looks one ahead when that matters.
type sedInput struct {
	r      *bufio.Reader
	delim  byte
	next   string
	looked bool
	err    error
}

// more reports whether there is another line.
func (in *sedInput) more() bool {
	if !in.looked {
		in.next, in.err = readUntilByte(in.r, in.delim)
		in.looked = true
	}
	return in.next != ""
}

// read takes the next line and reports whether there is one.
func (s *sedRun) read() bool {
	if !s.in.more() {
		return false
	}
	s.line, s.whole = strings.CutSuffix(s.in.next, s.end)
	s.at++
	s.in.looked, s.in.next = false, ""
	return true
}

// run applies the script to all lines of r.
func (s *sedRun) run(r io.Reader) error {
	s.in = sedInput{r: bufio.NewReader(r), delim: s.end[0]}
	if s.files == nil {
		s.files = map[string]*strings.Builder{}
		for _, c := range s.program {
			if c.file != "" && c.name != 'r' {
				s.files[c.file] = &strings.Builder{}
			}
		}
	}
	for !s.quit && (s.again || s.read()) {
		s.append, s.del, s.done, s.again = "", false, false, false
		s.cycle()
		s.finish()
		if err := s.flush(s.out.String()); err != nil {
			return err
		}
		s.out.Reset()
	}
	if s.failed != nil {
		return s.failed
	}
	if errors.Is(s.in.err, io.EOF) {
		return nil
	}
	return s.in.err
}

// put prints a line, and as its end what the input had.
func (s *sedRun) put(line string) {
	s.print(line)
	if !s.whole && !s.in.more() {
		text := strings.TrimSuffix(s.out.String(), s.end)
		s.out.Reset()
		s.out.WriteString(text)
		s.missing = true
	}
}

// print prints a line.
func (s *sedRun) print(line string) { s.emit(line + s.end) }

// emit prints text on a line of its own.
func (s *sedRun) emit(text string) {
	if s.missing {
		text = s.end + text
		s.missing = false
	}
	s.out.WriteString(text)
}

func (s *sedRun) finish() {
	if !s.quiet && !s.del {
		s.put(s.line)
	}
	if s.append != "" {
		s.emit(s.append)
	}
	s.append = ""
}

// maxJumps bounds the jumps that a script makes for one line.
const maxJumps = 1_000_000

// cycle runs the script for the current line.
func (s *sedRun) cycle() {
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
	size := int64(s.out.Len()+len(s.in.next)+len(s.line)+len(s.append)+len(s.hold)) + more
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
		return !s.in.more()
	case a.re != nil || a.previous:
		re := s.expression(a.re)
		return re != nil && re.MatchString(s.line)
	case a.step > 0:
		return s.at >= a.line && (s.at-a.line)%a.step == 0
	}
	return a.line == s.at
}

// expression returns re, or the expression that was used last if it is nil.
func (s *sedRun) expression(re *regexp.Regexp) *regexp.Regexp {
	if re == nil {
		re = s.previous
	}
	if s.previous = re; re == nil {
		s.failed, s.quit = errors.New("no previous regular expression"), true
	}
	return re
}

func (s *sedRun) selects(c *sedCommand) bool {
	fromStart := c.from != nil && c.to != nil && c.from.line == 0 && c.from.step == 0 && c.from.re == nil && !c.from.last && !c.from.previous
	switch {
	case c.from == nil:
		return true
	case c.to == nil:
		return s.matches(c.from)
	case fromStart && !c.began:
		c.began, c.inside = true, true
		fallthrough
	case c.inside:
		if c.lastLine > 0 {
			c.inside = s.at < c.lastLine
			return s.at <= c.lastLine
		}
		c.inside = !s.matches(c.to)
		return true
	case fromStart || !s.matches(c.from):
		return false
	}
	switch {
	case c.to.plus >= 0:
		c.lastLine = s.at + c.to.plus
	case c.to.multiple > 0:
		c.lastLine = (s.at + c.to.multiple - 1) / c.to.multiple * c.to.multiple
	case c.to.line > 0:
		c.lastLine = c.to.line
	}
	c.inside = c.lastLine == 0 && (!c.to.last || s.in.more()) || c.lastLine > s.at
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
	case 'l':
		s.print(visibly(s.line) + "$")
	case 'w':
		s.write(c.file, s.line)
	case 'd':
		s.del = true
	case 'p':
		s.put(s.line)
	case '=':
		s.emit(itoa(s.at) + "\n")
	case 'a':
		s.append += c.text
	case 'i':
		s.emit(c.text)
	case 'c':
		if !c.inside {
			s.emit(c.text)
		}
		s.del = true
	case 'n':
		if !s.in.more() { // GNU sed prints the line
			s.quit = true
			return
		}
		s.finish()
		s.read()
	case 'N':
		if !s.in.more() {
			s.quit = true
			return
		}
		line := s.line
		s.read()
		s.line = line + s.end + s.line
	case 'D':
		_, rest, more := strings.Cut(s.line, "\n")
		s.del, s.again = true, more
		s.line = rest
	case 'P':
		first, _, _ := strings.Cut(s.line, "\n")
		s.emit(first + s.end)
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
		s.emit(s.name + "\n")
	case 'r':
		data, _ := s.p.FS.ReadFile(s.p.Path(c.file)) // a missing file is empty
		if s.fits(int64(len(data))) {
			s.append += string(data)
		}
	case 'q':
		s.quit, s.status = true, c.exit
		s.del = s.del || c.quiet
	}
}

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
		s.files[name].WriteString(line + "\n")
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
