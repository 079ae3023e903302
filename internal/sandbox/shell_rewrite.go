package sandbox

import (
	"bytes"
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// internal is the command through which rewritten scripts call back.
const internal = "__bakestone"

// rewrite modifies a parsed script before it runs: it replaces constructs that
// would access the real computer, gives background lists process ids, and for
// dash rejects bash constructs.
func (sh *shell) rewrite(file *syntax.File) error {
	w := rewriter{sh: sh, skip: map[*syntax.ParamExp]bool{}}
	syntax.Walk(file, w.visit)
	return w.problem
}

// rewriteText is like rewrite for a script that the interpreter parses itself.
func (sh *shell) rewriteText(text string) (string, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return text, nil //nolint:nilerr // the interpreter reports it
	}
	w := rewriter{sh: sh, skip: map[*syntax.ParamExp]bool{}}
	syntax.Walk(file, w.visit)
	if w.problem != nil || !w.changed {
		return text, w.problem
	}
	var b bytes.Buffer
	err = syntax.NewPrinter().Print(&b, file)
	return b.String(), err
}

type rewriter struct {
	sh      *shell
	changed bool
	problem error
	skip    map[*syntax.ParamExp]bool // parameters to leave to the interpreter
}

func (w *rewriter) visit(n syntax.Node) bool {
	if w.problem != nil || n == nil {
		return w.problem == nil
	}
	if w.sh.dash {
		w.dash(n)
	}
	switch n := n.(type) {
	case *syntax.File:
		n.Stmts = w.stmts(n.Stmts)
	case *syntax.Block:
		n.Stmts = w.stmts(n.Stmts)
	case *syntax.Subshell:
		n.Stmts = w.stmts(n.Stmts)
	case *syntax.CmdSubst:
		n.Stmts = w.stmts(n.Stmts)
	case *syntax.IfClause:
		n.Cond, n.Then = w.stmts(n.Cond), w.stmts(n.Then)
	case *syntax.WhileClause:
		n.Cond, n.Do = w.stmts(n.Cond), w.stmts(n.Do)
	case *syntax.ForClause:
		n.Do = w.stmts(n.Do)
	case *syntax.CaseItem:
		n.Stmts = w.stmts(n.Stmts)
	case *syntax.Word:
		w.parts(n.Parts)
	case *syntax.DblQuoted:
		w.parts(n.Parts)
	case *syntax.CoprocClause:
		w.fail(n, "coproc is not supported by this machine")
	case *syntax.UnaryTest:
		if n.Op == syntax.TsUsrOwn || n.Op == syntax.TsGrpOwn || n.Op == syntax.TsFdTerm {
			w.fail(n, fmt.Sprintf("%s inside [[ ]] is not supported by this machine: use [ ]", n.Op))
		}
	}
	return true
}

func (w *rewriter) fail(n syntax.Node, text string) {
	if w.problem == nil {
		w.problem = syntax.ParseError{Pos: n.Pos(), Text: text}
	}
}

func (w *rewriter) parts(parts []syntax.WordPart) {
	for i, part := range parts {
		switch part := part.(type) {
		case *syntax.ParamExp:
			w.param(parts, i, part)
		case *syntax.ProcSubst:
			if part.Op != syntax.CmdIn {
				w.fail(part, "process substitution >( ) is not supported by this machine")
				return
			}
			pipe := &syntax.Stmt{Position: part.Pos(), Cmd: &syntax.BinaryCmd{
				Op: syntax.Pipe,
				X:  &syntax.Stmt{Position: part.Pos(), Cmd: &syntax.Block{Stmts: part.Stmts}},
				Y:  &syntax.Stmt{Position: part.Pos(), Cmd: call(part.Pos(), internal, "substitute")},
			}}
			parts[i] = &syntax.CmdSubst{Left: part.Pos(), Stmts: []*syntax.Stmt{pipe}}
			w.changed = true
		}
	}
}

// param replaces parameters whose values would be those of the real process.
func (w *rewriter) param(parts []syntax.WordPart, i int, p *syntax.ParamExp) {
	if p.Param == nil || p.Length || p.Excl || w.skip[p] {
		return
	}
	switch p.Param.Value {
	case "$":
		parts[i] = &syntax.Lit{ValuePos: p.Pos(), ValueEnd: p.End(), Value: itoa(w.sh.p.PID)}
	case "PPID":
		parts[i] = &syntax.Lit{ValuePos: p.Pos(), ValueEnd: p.End(), Value: itoa(w.sh.p.parent)}
	case "!":
		p.Param.Value = hiddenLast
		p.Short = false
	default:
		return
	}
	w.changed = true
}

func call(pos syntax.Pos, args ...string) *syntax.CallExpr {
	c := &syntax.CallExpr{}
	for _, arg := range args {
		c.Args = append(c.Args, &syntax.Word{Parts: []syntax.WordPart{
			&syntax.SglQuoted{Left: pos, Right: pos, Value: arg},
		}})
	}
	return c
}

// background starts a list as a job with a process id. The subshell ensures that
// an exit in the list does not skip endjob.
const background = hiddenLast + "=$(" + internal + " newjob)\n" +
	"{ " + hiddenJob + "=$" + hiddenLast + "; (:); " + internal + " endjob $?; } &\n" +
	internal + " named $" + hiddenLast + " $!\n"

func (w *rewriter) stmts(list []*syntax.Stmt) []*syntax.Stmt {
	var out []*syntax.Stmt
	for i, st := range list {
		if !st.Background {
			if out != nil {
				out = append(out, st)
			}
			continue
		}
		if out == nil {
			out = append(out, list[:i]...)
		}
		out = append(out, w.job(st)...)
		w.changed = true
	}
	if out == nil {
		return list
	}
	return out
}

func (w *rewriter) job(st *syntax.Stmt) []*syntax.Stmt {
	file, err := syntax.NewParser().Parse(strings.NewReader(background), "")
	if err != nil || len(file.Stmts) != 3 {
		w.fail(st, "internal: background template")
		return nil
	}
	foreground := *st
	foreground.Background = false
	syntax.Walk(file.Stmts[1], func(n syntax.Node) bool {
		if sub, ok := n.(*syntax.Subshell); ok {
			sub.Stmts = []*syntax.Stmt{&foreground}
			return false
		}
		return true
	})
	syntax.Walk(file.Stmts[2], func(n syntax.Node) bool {
		if p, ok := n.(*syntax.ParamExp); ok && p.Param.Value == "!" {
			w.skip[p] = true // the interpreter's $!
		}
		return true
	})
	return file.Stmts
}
