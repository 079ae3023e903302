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
	quiet    bool // for q: without printing
	group    []*sedCommand
	skip     int    // for a group: the index after it
	label    string // for :, b and t
	inside   bool   // the current line is inside the address range
}

type sedAddress struct {
	line int // 0 for an expression
	last bool
	re   *regexp.Regexp
}

// sedParser parses a script.
type sedParser struct {
	text     string // not yet parsed
	extended bool
	previous *regexp.Regexp // the meaning of an empty expression
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
		if c.to, err = s.address(); err != nil {
			return nil, err
		}
		if c.to == nil {
			return nil, errors.New("unexpected ','")
		}
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
	case 'r', 'w':
		end := strings.IndexByte(s.text+"\n", '\n')
		c.text, s.text = strings.TrimSpace(s.text[:end]), s.text[end:]
		if c.name == 'w' {
			err = errors.New("command 'w' is not supported by this machine")
		}
		return c, err
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

// argument parses the text of a, i and c: the rest of the line, or the lines
// after a backslash.
func (s *sedParser) argument() string {
	s.text = strings.TrimLeft(s.text, " \t")
	if strings.HasPrefix(s.text, "\\") {
		s.text = strings.TrimPrefix(strings.TrimLeft(s.text[1:], " \t"), "\n")
	}
	var b strings.Builder
	for i := 0; i < len(s.text); i++ {
		switch {
		case s.text[i] == '\n':
			s.text = s.text[i:]
			return b.String() + "\n"
		case s.text[i] == '\\' && i+1 < len(s.text):
			i++
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
		return &sedAddress{last: true}, nil
	case s.text[0] == '/' || s.text[0] == '\\' && len(s.text) > 1:
		if s.text[0] == '\\' {
			s.text = s.text[1:]
		}
		pattern, err := s.delimited(s.text[0])
		if err != nil {
			return nil, err
		}
		ignore := strings.HasPrefix(s.text, "I")
		s.text = strings.TrimPrefix(s.text, "I")
		re, err := s.expression(pattern, ignore)
		return &sedAddress{re: re}, err
	}
	n := digits(s.text)
	if n == 0 {
		return nil, nil //nolint:nilnil // the address is optional
	}
	line, _ := number(s.text[:n])
	s.text = s.text[n:]
	if strings.HasPrefix(s.text, "~") || line == 0 {
		return nil, errors.New("line 0 and steps in addresses are not supported by this machine")
	}
	return &sedAddress{line: line}, nil
}

// delimited parses the text up to the next delimiter. The text must begin with a
// delimiter.
func (s *sedParser) delimited(delimiter byte) (string, error) {
	var b strings.Builder
	bracketed := false
	for i := 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '\\' && i+1 < len(s.text):
			i++
			switch {
			case s.text[i] == delimiter && delimiter != '|' && delimiter != '.':
			case s.text[i] == 'n':
				b.WriteByte('\n')
				continue
			default:
				b.WriteByte('\\')
			}
			b.WriteByte(s.text[i])
			continue
		case c == '[' && !bracketed:
			bracketed = true
		case c == ']':
			bracketed = false
		case c == delimiter:
			s.text = s.text[i:]
			out := b.String()
			s.text = s.text[1:]
			return out, nil
		}
		b.WriteByte(s.text[i])
	}
	return "", errors.New("unterminated expression")
}

func (s *sedParser) expression(pattern string, ignoreCase bool) (*regexp.Regexp, error) {
	if pattern == "" {
		if s.previous == nil {
			return nil, errors.New("no previous regular expression")
		}
		return s.previous, nil
	}
	re, err := compile(pattern, s.extended, false, ignoreCase)
	s.previous = re
	return re, err
}

func (s *sedParser) substitution(c *sedCommand) error {
	if s.text == "" {
		return errors.New("unterminated 's' command")
	}
	delimiter := s.text[0]
	pattern, err := s.delimited(delimiter)
	if err != nil {
		return err
	}
	s.text = string(delimiter) + s.text
	if c.text, err = s.delimited(delimiter); err != nil {
		return errors.New("unterminated 's' command")
	}
	ignore := false
	for s.text != "" && !strings.ContainsRune(";\n} \t#", rune(s.text[0])) {
		switch flag := s.text[0]; {
		case flag == 'g':
			c.global = true
		case flag == 'p':
			c.print = true
		case flag == 'i' || flag == 'I':
			ignore = true
		case flag >= '1' && flag <= '9':
			c.nth = int(flag - '0')
		default:
			return fmt.Errorf("option '%c' to 's' is not supported by this machine", flag)
		}
		s.text = s.text[1:]
	}
	c.re, err = s.expression(pattern, ignore)
	return err
}

func (s *sedParser) transliteration(c *sedCommand) error {
	if s.text == "" {
		return errors.New("unterminated 'y' command")
	}
	delimiter := s.text[0]
	from, err := s.delimited(delimiter)
	if err != nil {
		return err
	}
	s.text = string(delimiter) + s.text
	to, err := s.delimited(delimiter)
	if err == nil && len(from) != len(to) {
		err = errors.New("strings for 'y' command are different lengths")
	}
	c.text = from + to
	return err
}
