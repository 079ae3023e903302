package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A sedCommand is a command of a sed script, or the start of a group of commands.
type sedCommand struct {
	from, to *sedAddress
	not      bool
	name     byte
	re       *regexp.Regexp // for s
	text     string         // the replacement of s, the text of a, i and c, or both sets of y
	global   bool
	print    bool
	nth      int
	exit     int
	file     string // that w and the flag w write to
	quiet    bool   // for q: without printing
	group    []*sedCommand
	skip     int    // for a group: the index after it
	label    string // for :, b and t
	inside   bool   // the current line is inside the address range
	began    bool   // a range from line 0 has begun
	lastLine int    // of the address range, if it is known
}

type sedAddress struct {
	line     int // 0 for an expression, and for the line before the first
	step     int // of first~step
	last     bool
	re       *regexp.Regexp // nil also for the last one used, see previous
	plus     int            // of addr,+n; -1 if there is none
	multiple int            // of addr,~n
	previous bool           // the expression that was used last
}

// sedParser parses a script.
type sedParser struct {
	text     string // not yet parsed
	extended bool
}

func parseSed(text string, extended bool) ([]*sedCommand, error) {
	s := &sedParser{text: text, extended: extended}
	list, err := s.list(false)
	if err == nil && s.text != "" {
		err = errors.New("unexpected '}'")
	}
	program := flatten(nil, list)
	for _, c := range program {
		if (c.name == 'b' || c.name == 't' || c.name == 'T') && c.label != "" && labelIndex(program, c.label) < 0 {
			err = fmt.Errorf("can't find label for jump to '%s'", c.label)
		}
	}
	return program, err
}

// flatten appends the commands of a list and of its groups.
func flatten(program, list []*sedCommand) []*sedCommand {
	for _, c := range list {
		program = append(program, c)
		program = flatten(program, c.group)
		c.skip = len(program)
	}
	return program
}

// labelIndex returns the index of a label, or -1.
func labelIndex(program []*sedCommand, label string) int {
	for i, c := range program {
		if c.name == ':' && c.label == label {
			return i
		}
	}
	return -1
}

func (s *sedParser) list(nested bool) ([]*sedCommand, error) {
	var all []*sedCommand
	for {
		s.text = strings.TrimLeft(s.text, " \t\n;")
		if s.text == "" {
			if nested {
				return nil, errors.New("unmatched '{'")
			}
			return all, nil
		}
		if s.text[0] == '}' {
			if nested {
				s.text = s.text[1:]
			}
			return all, nil
		}
		if s.text[0] == '#' {
			_, s.text, _ = strings.Cut(s.text, "\n")
			continue
		}
		c, err := s.command()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
}

func (s *sedParser) command() (*sedCommand, error) {
	c := &sedCommand{}
	var err error
	if c.from, err = s.address(); err != nil {
		return nil, err
	}
	if c.from != nil && strings.HasPrefix(s.text, ",") {
		s.text = strings.TrimLeft(s.text[1:], " ")
		if c.to, err = s.rangeEnd(); err != nil {
			return nil, err
		}
		if c.to == nil {
			return nil, errors.New("unexpected ','")
		}
	}
	if c.from != nil && c.from.line == 0 && c.from.step == 0 && c.from.re == nil && !c.from.last && !c.from.previous && (c.to == nil || c.to.re == nil) {
		return nil, errors.New("invalid usage of line address 0")
	}
	s.text = strings.TrimLeft(s.text, " \t")
	for strings.HasPrefix(s.text, "!") {
		c.not, s.text = true, strings.TrimLeft(s.text[1:], " \t")
	}
	if s.text == "" {
		return nil, errors.New("missing command")
	}
	c.name, s.text = s.text[0], s.text[1:]
	switch c.name {
	case '{':
		c.group, err = s.list(true)
		return c, err
	case 's':
		err = s.substitution(c)
	case 'y':
		err = s.transliteration(c)
	case 'a', 'i', 'c':
		c.text = s.argument()
		return c, nil
	case 'q':
		n := digits(strings.TrimLeft(s.text, " "))
		c.exit, _ = number(strings.TrimLeft(s.text, " ")[:n])
		s.text = strings.TrimLeft(s.text, " ")[n:]
	case 'd', 'D', 'p', 'P', '=', 'n', 'N', 'h', 'H', 'g', 'G', 'x', 'z', 'F':
	case 'l':
	case 'r', 'w':
		c.file = s.fileName()
		return c, nil
	case ':', 'b', 't', 'T':
		end := strings.IndexAny(s.text+"\n", ";\n}")
		c.label, s.text = strings.TrimSpace(s.text[:end]), s.text[end:]
		return c, nil
	case 'Q':
		c.name, c.quiet = 'q', true
	default:
		err = fmt.Errorf("command '%c' is not supported by this machine", c.name)
	}
	if err != nil {
		return nil, err
	}
	s.text = strings.TrimLeft(s.text, " \t")
	if s.text != "" && !strings.ContainsRune(";\n}#", rune(s.text[0])) {
		return nil, errors.New("extra characters after command")
	}
	return c, nil
}

// fileName parses the rest of the line.
func (s *sedParser) fileName() string {
	end := strings.IndexByte(s.text+"\n", '\n')
	name := strings.TrimSpace(s.text[:end])
	s.text = s.text[end:]
	return name
}

// rangeEnd parses the second address, which may also be +n or ~n.
func (s *sedParser) rangeEnd() (*sedAddress, error) {
	if s.text == "" || s.text[0] != '+' && s.text[0] != '~' {
		return s.address()
	}
	sign := s.text[0]
	n := digits(s.text[1:])
	count, _ := number(s.text[1 : 1+n])
	s.text = s.text[1+n:]
	if sign == '+' {
		return &sedAddress{plus: count}, nil
	}
	return &sedAddress{plus: -1, multiple: count}, nil
}

// argument parses the text of a, i and c: the rest of the line, or the lines
// after a backslash.
func (s *sedParser) argument() string {
	s.text = strings.TrimLeft(s.text, " \t")
	if strings.HasPrefix(s.text, "\\") {
		rest := strings.TrimLeft(s.text[1:], " \t")
		if s.text = s.text[1:]; strings.HasPrefix(rest, "\n") {
			s.text = rest[1:]
		}
		if s.text == "" { // it only adds a missing newline
			return ""
		}
	}
	var b strings.Builder
	for i := 0; i < len(s.text); i++ {
		switch {
		case s.text[i] == '\n':
			s.text = s.text[i:]
			return b.String() + "\n"
		case s.text[i] == '\\' && i+1 < len(s.text):
			i++
			if at := strings.IndexByte("ntfv", s.text[i]); at >= 0 && b.Len() > 0 {
				b.WriteByte("\n\t\f\v"[at])
				continue
			}
		}
		b.WriteByte(s.text[i])
	}
	s.text = ""
	return b.String() + "\n"
}

func (s *sedParser) address() (*sedAddress, error) {
	switch {
	case s.text == "":
		return nil, nil //nolint:nilnil // the address is optional
	case s.text[0] == '$':
		s.text = s.text[1:]
		return &sedAddress{last: true, plus: -1}, nil
	case s.text[0] == '/' || s.text[0] == '\\' && len(s.text) > 1:
		if s.text[0] == '\\' {
			s.text = s.text[1:]
		}
		pattern, err := s.delimited(true)
		if err != nil {
			return nil, err
		}
		ignore := strings.HasPrefix(s.text, "I")
		s.text = strings.TrimPrefix(s.text, "I")
		re, err := s.expression(pattern, ignore)
		return &sedAddress{re: re, previous: re == nil, plus: -1}, err
	}
	n := digits(s.text)
	if n == 0 {
		return nil, nil //nolint:nilnil // the address is optional
	}
	line, _ := number(s.text[:n])
	s.text = s.text[n:]
	a := &sedAddress{line: line, plus: -1}
	if rest, ok := strings.CutPrefix(s.text, "~"); ok {
		n := digits(rest)
		a.step, _ = number(rest[:n])
		s.text = rest[n:]
	}
	return a, nil
}

// delimited parses the text up to the next delimiter, which in an expression is a
// literal in brackets. The text must begin with a delimiter.
func (s *sedParser) delimited(expression bool) (string, error) {
	delimiter := s.text[0]
	var b strings.Builder
	for i := 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '\\' && i+1 < len(s.text):
			i++
			switch {
			case s.text[i] == delimiter && delimiter != '.':
			case s.text[i] == 'n':
				b.WriteByte('\n')
				continue
			case s.text[i] == 't' && expression:
				b.WriteByte('\t')
				continue
			default:
				b.WriteByte('\\')
			}
		case c == '[' && expression:
			end := bracketEnd(s.text, i)
			inside := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\]`, `\]`).Replace(s.text[i:end])
			b.WriteString(inside)
			i = end
		case c == delimiter:
			s.text = s.text[i+1:]
			return b.String(), nil
		}
		b.WriteByte(s.text[i])
	}
	return "", errors.New("unterminated expression")
}

// expression compiles an expression. An empty one is nil.
func (s *sedParser) expression(pattern string, ignoreCase bool) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil //nolint:nilnil // the last one used
	}
	return compile(pattern, s.extended, false, ignoreCase)
}

func (s *sedParser) substitution(c *sedCommand) error {
	if s.text == "" {
		return errors.New("unterminated 's' command")
	}
	delimiter := s.text[0]
	pattern, err := s.delimited(true)
	if err != nil {
		return err
	}
	s.text = string(delimiter) + s.text
	if c.text, err = s.delimited(false); err != nil {
		return errors.New("unterminated 's' command")
	}
	ignore, multi := false, ""
	for s.text != "" && !strings.ContainsRune(";\n} \t#", rune(s.text[0])) {
		switch flag := s.text[0]; {
		case flag == 'g':
			c.global = true
		case flag == 'p':
			c.print = true
		case flag == 'i' || flag == 'I':
			ignore = true
		case flag == 'm' || flag == 'M':
			multi = "(?m)"
		case flag == 'w':
			s.text = s.text[1:]
			c.file = s.fileName()
			s.text = "\n" + strings.TrimPrefix(s.text, "\n")
			continue
		case flag >= '1' && flag <= '9':
			n := digits(s.text)
			c.nth, _ = number(s.text[:n])
			s.text = s.text[n-1:]
		default:
			return fmt.Errorf("option '%c' to 's' is not supported by this machine", flag)
		}
		s.text = s.text[1:]
	}
	if c.re, err = s.expression(pattern, ignore); multi != "" && err == nil && c.re != nil {
		c.re, err = regexp.Compile(multi + c.re.String())
	}
	return err
}

func (s *sedParser) transliteration(c *sedCommand) error {
	if s.text == "" {
		return errors.New("unterminated 'y' command")
	}
	delimiter := s.text[0]
	from, err := s.delimited(false)
	if err != nil {
		return err
	}
	s.text = string(delimiter) + s.text
	to, err := s.delimited(false)
	unescape := strings.NewReplacer(`\t`, "\t", `\r`, "\r", `\\`, `\`)
	from, to = unescape.Replace(from), unescape.Replace(to)
	if err == nil && len(from) != len(to) {
		err = errors.New("strings for 'y' command are different lengths")
	}
	c.text = from + to
	return err
}
