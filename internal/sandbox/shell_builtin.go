package sandbox

import (
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// builtinFunc implements a builtin. It finds the status 0 and changes it if it
// fails.
type builtinFunc func(r *runner, args []string)

// builtin returns the builtin with a name, or nil if the shell has none.
func (r *runner) builtin(name string) builtinFunc {
	if r.dash && !dashBuiltin(name) {
		return nil
	}
	if b := controlBuiltin(name); b != nil {
		return b
	}
	switch name {
	case ":", "true":
		return func(*runner, []string) {}
	case "false":
		return func(r *runner, _ []string) { r.status = 1 }
	case "echo":
		return (*runner).echo
	case "printf":
		return (*runner).printf
	case "test", "[":
		return (*runner).testBuiltin
	case "read":
		return (*runner).read
	case "mapfile", "readarray":
		return (*runner).readArray
	case "cd":
		return (*runner).cd
	case "pwd":
		return (*runner).pwd
	case "pushd", "popd", "dirs":
		return (*runner).directoryStack
	case "umask":
		return (*runner).umask
	case "ulimit":
		return (*runner).ulimit
	case "getopts":
		return (*runner).getopts
	case "type", "command", "hash":
		return (*runner).commandBuiltin
	case "alias", "unalias":
		return (*runner).aliases
	case "wait":
		return (*runner).wait
	case "jobs", "fg", "bg", "disown":
		return (*runner).jobControl
	case "kill":
		return (*runner).kill
	case "times":
		return func(r *runner, _ []string) { r.print("0m0.000s 0m0.000s\n0m0.000s 0m0.000s\n") }
	case "history", "bind", "complete", "compopt", "suspend", "logout", "fc", "newgrp":
		return nil
	case "enable":
		return func(*runner, []string) {}
	case "caller":
		return (*runner).caller
	case "compgen":
		return (*runner).compgen
	}
	return nil
}

// controlBuiltin returns builtins that change the shell itself.
func controlBuiltin(name string) builtinFunc {
	switch name {
	case "exit":
		return (*runner).exitBuiltin
	case "return", "break", "continue":
		return (*runner).leave
	case "shift":
		return (*runner).shift
	case "set":
		return (*runner).set
	case "shopt":
		return (*runner).shopt
	case "unset":
		return (*runner).unsetBuiltin
	case "eval":
		return func(r *runner, args []string) { r.eval(strings.Join(dropDashes(args[1:]), " "), "eval") }
	case ".", "source":
		return (*runner).source
	case "exec":
		return (*runner).exec
	case "trap":
		return (*runner).trap
	case "let":
		return (*runner).let
	case "builtin":
		return (*runner).runBuiltin
	case "declare", "typeset", "local", "export", "readonly":
		return func(r *runner, args []string) { r.declareArgs(args[0], args[1:]) }
	}
	return nil
}

// specialBuiltin reports whether POSIX says that an error of the builtin ends the
// shell and that assignments before it stay.
func specialBuiltin(name string) bool {
	switch name {
	case ".", ":", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return", "set", "shift", "times", "trap", "unset":
		return true
	}
	return false
}

func dropDashes(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}

// goProcess returns a process for a command implemented in Go that runs within
// the shell.
func (r *runner) goProcess(args []string) *Process {
	p := r.process(args)
	p.fds.closeAll()
	p.PID = r.p.PID
	p.Stdout, p.Stderr = r.stdout(), r.stderr()
	return p
}

func (r *runner) exitBuiltin(args []string) {
	status := r.statusBefore
	if len(args) > 1 {
		n, err := strconv.Atoi(strings.TrimSpace(args[1]))
		if err != nil {
			if r.dash {
				r.errorf("exit: Illegal number: %s", args[1])
			} else {
				r.errorf("exit: %s: numeric argument required", args[1])
			}
			n = 2
		}
		status = n & 0xff
	}
	r.exit(status)
}

// leave implements return, break and continue.
func (r *runner) leave(args []string) {
	if args[0] == "return" {
		if !r.inFunction() && !r.sourced() {
			if r.dash {
				r.exit(r.statusBefore)
				if len(args) > 1 {
					r.status, _ = strconv.Atoi(args[1])
				}
				return
			}
			r.fail(1, "return: can only `return' from a function or sourced script")
			return
		}
		r.status = r.statusBefore
		if len(args) > 1 {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				r.errorf("return: %s: numeric argument required", args[1])
				n = 2
			}
			r.status = n & 0xff
		}
		r.flow = flowReturn
		return
	}
	if r.loops == 0 {
		if !r.dash {
			r.errorf("%s: only meaningful in a `for', `while', or `until' loop", args[0])
		}
		return
	}
	r.levels = 1
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 {
			r.fail(1, "%s: %s: loop count out of range", args[0], args[1])
			return
		}
		r.levels = min(n, r.loops)
	}
	r.flow = flowBreak
	if args[0] == "continue" {
		r.flow = flowContinue
	}
}

func (r *runner) sourced() bool {
	for _, f := range r.stack {
		if f.sourced {
			return true
		}
	}
	return false
}

func (r *runner) shift(args []string) {
	n := 1
	if len(args) > 1 {
		var err error
		if n, err = strconv.Atoi(args[1]); err != nil || n < 0 {
			r.fail(1, "shift: %s: shift count out of range", args[1])
			if r.dash {
				r.exit(2)
			}
			return
		}
	}
	if n > len(r.params) {
		r.status = 1
		if r.dash {
			r.errorf("shift: can't shift that many")
			r.exit(2)
		}
		return
	}
	r.params = r.params[n:]
}

func (r *runner) unsetBuiltin(args []string) {
	variables, functions := true, true
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-v":
			functions = false
		case "-f":
			variables = false
		case "-n":
			if len(args) > 1 {
				delete(r.vars.vars, args[1])
			}
			return
		}
		args = args[1:]
	}
	for _, name := range args {
		base, index, element := strings.Cut(name, "[")
		if variables && element {
			r.unsetElement(base, strings.TrimSuffix(index, "]"))
			continue
		}
		target, _ := r.resolve(name)
		if v, _ := r.vars.find(target); variables && v != nil {
			if !r.unset(name) {
				r.status = 1
			}
		} else if functions {
			delete(r.funcs, name)
		}
	}
}

func (r *runner) unsetElement(name, index string) {
	name, _ = r.resolve(name)
	v, _ := r.vars.find(name)
	if v == nil {
		return
	}
	if index == "@" || index == "*" {
		r.unset(name)
		return
	}
	if v = r.writable(name); v == nil {
		return
	}
	if v.dict != nil {
		if text, ok := r.expandText(index); ok {
			index = text
		}
		delete(v.dict, index)
		return
	}
	if i, ok := r.arrayIndex(v, name, index); ok {
		if v.list == nil && i == 0 {
			r.unset(name)
			return
		}
		delete(v.list, i)
	}
}

// expandText expands the parameters in a text.
func (r *runner) expandText(text string) (string, bool) {
	w, err := syntax.NewParser().Document(&scriptReader{r: strings.NewReader(text), limit: maxFrames})
	if err != nil || w == nil {
		return text, false
	}
	return strings.TrimSuffix(r.documentText(w), "\n"), true
}

func (r *runner) let(args []string) {
	if len(args) < 2 {
		r.fail(1, "let: expression expected")
		return
	}
	r.status = 1
	for _, arg := range args[1:] {
		n, ok := r.arithText(arg)
		if !ok {
			r.status = 1
			return
		}
		r.status = map[bool]int{true: 0, false: 1}[n != 0]
	}
}

func (r *runner) runBuiltin(args []string) {
	args = dropDashes(args[1:])
	if len(args) == 0 {
		return
	}
	b := r.builtin(args[0])
	if b == nil {
		r.fail(1, "builtin: %s: not a shell builtin", args[0])
		return
	}
	b(r, args)
}
