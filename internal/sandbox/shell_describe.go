package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// aliases implements alias and unalias.
func (r *runner) aliases(args []string) {
	if args[0] == "unalias" {
		for _, name := range args[1:] {
			if name == "-a" {
				clear(r.alias)
			} else if _, ok := r.alias[name]; !ok {
				r.fail(1, "unalias: %s: not found", name)
			}
			delete(r.alias, name)
		}
		return
	}
	show := func(name string) {
		if !r.dash {
			r.print("alias ")
		}
		r.print(name, "=", shellQuote(r.alias[name]), "\n")
	}
	if len(args) == 1 {
		for _, name := range sortedKeys(r.alias) {
			show(name)
		}
	}
	for _, arg := range args[1:] {
		name, text, set := strings.Cut(arg, "=")
		switch _, ok := r.alias[name]; {
		case set:
			r.alias[name] = text
		case ok:
			show(name)
		default:
			r.fail(1, "alias: %s: not found", name)
		}
	}
}

func sortedKeys(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// commandBuiltin implements command, type and hash.
func (r *runner) commandBuiltin(args []string) {
	how, flags := args[0], ""
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flags += args[0][1:]
		args = args[1:]
		if strings.HasSuffix(flags, "-") {
			break
		}
	}
	if how == "command" && !strings.ContainsAny(flags, "vV") {
		if len(args) > 0 {
			r.withoutFunctions(args)
		}
		return
	}
	if how == "hash" {
		r.hashBuiltin(flags, args)
		return
	}
	any := false
	for _, name := range args {
		if r.describe(how, flags, name) {
			any = true
		} else {
			r.status = 1
			if how == "command" && r.dash || how == "type" && r.dash {
				r.status = 127
			}
		}
	}
	if how == "command" && any && !r.dash {
		r.status = 0
	}
}

// withoutFunctions runs a builtin or a program although a function has its name.
// Errors of special builtins do not end the shell.
func (r *runner) withoutFunctions(args []string) {
	if b := r.builtin(args[0]); b != nil {
		b(r, args)
		return
	}
	r.program(args)
}

// describe says what a name runs.
func (r *runner) describe(how, flags, name string) bool {
	kind, where := "", ""
	f := r.funcs[name]
	switch {
	case strings.ContainsAny(flags, "P"):
		where = r.whichFile(name)
	case r.alias[name] != "" && (r.dash || r.shopts["expand_aliases"]):
		kind = "alias"
	case syntax.IsKeyword(name) && (!r.dash || !bashKeyword(name)):
		kind = "keyword"
	case f != nil && !strings.Contains(flags, "f"):
		kind = "function"
	case r.builtin(name) != nil:
		kind = "builtin"
	default:
		where = r.whichFile(name)
	}
	if where != "" {
		kind = "file"
	}
	short := how == "command" && strings.Contains(flags, "v")
	switch {
	case kind == "":
		if !short && !strings.ContainsAny(flags, "tpP") {
			if r.dash {
				r.errf("%s: not found\n", name)
			} else {
				r.errorf("%s: %s: not found", how, name)
			}
		}
		return false
	case strings.Contains(flags, "t"):
		r.print(kind, "\n")
	case strings.ContainsAny(flags, "pP"):
		if where != "" {
			r.print(where, "\n")
		}
	case short && kind == "alias":
		r.print("alias ", name, "=", shellQuote(r.alias[name]), "\n")
	case short && where != "":
		r.print(where, "\n")
	case short:
		r.print(name, "\n")
	case kind == "file" && r.hashes[name] != nil && !r.dash:
		r.print(name, " is hashed (", where, ")\n")
	case kind == "file":
		r.print(name, " is ", where, "\n")
	case kind == "function" && !r.dash:
		r.print(name, " is a function\n", functionText(f))
	case kind == "function":
		r.print(name, " is a shell function\n")
	case kind == "alias":
		r.print(name, " is aliased to `", r.alias[name], "'\n")
	case kind == "builtin" && r.dash && specialBuiltin(name):
		r.print(name, " is a special shell builtin\n")
	default:
		r.print(name, " is a shell ", kind, "\n")
	}
	return true
}

// bashKeyword reports whether dash lacks a keyword of bash.
func bashKeyword(name string) bool {
	switch name {
	case "[[", "]]", "function", "select", "time", "coproc":
		return true
	}
	return false
}

// whichFile returns the path of a program, or "".
func (r *runner) whichFile(name string) string {
	if h := r.hashes[name]; h != nil && h.pinned {
		return h.path
	}
	p := r.goProcess([]string{name})
	if strings.Contains(name, "/") {
		if _, problem := p.load(p.Path(name), 0); problem == nil {
			return name
		}
		return ""
	}
	if file, problem := p.which(name); problem == nil {
		return file
	}
	return ""
}

// caller implements the caller builtin.
func (r *runner) caller(args []string) {
	n := 0
	if len(args) > 1 {
		n, _ = strconv.Atoi(args[1])
	}
	at := len(r.stack) - 1 - n
	if at == 0 && len(args) == 1 {
		r.print(map[bool]string{true: "1", false: "0"}[r.fromString], " NULL\n")
		return
	}
	if at < 1 || at == 1 && r.fromString && len(args) > 1 {
		r.status = 1
		return
	}
	line := strconv.FormatUint(uint64(r.stack[at].called), 10)
	if len(args) == 1 {
		r.print(line, " ", r.stack[at-1].file, "\n")
		return
	}
	r.print(line, " ", r.stack[at-1].function, " ", r.stack[at-1].file, "\n")
}
