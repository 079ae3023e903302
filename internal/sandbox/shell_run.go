package sandbox

import (
	"slices"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

func (r *runner) stmts(list []*syntax.Stmt) {
	for _, st := range list {
		if r.flow != flowNext {
			return
		}
		if st != nil {
			r.stmt(st)
		}
	}
}

func (r *runner) stmt(st *syntax.Stmt) {
	if !r.step() {
		return
	}
	if deeper := r.p.Host.o.Limits.Depth * framesPerLevel; r.nesting > deeper {
		r.fail(1, "nested too deeply for this machine")
		r.flow = flowExit
		return
	}
	r.nesting++
	defer func() { r.nesting-- }()
	mark := len(r.substitutions)
	switch {
	case r.dash && r.dashBackground(st):
	case st.Background:
		r.background(st)
	case st.Negated:
		r.noErr++
		r.redirected(st)
		r.noErr--
		if r.flow == flowNext {
			r.status = map[bool]int{true: 1, false: 0}[r.status == 0]
		}
	default:
		r.redirected(st)
	}
	r.closeSubstitutions(mark)
}

// framesPerLevel is how many commands may nest within each function call.
const framesPerLevel = 8

// redirected runs a statement's command with its redirections.
func (r *runner) redirected(st *syntax.Stmt) {
	if len(st.Redirs) == 0 {
		r.cmd(st.Cmd)
		return
	}
	if call, ok := st.Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 {
		r.simple(call, st.Redirs) // expands its words first
		return
	}
	r.at(st)
	undo, ok := r.redirect(st.Redirs)
	defer undo()
	if !ok {
		if r.flow == flowNext {
			r.setStatus(r.redirectFailed())
			r.check1()
		}
		return
	}
	if st.Cmd == nil {
		r.status = 0
		return
	}
	r.cmd(st.Cmd)
}

// check1 ends the shell, or runs the ERR trap, after a command that failed.
func (r *runner) check1() {
	if r.status == 0 || r.noErr > 0 || r.flow != flowNext {
		return
	}
	if text := r.traps["ERR"]; text != "" && !r.inTrap && (!r.inFunction() || r.opts.errtrace) {
		status := r.status
		r.evalTrap(text)
		if r.flow != flowNext {
			return
		}
		r.status = status
	}
	if r.opts.errexit {
		r.flow = flowExit
	}
}

// redirectFailed returns the status of a command whose redirections failed.
func (r *runner) redirectFailed() int {
	if r.dash {
		return 2
	}
	return 1
}

// at notes the line of a command, except that a trap runs at the line of the
// command that caused it.
func (r *runner) at(n syntax.Node) {
	if !r.inTrap || len(r.stack) != r.trapStack {
		r.line, r.node = n.Pos().Line()+r.lineBase, n
	}
}

func (r *runner) inFunction() bool {
	return slices.ContainsFunc(r.stack[min(1, len(r.stack)):], func(f frame) bool { return !f.sourced })
}

func (r *runner) cmd(cm syntax.Command) {
	switch cm := cm.(type) {
	case nil:
	case *syntax.CallExpr:
		r.simple(cm, nil)
	case *syntax.BinaryCmd:
		if cm.Op == syntax.AndStmt || cm.Op == syntax.OrStmt {
			r.list(cm)
		} else {
			r.pipeline(cm)
			r.check1()
		}
	case *syntax.Block:
		r.stmts(cm.Stmts)
	case *syntax.Subshell:
		r.at(cm)
		status := r.subshell(func(c *runner) { c.stmts(cm.Stmts) })
		if r.flow == flowNext {
			r.setStatus(status)
			r.check1()
		}
	case *syntax.IfClause:
		r.ifClause(cm)
	case *syntax.WhileClause:
		r.while(cm)
	case *syntax.ForClause:
		r.forClause(cm)
	case *syntax.CaseClause:
		r.caseClause(cm)
	case *syntax.FuncDecl:
		if cm.Name == nil { // of another shell's syntax
			r.fail(2, "syntax error near unexpected token `('")
			r.flow = flowExit
			return
		}
		r.funcs[cm.Name.Value] = &function{name: cm.Name.Value, body: cm.Body, file: r.file(), lineBase: r.lineBase}
		r.setStatus(0)
	case *syntax.ArithmCmd:
		r.at(cm)
		r.debug()
		if r.opts.xtrace {
			text := arithText(cm.X)
			if cm.X != nil {
				text = gap(cm.Left.Offset()+2, cm.X.Pos().Offset()) + text + gap(cm.X.End().Offset(), cm.Right.Offset())
			}
			r.traceCompound("(( " + text + " ))")
		}
		n, ok := r.arithCommand("((", cm.X)
		r.setStatus(map[bool]int{true: 0, false: 1}[ok && n != 0])
		if r.flow == flowDiscard {
			r.flow = flowNext
		}
		r.check1()
	case *syntax.LetClause:
		r.at(cm)
		if r.opts.xtrace {
			words := []string{"let"}
			for _, x := range cm.Exprs {
				words = append(words, arithText(x))
			}
			r.trace(words)
		}
		var n int64
		for _, x := range cm.Exprs {
			var ok bool
			if n, ok = r.arithCommand("let", x); !ok {
				n = 0
				break
			}
		}
		r.setStatus(map[bool]int{true: 0, false: 1}[n != 0])
		r.check1()
	case *syntax.TestClause:
		r.at(cm)
		r.debug()
		r.testClause(cm)
		r.check1()
	case *syntax.DeclClause:
		r.at(cm)
		r.debug()
		r.declare(cm)
		r.check1()
	case *syntax.TimeClause:
		r.timed(cm)
	case *syntax.CoprocClause:
		r.coproc(cm)
	default:
		r.fail(2, "%T is not supported by this machine", cm)
	}
}

// file returns the file that is being run.
func (r *runner) file() string {
	n := len(r.stack)
	switch {
	case n == 0:
		return r.arg0
	case n == 1 && r.fromString && !r.dash:
		return "environment" // as bash says of the functions of -c
	}
	return r.stack[n-1].file
}

// setStatus sets the status of a pipeline of one command.
func (r *runner) setStatus(status int) {
	r.status, r.pipeStatus = status, []int{status}
}

// list runs a list joined by && and ||, which the parser nests to the left.
func (r *runner) list(cm *syntax.BinaryCmd) {
	terms := []*syntax.Stmt{cm.Y}
	ops := []syntax.BinCmdOperator{cm.Op}
	x := cm.X
	for {
		b, ok := x.Cmd.(*syntax.BinaryCmd)
		if !ok || b.Op != syntax.AndStmt && b.Op != syntax.OrStmt || x.Negated || len(x.Redirs) > 0 || x.Background {
			break
		}
		terms, ops = append(terms, b.Y), append(ops, b.Op)
		x = b.X
	}
	terms = append(terms, x)
	slices.Reverse(terms)
	slices.Reverse(ops)
	for i, term := range terms {
		if i > 0 && (r.status == 0) != (ops[i-1] == syntax.AndStmt) {
			continue
		}
		last := i == len(terms)-1
		if !last {
			r.noErr++
		}
		r.stmt(term)
		if !last {
			r.noErr--
		}
		if r.flow != flowNext {
			return
		}
	}
}

// pipeline runs commands joined by pipes, each in a subshell.
func (r *runner) pipeline(cm *syntax.BinaryCmd) {
	r.at(cm)
	parts, both := []*syntax.Stmt{}, []bool{}
	var collect func(cm *syntax.BinaryCmd)
	collect = func(cm *syntax.BinaryCmd) {
		add := func(st *syntax.Stmt) {
			if b, ok := st.Cmd.(*syntax.BinaryCmd); ok && (b.Op == syntax.Pipe || b.Op == syntax.PipeAll) &&
				!st.Negated && !st.Background && len(st.Redirs) == 0 {
				collect(b)
			} else {
				parts = append(parts, st)
			}
		}
		add(cm.X)
		both = append(both, cm.Op == syntax.PipeAll)
		add(cm.Y)
	}
	collect(cm)
	statuses := make([]int, len(parts))
	var wg sync.WaitGroup
	var in *stream
	for i, part := range parts {
		if i == len(parts)-1 && r.shopts["lastpipe"] {
			statuses[i] = r.lastPart(part, in)
			break
		}
		var out, next *stream
		if i < len(parts)-1 {
			next, out = newPipe()
		}
		c, end, ok := r.fork(r.ctx)
		if !ok {
			for _, s := range []*stream{in, out, next} {
				if s != nil {
					s.release()
				}
			}
			break
		}
		if in != nil {
			c.fds.set(0, in)
		}
		if out != nil {
			c.fds.set(1, out)
			if both[i] {
				c.fds.set(2, out.retain())
			}
		}
		in = next
		run := func() {
			defer end()
			statuses[i] = c.run(func(c *runner) { c.stmt(part) })
		}
		if i == len(parts)-1 {
			run()
		} else {
			wg.Go(run)
		}
	}
	wg.Wait()
	if r.flow != flowNext {
		return
	}
	r.setPipeStatus(statuses)
}

// lastPart runs the last part of a pipeline in the shell itself.
func (r *runner) lastPart(part *syntax.Stmt, in *stream) int {
	before := r.fds[0]
	if before != nil {
		before.retain()
	}
	r.fds.set(0, in)
	r.stmt(part)
	r.fds.set(0, before)
	return r.status
}

func (r *runner) setPipeStatus(statuses []int) {
	r.pipeStatus = statuses
	r.status = statuses[len(statuses)-1]
	if r.opts.pipefail {
		for _, s := range slices.Backward(statuses) {
			if s != 0 {
				r.status = s
				break
			}
		}
	}
}
