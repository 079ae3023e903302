package sandbox

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// check rejects bash constructs that dash cannot parse, and rewrites those that
// dash interprets differently, so that a #!/bin/sh script that needs bash fails as
// on a real machine.
func (r *runner) check(list []*syntax.Stmt) error {
	if !r.dash {
		return nil
	}
	c := &dashChecker{}
	for _, st := range list {
		if st != nil {
			syntax.Walk(st, c.visit)
		}
	}
	return c.problem
}

type dashChecker struct{ problem error }

func (c *dashChecker) fail(n syntax.Node, text string) {
	if c.problem == nil {
		c.problem = syntax.ParseError{Pos: n.Pos(), Text: text}
	}
}

func (c *dashChecker) visit(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.Stmt:
		c.command(n)
	case *syntax.Redirect:
		switch {
		case n.Op == syntax.WordHdoc:
			c.fail(n, "redirection unexpected")
		case n.N != nil && strings.HasPrefix(n.N.Value, "{"):
			c.fail(n, "redirection unexpected")
		}
	case *syntax.ProcSubst, *syntax.ArrayExpr:
		c.fail(n, `"(" unexpected`)
	case *syntax.ExtGlob:
		c.fail(n, `"(" unexpected`)
	}
	return c.problem == nil
}

func (c *dashChecker) command(st *syntax.Stmt) {
	switch cmd := st.Cmd.(type) {
	case *syntax.TestClause:
		st.Cmd = literalCall(st.Pos(), "[[")
	case *syntax.DeclClause:
		switch cmd.Variant.Value {
		case "declare", "typeset", "nameref":
			st.Cmd = literalCall(st.Pos(), cmd.Variant.Value)
		}
	case *syntax.LetClause:
		st.Cmd = literalCall(st.Pos(), "let")
	case *syntax.CoprocClause:
		st.Cmd = literalCall(st.Pos(), "coproc")
	case *syntax.BinaryCmd:
		if cmd.Op == syntax.PipeAll {
			c.fail(st, `"&" unexpected`)
		}
	case *syntax.FuncDecl:
		if cmd.RsrvWord {
			c.fail(st, `"(" unexpected`)
		}
	case *syntax.ArithmCmd: // two subshells for dash
		text := arithmeticText(cmd.X)
		file, err := syntax.NewParser().Parse(&scriptReader{r: strings.NewReader("(" + text + ")"), limit: maxFrames}, "")
		if err != nil || len(file.Stmts) != 1 {
			c.fail(st, "word unexpected")
			return
		}
		st.Cmd = file.Stmts[0].Cmd
	case *syntax.ForClause:
		if _, ok := cmd.Loop.(*syntax.CStyleLoop); ok || cmd.Select {
			c.fail(st, "Bad for loop variable")
		}
	}
}

// arithmeticText returns the text of an expression without spaces.
func arithmeticText(x syntax.ArithmExpr) string {
	switch x := x.(type) {
	case *syntax.Word:
		return textOf(x)
	case *syntax.BinaryArithm:
		return arithmeticText(x.X) + x.Op.String() + arithmeticText(x.Y)
	case *syntax.UnaryArithm:
		if x.Post {
			return arithmeticText(x.X) + x.Op.String()
		}
		return x.Op.String() + arithmeticText(x.X)
	case *syntax.ParenArithm:
		return "(" + arithmeticText(x.X) + ")"
	}
	return ""
}

func literalCall(pos syntax.Pos, args ...string) *syntax.CallExpr {
	c := &syntax.CallExpr{}
	for _, arg := range args {
		c.Args = append(c.Args, &syntax.Word{Parts: []syntax.WordPart{
			&syntax.SglQuoted{Left: pos, Right: pos, Value: arg},
		}})
	}
	return c
}

// dashBackground runs "command &>file", which dash reads as "command & >file".
func (r *runner) dashBackground(st *syntax.Stmt) bool {
	for i, rd := range st.Redirs {
		if rd.Op != syntax.RdrAll && rd.Op != syntax.AppAll {
			continue
		}
		job := *st
		job.Redirs, job.Background = st.Redirs[:i], true
		r.background(&job)
		out := *rd
		out.Op, out.N = syntax.RdrOut, nil
		if rd.Op == syntax.AppAll {
			out.Op = syntax.AppOut
		}
		r.redirected(&syntax.Stmt{Position: st.Position, Redirs: append([]*syntax.Redirect{&out}, st.Redirs[i+1:]...)})
		return true
	}
	return false
}

// badSubstitution reports whether dash lacks an expansion.
func badSubstitution(pe *syntax.ParamExp) bool {
	return pe.Excl || pe.Index != nil || pe.Slice != nil || pe.Repl != nil || pe.Names != 0 ||
		pe.Exp != nil && pe.Exp.Op >= syntax.UpperFirst
}

// dashBuiltin reports whether dash has a builtin that bash has.
func dashBuiltin(name string) bool {
	switch name {
	case "source", "declare", "typeset", "shopt", "mapfile", "readarray", "pushd", "popd", "dirs", "let", "help",
		"builtin", "caller", "compgen", "complete", "compopt", "disown", "enable", "history", "logout", "suspend",
		"bind", "[[":
		return false
	}
	return true
}
