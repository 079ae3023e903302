package sandbox

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// dash rejects bash constructs that dash lacks, and rewrites those that dash
// interprets differently, so that a #!/bin/sh script that needs bash fails as on
// a real machine.
func (w *rewriter) dash(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.Stmt:
		w.dashCommand(n)
	case *syntax.Redirect:
		switch n.Op {
		case syntax.WordHdoc, syntax.RdrAll, syntax.AppAll:
			w.fail(n, "redirection unexpected")
		}
	case *syntax.ProcSubst:
		w.fail(n, `"(" unexpected`)
	case *syntax.ArrayExpr:
		w.fail(n, `"(" unexpected`)
	case *syntax.Word:
		for _, part := range n.Parts {
			if lit, ok := part.(*syntax.Lit); ok && strings.Contains(lit.Value, "{") {
				lit.Value = escapeBraces(lit.Value)
				w.changed = true
			}
		}
	case *syntax.ParamExp:
		bash := n.Excl || n.Index != nil || n.Slice != nil || n.Repl != nil || n.Names != 0 ||
			n.Exp != nil && n.Exp.Op >= syntax.UpperFirst
		if bash {
			w.fail(n, "Bad substitution")
		}
	}
}

func (w *rewriter) dashCommand(st *syntax.Stmt) {
	switch cmd := st.Cmd.(type) {
	case *syntax.TestClause:
		st.Cmd = call(st.Pos(), "[[")
		w.changed = true
	case *syntax.DeclClause:
		switch cmd.Variant.Value {
		case "declare", "typeset", "nameref":
			st.Cmd = call(st.Pos(), cmd.Variant.Value)
			w.changed = true
		}
	case *syntax.LetClause:
		st.Cmd = call(st.Pos(), "let")
		w.changed = true
	case *syntax.BinaryCmd:
		if cmd.Op == syntax.PipeAll {
			w.fail(st, `"&" unexpected`)
		}
	case *syntax.FuncDecl:
		if cmd.RsrvWord {
			w.fail(st, `"(" unexpected`)
		}
	case *syntax.ArithmCmd:
		w.fail(st, `"((" unexpected`)
	case *syntax.ForClause:
		if _, ok := cmd.Loop.(*syntax.CStyleLoop); ok || cmd.Select {
			w.fail(st, "Bad for loop variable")
		}
	}
}

// escapeBraces escapes braces to prevent brace expansion.
func escapeBraces(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			b.WriteByte(s[i])
			i++
		case s[i] == '{':
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// dashBuiltin reports whether dash has the builtin, for a builtin of the
// interpreter.
func dashBuiltin(name string) bool {
	switch name {
	case "source", "declare", "typeset", "shopt", "mapfile", "readarray", "pushd", "popd", "dirs", "let", "help",
		"builtin", "caller", "compgen", "complete", "compopt", "disown", "enable", "history", "logout", "suspend",
		"bind", "[[":
		return false
	}
	return true
}
