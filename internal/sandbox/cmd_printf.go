package sandbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// printf implements printf(1). The interpreter's builtin lacks precisions.
func printf(_ context.Context, p *Process) int {
	args := p.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return p.fail(2, "usage: printf format [arguments]")
	}
	return printFormat(p, nil)
}

// printFormat prints the arguments of p by a format. Report prints the problems of
// bash's builtin; if it is nil, they are those of the program.
func printFormat(p *Process, report func(format string, args ...any)) int {
	args := p.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return 0
	}
	f := &formatter{p: p, args: args[1:], report: report}
	for {
		before := len(f.args)
		f.format(args[0])
		if f.stop || len(f.args) == 0 || len(f.args) == before {
			break
		}
	}
	p.print(f.out.String())
	return f.status
}

type formatter struct {
	p      *Process
	args   []string
	out    strings.Builder
	status int
	stop   bool // \c was found
	report func(format string, args ...any)
}

func (f *formatter) next() string {
	if len(f.args) == 0 {
		return ""
	}
	arg := f.args[0]
	f.args = f.args[1:]
	return arg
}

func (f *formatter) format(format string) {
	for i := 0; i < len(format) && !f.stop; i++ {
		switch c := format[i]; {
		case c == '\\':
			i += f.escape(format[i+1:], false)
		case c == '%' && strings.HasPrefix(format[i+1:], "%"):
			f.out.WriteByte('%')
			i++
		case c == '%':
			i += f.directive(format[i+1:])
		default:
			f.out.WriteByte(c)
		}
	}
}

// escape writes the value of the escape sequence s, which starts after the
// backslash, and returns its length.
func (f *formatter) escape(s string, inArgument bool) int {
	if s == "" {
		f.out.WriteByte('\\')
		return 0
	}
	if at := strings.IndexByte(`abefnrtv\"'`, s[0]); at >= 0 {
		f.out.WriteByte("\a\b\x1b\f\n\r\t\v\\\"'"[at])
		return 1
	}
	digits, base, start := 0, 8, 0
	switch {
	case s[0] == 'c':
		f.stop = true
		return 1
	case s[0] == 'u' || s[0] == 'U':
		n := 0
		for n < map[byte]int{'u': 4, 'U': 8}[s[0]] && 1+n < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[1+n]) >= 0 {
			n++
		}
		if code, err := strconv.ParseUint(s[1:1+n], 16, 32); err == nil {
			f.out.WriteRune(rune(code)) //nolint:gosec // an invalid character becomes U+FFFD
		} else {
			f.out.WriteString(`\` + s[:1])
		}
		return 1 + n
	case s[0] == 'x':
		base, start = 16, 1
		for start+digits < len(s) && digits < 2 && strings.IndexByte("0123456789abcdefABCDEF", s[start+digits]) >= 0 {
			digits++
		}
	case s[0] >= '0' && s[0] <= '7':
		if inArgument && s[0] == '0' { // %b uses \0nnn
			start = 1
		}
		for start+digits < len(s) && digits < 3 && s[start+digits] >= '0' && s[start+digits] <= '7' {
			digits++
		}
	default:
		f.out.WriteString(`\` + s[:1])
		return 1
	}
	if base == 16 && digits == 0 {
		f.out.WriteString(`\x`)
		return 1
	}
	n, _ := strconv.ParseUint(s[start:start+digits], base, 16) // zero if there are no digits
	f.out.WriteByte(byte(n))                                   //nolint:gosec // three octal digits wrap, as in C
	return start + digits
}

// directive writes the next argument formatted by the directive s, which starts
// after the percent sign, and returns the directive's length.
func (f *formatter) directive(s string) int {
	spec, i := "%", 0
	for i < len(s) && strings.IndexByte("-+ 0#123456789.*", s[i]) >= 0 {
		if s[i] == '*' {
			spec += itoa(int(f.integer(f.next())))
		} else {
			spec += s[i : i+1]
		}
		i++
	}
	if i == len(s) {
		f.problem("%s: missing format character", spec)
		return i
	}
	for digits := range strings.FieldsFuncSeq(spec, func(c rune) bool { return c < '0' || c > '9' }) {
		if n, err := strconv.Atoi(digits); err != nil || n > maxWidth {
			f.problem("%s", errText(errMemory))
			f.stop = true
			return i + 1
		}
	}
	for i+1 < len(s) && strings.IndexByte("hlLqjzt", s[i]) >= 0 && strings.IndexByte("diouxXeEfFgGaAhlLqjzt", s[i+1]) >= 0 {
		i++ // the size of an argument in C
	}
	switch verb := s[i]; verb {
	case 's':
		f.write(spec+"s", f.next())
	case 'b':
		inner := &formatter{p: f.p}
		arg := f.next()
		for j := 0; j < len(arg) && !inner.stop; j++ {
			if arg[j] == '\\' {
				j += inner.escape(arg[j+1:], true)
			} else {
				inner.out.WriteByte(arg[j])
			}
		}
		f.write(spec+"s", inner.out.String())
		f.stop = inner.stop
	case 'q', 'Q':
		f.write(spec+"s", backslashQuote(f.next()))
	case '(':
		end := strings.Index(s[i:], ")T")
		if end < 0 {
			f.problem("`%c': invalid format character", verb)
			return i + 1
		}
		when := f.p.Host.o.Clock.Now()
		if arg := f.next(); arg != "" && arg != "-1" && arg != "-2" {
			when = time.Unix(f.integer(arg), 0)
		}
		format := s[i+1 : i+end]
		if format == "" {
			format = "%T"
		}
		text, err := strftime(format, when.UTC())
		if err != nil {
			f.problem("%v", err)
		}
		f.write(spec+"s", text)
		return i + end + 2
	case 'c':
		f.write(spec+"s", (f.next() + "\x00")[:1])
	case 'd', 'i':
		f.write(spec+"d", f.integer(f.next()))
	case 'u', 'x', 'X', 'o':
		if verb == 'u' {
			verb = 'd'
		}
		f.write(spec+string(verb), uint64(f.integer(f.next()))) //nolint:gosec // negative numbers wrap, as in C
	case 'a', 'A', 'e', 'E', 'f', 'F', 'g', 'G':
		arg := f.next()
		n, err := strconv.ParseFloat(arg, 64)
		if err != nil && arg != "" {
			f.invalid(arg)
		}
		if verb == 'a' || verb == 'A' {
			verb = map[byte]byte{'a': 'x', 'A': 'X'}[verb]
		}
		f.write(spec+string(verb), n)
	default:
		if f.report != nil {
			f.problem("`%c': invalid format character", verb)
			f.stop = true
			break
		}
		f.problem("%s%c: invalid directive", spec, verb)
	}
	return i + 1
}

// maxWidth bounds the width of printf, as package fmt does.
const maxWidth = 1_000_000

func (f *formatter) write(spec string, arg any) {
	fmt.Fprintf(&f.out, spec, arg)
}

func (f *formatter) problem(format string, args ...any) {
	f.status = 1
	if f.report != nil {
		f.report("printf: "+format, args...)
		return
	}
	f.p.fail(1, format, args...)
}

// invalid reports an argument that is not a number.
func (f *formatter) invalid(arg string) {
	_, err := strconv.ParseInt(arg, 10, 64)
	switch {
	case f.report != nil && err == nil && arg[0] == '0':
		f.problem("%s: invalid octal number", arg)
	case f.report != nil:
		f.problem("%s: invalid number", arg)
	default:
		f.problem("%s: expected a numeric value", f.p.quote(arg))
	}
}

// integer parses decimal, hexadecimal and octal numbers, and characters in the
// form 'c or "c.
func (f *formatter) integer(s string) int64 {
	if s == "" {
		return 0
	}
	if s[0] == '\'' || s[0] == '"' {
		for _, r := range s[1:] {
			return int64(r)
		}
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 0, 64)
	if err != nil {
		f.invalid(s)
		for end := len(s) - 1; end > 0 && err != nil; end-- { // what precedes the rest counts
			n, err = strconv.ParseInt(strings.TrimSpace(s[:end]), 0, 64)
		}
	}
	return n
}

// backslashQuote quotes s as printf %q does.
func backslashQuote(s string) string {
	if s == "" {
		return "''"
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return dollarQuote(s)
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if strings.IndexByte(" !\"#$&'()*,;<>?[\\]^`{|}", c) >= 0 && (c != '#' || i == 0) || c == '~' && i == 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// bashQuote quotes s if necessary.
func bashQuote(s string) string {
	plain := s != ""
	for _, r := range s {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=@%+,", r) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return shellQuote(s)
}
