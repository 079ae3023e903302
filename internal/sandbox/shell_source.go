package sandbox

import (
	"io"
	"strings"
)

// source runs a file in the current shell.
func (r *runner) source(args []string) {
	args = dropDashes(args[1:])
	if len(args) == 0 {
		r.fail(2, ".: filename argument required")
		return
	}
	name := args[0]
	if !strings.Contains(name, "/") {
		name = r.findSource(name)
	}
	in, err := io.Reader(nil), error(nil)
	if fd, ok := standardFD(r.p.Path(name)); ok && r.fds[fd] != nil {
		in = readerUntil(r.fds.reader(fd), r.ctx.Done())
	} else {
		f, openErr := r.p.FS.Open(r.p.Path(name))
		if err = openErr; err == nil {
			if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
				_ = f.Close()
				r.fail(1, ".: %s: is a directory", name)
				return
			}
			defer shut(f)
			in = f
		}
	}
	if err != nil {
		if r.dash {
			r.errorf(".: cannot open %s: %s", args[0], map[bool]string{true: "No such file", false: errText(err)}[errText(err) == "No such file or directory"])
			r.exit(2)
			return
		}
		r.fail(1, "%s: %s", args[0], errText(err))
		return
	}
	if !r.enter() {
		return
	}
	params, changed := r.params, r.paramsSet
	own := len(args) > 1 && !r.dash
	if own {
		r.params, r.paramsSet = args[1:], false
	}
	line, loops, base := r.line, r.loops, r.lineBase
	r.loops, r.lineBase = 0, 0
	r.stack = append(r.stack, frame{function: "source", file: name, called: line, sourced: true})
	r.traced++
	r.runInput(in, name)
	r.traced--
	r.stack = r.stack[:len(r.stack)-1]
	r.depth--
	r.line, r.loops, r.lineBase = line, loops, base
	if own {
		if !r.paramsSet || r.inFunction() { // as in bash, set keeps its effect
			r.params = params
		}
		r.paramsSet = r.paramsSet || changed
	}
	returned := r.flow == flowReturn
	if returned {
		r.flow = flowNext
	}
	if !r.inFunction() || r.opts.functrace {
		r.returnTrap(returned)
	}
}

// findSource returns the path of a sourced file in $PATH, or in bash in the
// current directory.
func (r *runner) findSource(name string) string {
	for dir := range strings.SplitSeq(r.get("PATH"), ":") {
		file := entryPath(r.p.Path(dir), name)
		if info, err := r.p.FS.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
	}
	if r.dash {
		return "/nonexistent/" + name
	}
	return name
}

// exec replaces the shell by a program, or makes redirections permanent.
func (r *runner) exec(args []string) {
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "--":
		case args[0] == "-a" && len(args) > 1:
			args = args[1:]
		case args[0] != "-c" && args[0] != "-l":
			r.fail(2, "exec: %s: invalid option", args[0])
			return
		}
		args = args[1:]
	}
	if len(args) == 0 {
		r.keepFDs = true
		return
	}
	p := r.process(args)
	defer p.fds.closeAll()
	run, problem := p.find()
	if problem != nil {
		if r.dash || problem.reason != notFound {
			p.reportStartError(problem)
		} else {
			r.errorf("exec: %s: not found", args[0])
		}
		r.exit(problem.status)
		return
	}
	delete(r.traps, "EXIT")
	r.exit(p.start(r.ctx, run))
}
