package sandbox

import (
	"slices"
	"strings"
)

// opts holds the flags given to a command, by their short names.
type opts struct{ given []opt }

type opt struct{ name, value string }

func (o opts) on(name string) bool {
	for _, g := range o.given {
		if g.name == name {
			return true
		}
	}
	return false
}

// value returns the value of the last flag with the name.
func (o opts) value(name string) (string, bool) {
	for _, g := range slices.Backward(o.given) {
		if g.name == name {
			return g.value, true
		}
	}
	return "", false
}

// values returns the values of all flags with the name.
func (o opts) values(name string) []string {
	var all []string
	for _, g := range o.given {
		if g.name == name {
			all = append(all, g.value)
		}
	}
	return all
}

// last returns which of the one-letter names was given last, or "" if none was.
func (o opts) last(names string) string {
	for _, g := range slices.Backward(o.given) {
		if strings.Contains(names, g.name) {
			return g.name
		}
	}
	return ""
}

// options parses the flags of p. Short lists the letters, each followed by a
// colon if it takes a value; after a leading plus, parsing stops at the first
// operand. Long flags have the form "name=letter", followed by a colon if they
// take a value. For an unsupported flag, options prints a message and returns in
// bad the status to exit with, which is otherwise 0.
func (p *Process) options(short string, long ...string) (o opts, rest []string, bad int) {
	short, stopEarly := strings.CutPrefix(short, "+")
	args := p.Args[1:]
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return o, append(rest, args...), 0
		case strings.HasPrefix(arg, "--"):
			if args, bad = p.longOption(&o, arg, args, long); bad != 0 {
				return o, nil, bad
			}
		case len(arg) > 1 && arg[0] == '-':
			if args, bad = p.shortOptions(&o, arg[1:], args, short); bad != 0 {
				return o, nil, bad
			}
		case stopEarly:
			return o, append([]string{arg}, args...), 0
		default:
			rest = append(rest, arg)
		}
	}
	return o, rest, 0
}

func (p *Process) longOption(o *opts, arg string, args, long []string) ([]string, int) {
	name, value, hasValue := strings.Cut(arg[2:], "=")
	for _, l := range long {
		known, letter, _ := strings.Cut(l, "=")
		if known != name {
			continue
		}
		letter, wants := strings.CutSuffix(letter, ":")
		switch {
		case wants && !hasValue && len(args) == 0:
			return nil, p.fail(2, "option '--%s' requires an argument", name)
		case wants && !hasValue:
			value, args = args[0], args[1:]
		case !wants && hasValue:
			return nil, p.fail(2, "option '--%s' doesn't allow an argument", name)
		}
		o.given = append(o.given, opt{letter, value})
		return args, 0
	}
	return nil, p.fail(2, "option '%s' is not supported by this machine", arg)
}

func (p *Process) shortOptions(o *opts, letters string, args []string, short string) ([]string, int) {
	for i := range len(letters) {
		letter := letters[i : i+1]
		at := strings.Index(short, letter)
		if at < 0 || letter == ":" {
			return nil, p.fail(2, "option '-%s' is not supported by this machine", letter)
		}
		if at+1 == len(short) || short[at+1] != ':' {
			o.given = append(o.given, opt{name: letter})
			continue
		}
		value := letters[i+1:]
		if value == "" {
			if len(args) == 0 {
				return nil, p.fail(2, "option requires an argument -- '%s'", letter)
			}
			value, args = args[0], args[1:]
		}
		o.given = append(o.given, opt{letter, value})
		break
	}
	return args, 0
}
