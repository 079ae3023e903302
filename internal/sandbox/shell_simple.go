package sandbox

import (
	"maps"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// simple runs a simple command: assignments, or a function, builtin or program.
func (r *runner) simple(cm *syntax.CallExpr, redirs []*syntax.Redirect) {
	r.at(&syntax.Stmt{Position: linePos(cm), Cmd: cm, Redirs: redirs})
	r.debug()
	if r.flow != flowNext {
		return
	}
	r.lastSubst = -1
	words := r.expandAliases(cm.Args)
	words, redirs = elementRedirects(words, redirs)
	if call := literalName(words); r.arrayAssigning(call) {
		r.declareWords(cm, call)
		return
	}
	args := r.fields(words)
	if r.flow != flowNext {
		return
	}
	if len(args) == 0 {
		r.lastArg = ""
		r.assignments(cm, redirs)
		return
	}
	name := args[0]
	special := r.dash && specialBuiltin(name)
	if len(cm.Assigns) == 0 {
		r.trace(args) // to the standard error of the shell
	}
	undo, ok := r.redirect(redirs)
	defer func() { undo() }()
	if !ok {
		if r.flow == flowNext {
			r.setStatus(r.redirectFailed())
			if special {
				r.exit(2)
			}
			r.check1()
		}
		return
	}
	if len(cm.Assigns) > 0 {
		if special {
			r.assignAll(cm.Assigns)
		} else {
			r.vars = &scope{vars: map[string]*variable{}, parent: r.vars, temp: true}
			defer func() { r.dropScope() }()
			if !r.assignTemporary(cm.Assigns) {
				return
			}
		}
		if r.flow != flowNext {
			return
		}
	}
	if len(cm.Assigns) > 0 {
		r.trace(args)
	}
	r.call(args)
	r.lastArg = args[len(args)-1]
	if r.keepFDs {
		undo()
		undo = func() {}
		r.keepFDs = false
	}
	if r.flow == flowNext {
		r.setStatus(r.status)
		r.check1()
	}
}

// linePos returns a position on the line that bash has for a command: where it has
// read its second word.
func linePos(cm *syntax.CallExpr) syntax.Pos {
	if len(cm.Assigns) == 0 && len(cm.Args) > 1 {
		return cm.Args[1].End()
	}
	return cm.Pos()
}

func literalName(words []*syntax.Word) string {
	if len(words) == 0 {
		return ""
	}
	return words[0].Lit()
}

func (r *runner) expandAliases(words []*syntax.Word) []*syntax.Word {
	if len(r.alias) == 0 || !r.dash && !r.shopts["expand_aliases"] {
		return words
	}
	seen := map[string]bool{}
	for len(words) > 0 {
		text, ok := r.alias[words[0].Lit()]
		if !ok || seen[words[0].Lit()] {
			break
		}
		seen[words[0].Lit()] = true
		var all []*syntax.Word
		for w, err := range syntax.NewParser().WordsSeq(strings.NewReader(text + "\n")) {
			if err != nil {
				return words
			}
			all = append(all, w)
		}
		words = append(all, words[1:]...)
	}
	return words
}

// assignments runs a command without words.
func (r *runner) assignments(cm *syntax.CallExpr, redirs []*syntax.Redirect) {
	undo, ok := r.redirect(redirs)
	defer undo()
	status := 0
	if !ok {
		status = r.redirectFailed()
	}
	if r.flow == flowNext && !r.assignAll(cm.Assigns) && r.flow == flowNext {
		status = 1
		if !r.dash { // as bash, which discards the line
			r.status, r.flow = 1, flowDiscard
		}
	}
	if r.flow != flowNext {
		return
	}
	if r.lastSubst >= 0 && status == 0 {
		status = r.lastSubst
	}
	r.setStatus(status)
	r.check1()
}

// assignAll makes assignments in the current shell.
func (r *runner) assignAll(all []*syntax.Assign) bool {
	for _, as := range all {
		if !r.assignOne(as, r.assign) || r.flow != flowNext {
			return false
		}
	}
	return true
}

// assignOne makes an assignment; set assigns a scalar.
func (r *runner) assignOne(as *syntax.Assign, set func(name, value string) bool) bool {
	name := as.Name.Value
	if r.readOnlyName(name) {
		return true
	}
	switch {
	case as.Array != nil:
		if r.opts.xtrace {
			r.traceText(textOf(as))
		}
		return r.assignArray(name, as.Array, as.Append, false)
	case as.Index != nil:
		index, ok := r.indexText(name, as.Index)
		if !ok {
			return false
		}
		value := r.assignedText(as.Value)
		if r.flow != flowNext {
			return false
		}
		if as.Append {
			old, _ := r.element(r.lookup(name), r.evalIndex(name, index))
			value = r.appended(name, old, value)
		}
		if r.opts.xtrace {
			r.traceText(name + "[" + index + "]=" + traceQuote(value))
		}
		return r.assignElement(name, index, value)
	}
	value := r.assignedText(as.Value)
	if r.flow != flowNext {
		return false
	}
	if as.Append {
		value = r.appended(name, r.get(name), value)
	}
	if r.opts.xtrace {
		if r.dash {
			r.traceText(name + "=" + value)
		} else {
			r.traceText(name + "=" + traceQuote(value))
		}
	}
	return set(name, value)
}

// appended returns the value of name+=value.
func (r *runner) appended(name, old, value string) string {
	if v := r.lookup(name); v != nil && v.integer {
		if old == "" {
			old = "0"
		}
		return old + "+" + "(" + value + ")"
	}
	return old + value
}

// assignTemporary makes the assignments before a command, in the innermost scope.
func (r *runner) assignTemporary(all []*syntax.Assign) bool {
	for _, as := range all {
		if as.Array != nil || as.Index != nil {
			continue // as in bash, they do not reach the command
		}
		ok := r.assignOne(as, func(name, value string) bool {
			if v, _ := r.vars.find(name); v != nil && v.readOnly {
				r.fail(1, "%s: readonly variable", name)
				return false
			}
			r.vars.vars[name] = &variable{owner: r.token, set: true, str: value, exported: true}
			return r.hold(int64(len(value)))
		})
		if !ok {
			return false
		}
	}
	return true
}

func (r *runner) dropScope() {
	for _, v := range r.vars.vars {
		r.drop(v.size())
	}
	r.vars = r.vars.parent
}

// call runs a function, a builtin or a program.
func (r *runner) call(args []string) {
	name := args[0]
	tail := r.tail
	r.tail = false
	if f := r.funcs[name]; f != nil && (!r.dash || !specialBuiltin(name)) {
		r.callFunction(f, args)
		return
	}
	if b := r.builtin(name); b != nil {
		r.statusBefore, r.status = r.status, 0
		b(r, args)
		return
	}
	if tail && !slices.ContainsFunc(slices.Collect(maps.Values(r.traps)), func(text string) bool { return text != "" }) {
		r.replace(args)
		return
	}
	r.program(args)
}

// replace runs a program with the process id of the shell, which ends with it.
func (r *runner) replace(args []string) {
	p := r.process(args)
	defer p.fds.closeAll()
	run, problem := p.find()
	if problem != nil {
		r.program(args)
		return
	}
	p.PID, p.parent, p.boot = r.p.PID, r.p.parent, bootOf(r.ctx)
	p.Host.table.rename(p)
	p.Stdin = readerUntil(p.Stdin, r.ctx.Done())
	p.Stdout, p.Stderr = r.stdout(), r.stderr()
	start := p.Host.o.Clock.Now()
	r.status = run(r.ctx, p) & maxStatus
	p.Host.memory.give(p.held)
	p.ran(args, start, r.status)
}

func (r *runner) callFunction(f *function, args []string) {
	if !r.enter() {
		return
	}
	params, loops := r.params, r.loops
	r.params, r.loops = args[1:], 0
	r.vars = &scope{vars: map[string]*variable{}, parent: r.vars}
	r.stack = append(r.stack, frame{function: f.name, file: f.file, called: r.line})
	outer, line, node, base := r.traps["RETURN"], r.line, r.node, r.lineBase
	r.lineBase = f.lineBase
	if r.opts.functrace {
		r.debug()
	}
	r.stmt(f.body)
	returned := r.flow == flowReturn
	if returned || r.flow == flowBreak || r.flow == flowContinue {
		r.flow = flowNext
	}
	if r.opts.functrace || r.traps["RETURN"] != outer {
		r.returnTrap(returned)
	}
	r.stack = r.stack[:len(r.stack)-1]
	r.line, r.lineBase = line, base // BASH_COMMAND stays the last one of the function
	if r.inTrap {
		r.node = node
	}
	r.restoreLocalOptions()
	for r.vars.temp { // cannot happen unless a scope was left by an error
		r.dropScope()
	}
	r.dropScope()
	r.params, r.loops = params, loops
	r.depth--
}

// returnTrap runs the RETURN trap, for which $? is the status before return.
func (r *runner) returnTrap(returned bool) {
	text, status := r.traps["RETURN"], r.status
	if text == "" || r.flow != flowNext || r.inTrap {
		return
	}
	if returned {
		r.status = r.statusBefore
	}
	r.evalTrap(text)
	if r.flow == flowNext {
		r.status = status
	}
}

// restoreLocalOptions undoes the changes of options in a function with "local -".
func (r *runner) restoreLocalOptions() {
	if v := r.functionScope().vars["-"]; v != nil {
		r.opts = v.options
	}
}

// program runs a command that is not part of the shell.
func (r *runner) program(args []string) {
	if _, missing := r.funcs["command_not_found_handle"]; missing && !r.dash && !strings.Contains(args[0], "/") {
		if _, problem := r.process(args).which(args[0]); problem != nil && problem.status == 127 {
			r.callFunction(r.funcs["command_not_found_handle"], append([]string{"command_not_found_handle"}, args...))
			return
		}
	}
	p := r.process(r.hash(args))
	defer p.fds.closeAll()
	r.status = p.exec(r.ctx)
	if r.status == forkFailed && r.p.session.exhausted.Load() {
		r.flow = flowExit
		if r.dash {
			r.status = 2
		}
	}
}

// process returns a child process with the state of the shell.
func (r *runner) process(args []string) *Process {
	p := r.p.child(args)
	p.Env = r.environment()
	p.Stdin, p.Stdout, p.Stderr = r.fds.reader(0), r.fds.writer(1), r.fds.writer(2)
	p.tty = r.fds[0] != nil && r.fds[0].tty
	p.line, p.by, p.dash = r.line, r.messageName(), r.dash
	p.fds = maps.Clone(r.fds)
	for fd, s := range p.fds {
		if fd < 3 {
			delete(p.fds, fd)
		} else {
			s.retain()
		}
	}
	return p
}

func (r *runner) messageName() string {
	if n := len(r.stack); n > 0 && !r.dash && r.stack[n-1].file != "" {
		return r.stack[n-1].file
	}
	return r.name
}
