package sandbox

import (
	"strings"
)

// echo implements the echo builtin; dash's interprets backslashes without a flag.
func (r *runner) echo(args []string) {
	args = args[1:]
	newline, escapes := true, r.dash || r.shopts["xpg_echo"]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], map[bool]string{true: "n", false: "neE"}[r.dash]) == "" {
		for _, c := range args[0][1:] {
			switch c {
			case 'n':
				newline = false
			default:
				escapes = c == 'e'
			}
		}
		args = args[1:]
		if r.dash {
			break
		}
	}
	text := strings.Join(args, " ")
	if escapes && strings.Contains(text, `\`) {
		f := &formatter{p: r.p}
		for i := 0; i < len(text) && !f.stop; i++ {
			if text[i] == '\\' {
				i += f.escape(text[i+1:], true)
			} else {
				f.out.WriteByte(text[i])
			}
		}
		text = f.out.String()
		newline = newline && !f.stop
	}
	if newline {
		text += "\n"
	}
	r.print(text)
}

func (r *runner) printf(args []string) {
	if len(args) > 2 && args[1] == "-v" && !r.dash {
		name, index, element := strings.Cut(args[2], "[")
		p := r.goProcess(append([]string{"printf"}, args[3:]...))
		var b strings.Builder
		p.Stdout = &b
		r.status = r.formatted(p)
		if !validName(name) {
			r.fail(2, "printf: `%s': not a valid identifier", args[2])
		} else if element {
			r.assignElement(name, strings.TrimSuffix(index, "]"), b.String())
		} else {
			r.assign(name, b.String())
		}
		return
	}
	switch {
	case !r.dash && len(args) == 2 && args[1] == "-v":
		r.errorf("printf: -v: option requires an argument")
		fallthrough
	case !r.dash && len(args) == 1:
		r.errf("printf: usage: printf [-v var] format [arguments]\n")
		r.status = 2
	default:
		r.status = r.formatted(r.goProcess(args))
	}
}

// formatted runs printf with the messages of bash.
func (r *runner) formatted(p *Process) int {
	if r.dash {
		return printf(r.ctx, p)
	}
	return printFormat(p, r.errorf)
}
