package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// condition runs the commands of a condition, whose failure does not end the
// shell, and reports whether they succeeded.
func (r *runner) condition(list []*syntax.Stmt) bool {
	r.noErr++
	r.stmts(list)
	r.noErr--
	return r.status == 0
}

func (r *runner) ifClause(cm *syntax.IfClause) {
	for ; cm != nil; cm = cm.Else {
		if len(cm.Cond) == 0 { // else
			r.stmts(cm.Then)
			return
		}
		holds := r.condition(cm.Cond)
		if r.flow != flowNext {
			return
		}
		if holds {
			r.stmts(cm.Then)
			return
		}
	}
	r.status = 0
}

// loop runs the body of a loop once and reports whether the loop goes on.
func (r *runner) loop(body []*syntax.Stmt) bool {
	if !r.step() {
		return false
	}
	r.stmts(body)
	return r.loopGoesOn()
}

func (r *runner) loopGoesOn() bool {
	switch r.flow {
	case flowNext:
		return true
	case flowBreak, flowContinue:
		r.levels--
		if r.levels > 0 {
			return false
		}
		on := r.flow == flowContinue
		r.flow = flowNext
		return on
	default:
		return false
	}
}

func (r *runner) while(cm *syntax.WhileClause) {
	r.loops++
	defer func() { r.loops-- }()
	status := 0
	for r.step() {
		holds := r.condition(cm.Cond)
		if r.flow != flowNext {
			if !r.loopGoesOn() {
				return
			}
			continue
		}
		if holds == cm.Until {
			r.status = status
			return
		}
		if !r.loop(cm.Do) {
			return
		}
		status = r.status
	}
}

func (r *runner) forClause(cm *syntax.ForClause) {
	r.loops++
	defer func() { r.loops-- }()
	r.at(cm)
	switch loop := cm.Loop.(type) {
	case *syntax.CStyleLoop:
		r.forArith(loop, cm.Do)
	case *syntax.WordIter:
		items := r.params
		if loop.InPos.IsValid() {
			items = r.fields(loop.Items)
		}
		if r.flow != flowNext {
			return
		}
		if cm.Select {
			r.selectLoop(loop.Name.Value, items, cm.Do)
			return
		}
		r.status = 0
		for _, item := range items {
			r.at(cm)
			r.debug()
			r.traceCompound(r.command())
			if !r.assignLoop(loop.Name.Value, item) || !r.loop(cm.Do) {
				return
			}
		}
	}
}

// assignLoop sets the variable of a loop. A reference refers to one item after the
// other.
func (r *runner) assignLoop(name, item string) bool {
	if v, _ := r.vars.find(name); v != nil && v.ref {
		if v = r.writable(name); v == nil {
			return false
		}
		v.str, v.set = item, true
		return true
	}
	return r.assign(name, item)
}

func (r *runner) forArith(loop *syntax.CStyleLoop, body []*syntax.Stmt) {
	value := func(x syntax.ArithmExpr) int64 {
		if x == nil {
			return 1
		}
		r.traceArith(x)
		n, ok := r.arith(x)
		if !ok {
			r.status = 1
			return 0
		}
		return n
	}
	value(loop.Init)
	if r.flow == flowNext {
		r.status = 0
	}
	for r.flow == flowNext && value(loop.Cond) != 0 {
		if !r.loop(body) {
			return
		}
		value(loop.Post)
	}
}

func (r *runner) selectLoop(name string, items []string, body []*syntax.Stmt) {
	show := true
	for {
		if show {
			for i, item := range items {
				r.errf("%d) %s\n", i+1, item)
			}
		}
		prompt, ok := r.lookup("PS3").scalar()
		if !ok {
			prompt = "#? "
		}
		r.errf("%s", prompt)
		line, complete := readLine(readerUntil(r.fds.reader(0), r.ctx.Done()), true)
		if !complete && line == "" {
			r.errf("\n")
			r.status = 1
			return
		}
		if show = line == ""; show {
			continue
		}
		r.assign("REPLY", line)
		choice := ""
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && n >= 1 && n <= len(items) {
			choice = items[n-1]
		}
		if !r.assign(name, choice) || !r.loop(body) {
			return
		}
	}
}

func (r *runner) caseClause(cm *syntax.CaseClause) {
	r.at(cm)
	r.debug()
	r.traceCompound(r.command())
	word := r.text(cm.Word)
	if r.flow != flowNext {
		return
	}
	r.status = 0
	through := false
	for _, item := range cm.Items {
		matches := through
		for _, p := range item.Patterns {
			if matches {
				break
			}
			matches = r.match(r.pattern(p), word)
			if r.flow != flowNext {
				return
			}
		}
		if !matches {
			continue
		}
		r.stmts(item.Stmts)
		if r.flow != flowNext {
			return
		}
		switch item.Op {
		case syntax.Fallthrough:
			through = true
		case syntax.Resume:
			through = false
		default:
			return
		}
	}
}

func (r *runner) timed(cm *syntax.TimeClause) {
	start := time.Now()
	if cm.Stmt != nil {
		r.stmt(cm.Stmt)
	}
	took := time.Since(start)
	if cm.PosixFormat {
		r.errf("real %.2f\nuser 0.00\nsys 0.00\n", took.Seconds())
		return
	}
	r.errf("\nreal\t%s\nuser\t0m0.000s\nsys\t0m0.000s\n", fmt.Sprintf("%dm%.3fs", int(took.Minutes()), took.Seconds()-60*float64(int(took.Minutes()))))
}
