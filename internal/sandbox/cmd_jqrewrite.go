package sandbox

import (
	"strings"

	"github.com/itchyny/gojq"
)

// jqRewriter makes a program check its values; see jqGuard.
type jqRewriter struct {
	own map[string]bool // functions that the program defines
}

func call(name string, args ...*gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}}
}

// piped returns "first | second | ...". A query in parentheses keeps its definitions
// and variables to itself.
func piped(all ...*gojq.Query) *gojq.Query {
	q := all[len(all)-1]
	for i := len(all) - 2; i >= 0; i-- {
		q = &gojq.Query{Left: inParentheses(all[i]), Op: gojq.OpPipe, Right: q}
	}
	return q
}

func inParentheses(q *gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeQuery, Query: q}}
}

func identityQuery() *gojq.Query { return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity}} }

// item returns ".[i]".
func item(i string) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIndex, Index: &gojq.Index{
		Start: &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeNumber, Number: i}},
	}}}
}

// query rewrites q in place.
func (w jqRewriter) query(q *gojq.Query) {
	if q == nil {
		return
	}
	for _, def := range q.FuncDefs {
		w.own[def.Name] = true
		w.query(def.Body)
	}
	w.patterns(q.Patterns)
	if q.Term != nil {
		w.term(q.Term)
		return
	}
	w.query(q.Left)
	switch q.Op {
	case gojq.OpAdd, gojq.OpSub, gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe, gojq.OpMod:
		w.operands(q, "_pair")
	case gojq.OpMul:
		w.operands(q, "_factors")
	case gojq.OpDiv:
		w.operands(q, "_parts")
	case gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod:
		w.update(q)
	default:
		w.query(q.Right)
	}
}

// operands makes "_pair(left; right) | .[0] op .[1]" of "left op right".
func (w jqRewriter) operands(q *gojq.Query, check string) {
	w.query(q.Right)
	operation := &gojq.Query{Left: item("0"), Op: q.Op, Right: item("1")}
	*q = gojq.Query{
		Meta: q.Meta, Imports: q.Imports, FuncDefs: q.FuncDefs,
		Left: call(check, q.Left, q.Right), Op: gojq.OpPipe, Right: piped(operation, call("_result")),
	}
}

// update makes "right as $__value | left |= (. op $__value)" of "left op= right".
func (w jqRewriter) update(q *gojq.Query) {
	const name = "$__value"
	op := map[gojq.Operator]gojq.Operator{
		gojq.OpUpdateAdd: gojq.OpAdd, gojq.OpUpdateSub: gojq.OpSub, gojq.OpUpdateMul: gojq.OpMul,
		gojq.OpUpdateDiv: gojq.OpDiv, gojq.OpUpdateMod: gojq.OpMod,
	}[q.Op]
	w.query(q.Right)
	value := &gojq.Query{Left: identityQuery(), Op: op, Right: call(name)}
	w.query(value)
	// The left side must not see the variable; a program cannot name it.
	*q = gojq.Query{
		Meta: q.Meta, Imports: q.Imports, FuncDefs: q.FuncDefs,
		Left: inParentheses(q.Right), Patterns: []*gojq.Pattern{{Name: name}}, Op: gojq.OpPipe,
		Right: &gojq.Query{Left: q.Left, Op: gojq.OpModify, Right: inParentheses(value)},
	}
}

// term rewrites t in place.
func (w jqRewriter) term(t *gojq.Term) {
	w.index(t.Index)
	w.text(t.Str)
	switch t.Type {
	case gojq.TermTypeFunc:
		w.function(t)
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			w.text(kv.KeyString)
			w.query(kv.KeyQuery)
			w.query(kv.Val)
		}
		w.around(t, "")
	case gojq.TermTypeArray:
		w.query(t.Array.Query)
		w.around(t, "")
	case gojq.TermTypeUnary:
		w.term(t.Unary.Term)
	case gojq.TermTypeFormat, gojq.TermTypeString:
		if t.Type == gojq.TermTypeFormat || t.Str != nil && t.Str.Queries != nil {
			w.around(t, "_bounded")
		}
	case gojq.TermTypeIf:
		w.query(t.If.Cond)
		w.query(t.If.Then)
		for _, e := range t.If.Elif {
			w.query(e.Cond)
			w.query(e.Then)
		}
		w.query(t.If.Else)
	case gojq.TermTypeTry:
		w.query(t.Try.Body)
		w.query(t.Try.Catch)
	case gojq.TermTypeReduce:
		w.query(t.Reduce.Query)
		w.patterns(t.Reduce.Patterns)
		w.query(t.Reduce.Start)
		w.query(t.Reduce.Update)
	case gojq.TermTypeForeach:
		w.query(t.Foreach.Query)
		w.patterns(t.Foreach.Patterns)
		w.query(t.Foreach.Start)
		w.query(t.Foreach.Update)
		w.query(t.Foreach.Extract)
	case gojq.TermTypeLabel:
		w.query(t.Label.Body)
	case gojq.TermTypeQuery:
		w.query(t.Query)
	}
	for _, s := range t.SuffixList {
		w.index(s.Index)
	}
}

// around makes "(before | t | _result)" of the term without its suffixes.
func (w jqRewriter) around(t *gojq.Term, before string) {
	inner := *t
	inner.SuffixList = nil
	parts := []*gojq.Query{{Term: &inner}, call("_result")}
	if before != "" {
		parts = append([]*gojq.Query{call(before)}, parts...)
	}
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: piped(parts...), SuffixList: t.SuffixList}
}

// function makes a call check its input and its result.
func (w jqRewriter) function(t *gojq.Term) {
	f := t.Func
	for _, arg := range f.Args {
		w.query(arg)
	}
	if f.Name[0] == '$' || f.Name == "empty" {
		return
	}
	before := "_bounded"
	if !w.own[f.Name] {
		before = w.special(f)
	}
	w.around(t, before)
}

// special returns the check of the input of functions that return much more than they
// get, and adds checks of their arguments.
func (w jqRewriter) special(f *gojq.Func) string {
	first := func(check *gojq.Query) {
		if len(f.Args) > 0 {
			f.Args[0] = piped(f.Args[0], check)
		}
	}
	switch f.Name {
	case "match", "test", "scan", "capture", "sub", "gsub", "splits", "_match":
		return "_shorter"
	case "split", "explode", "indices", "index", "rindex", "fromjson", "tojson", "tostream", "combinations", "strftime", "strflocaltime", "strptime":
		return "_short"
	case "transpose":
		return "_rows"
	case "join":
		if len(f.Args) == 1 {
			f.Args[0] = call("_separated", f.Args[0])
		}
	case "setpath", "getpath":
		first(call("_path"))
	case "fromstream":
		first(call("_event"))
	case "nth":
		first(call("_index"))
	}
	return "_bounded"
}

// index makes an index check itself.
func (w jqRewriter) index(i *gojq.Index) {
	if i == nil {
		return
	}
	w.text(i.Str)
	w.query(i.Start)
	w.query(i.End)
	if i.Start != nil && !constant(i.Start.Term) {
		i.Start = piped(i.Start, call("_index"))
	}
}

// constant reports whether t is a string or a small number.
func constant(t *gojq.Term) bool {
	const digits = 5
	switch {
	case t == nil || len(t.SuffixList) > 0:
		return false
	case t.Type == gojq.TermTypeNumber:
		return len(t.Number) <= digits && !strings.ContainsAny(t.Number, "eE")
	case t.Type == gojq.TermTypeUnary:
		return constant(t.Unary.Term)
	}
	return t.Type == gojq.TermTypeString && t.Str.Queries == nil
}

// text makes the values in a string check themselves.
func (w jqRewriter) text(s *gojq.String) {
	if s == nil {
		return
	}
	for i, q := range s.Queries {
		w.query(q)
		if q.Term == nil || q.Term.Type != gojq.TermTypeString || q.Term.Str.Queries != nil {
			s.Queries[i] = inParentheses(piped(q, call("_bounded")))
		}
	}
}

// patterns rewrites the keys of patterns.
func (w jqRewriter) patterns(all []*gojq.Pattern) {
	for _, p := range all {
		w.patterns(p.Array)
		for _, o := range p.Object {
			w.text(o.KeyString)
			w.query(o.KeyQuery)
			if o.Val != nil {
				w.patterns([]*gojq.Pattern{o.Val})
			}
		}
	}
}
