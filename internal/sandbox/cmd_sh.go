package sandbox

import (
	"context"
	"path"
	"strings"
)

// sh implements sh, dash and bash with -c, -s, -l, -i and the letters of set.
func sh(ctx context.Context, p *Process) int {
	s := script{name: p.Args[0]}
	args, command, fromStdin := p.Args[1:], false, false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if arg == "--login" {
			s.login = true
			continue
		}
		if arg == "--norc" || arg == "--noprofile" || arg == "--verbose" || arg == "--posix" {
			continue
		}
		for _, letter := range arg[1:] {
			switch letter {
			case 'c':
				command = true
			case 's':
				fromStdin = true
			case 'l':
				s.login = true
			case 'i': // no effect, since there are no prompts
			case 'O':
				if len(args) == 0 {
					return p.fail(2, "-O: option requires an argument")
				}
				if arg[0] == '-' {
					s.shopts = append(s.shopts, args[0])
				}
				args = args[1:]
			case 'o':
				if len(args) == 0 {
					return p.fail(2, "-o: option requires an argument")
				}
				s.options = append(s.options, arg[:1]+"o", args[0])
				args = args[1:]
			case 'e', 'u', 'x', 'n', 'f', 'a', 'v', 'E', 'C', 'T', 'h', 'm', 'b', 'B', 'H', 'k', 'p', 't':
				s.options = append(s.options, arg[:1]+string(letter))
			default:
				return p.fail(2, "option '-%c' is not supported by this machine", letter)
			}
		}
	}
	name := "bash"
	if path.Base(p.Args[0]) != "bash" {
		name = "sh"
	}
	switch {
	case command && len(args) == 0:
		return p.fail(2, "-c requires an argument")
	case command:
		s.command = true
		s.text, s.commandText = strings.NewReader(args[0]), args[0]
		if len(args) > 1 {
			s.name, s.params = args[1], args[2:]
		}
	case fromStdin || len(args) == 0:
		s.text, s.stdin, s.params = p.Stdin, true, args
	default:
		f, err := p.FS.Open(p.Path(args[0]))
		if err != nil {
			return p.fail(127, "%s: %s", args[0], errText(err))
		}
		defer shut(f)
		s.name, s.params, s.text = args[0], args[1:], f
	}
	return p.runShell(ctx, name, s)
}

// shellBuiltin runs a builtin of the shell as a command, as in "sudo echo".
func shellBuiltin(ctx context.Context, p *Process) int {
	return p.runShell(ctx, "bash", script{
		name: p.Args[0], params: p.Args[1:], command: true, text: strings.NewReader(p.name() + ` "$@"`),
	})
}
