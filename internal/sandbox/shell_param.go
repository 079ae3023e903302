package sandbox

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// value holds the value of a parameter, to which operators apply.
type value struct {
	name   string
	index  string // of an element
	v      *variable
	list   []string
	isList bool
	star   bool
	str    string
	set    bool
}

func nodeLit(x syntax.ArithmExpr) string {
	if w, ok := x.(*syntax.Word); ok {
		return w.Lit()
	}
	return ""
}

// indexText evaluates the index of an element: the key of an associative array,
// or a number.
func (r *runner) indexText(name string, x syntax.ArithmExpr) (string, bool) {
	target, _ := r.resolve(name)
	if v := r.lookup(target); v != nil && v.dict != nil {
		return r.keyText(x), r.flow == flowNext
	}
	n, ok := r.arith(x)
	return strconv.FormatInt(n, 10), ok
}

// keyText returns the key of an associative array, which the parser took for an
// arithmetic expression.
func (r *runner) keyText(x syntax.ArithmExpr) string {
	switch x := x.(type) {
	case *syntax.Word:
		return r.text(x)
	case *syntax.BinaryArithm:
		return r.keyText(x.X) + x.Op.String() + r.keyText(x.Y)
	case *syntax.UnaryArithm:
		if x.Post {
			return r.keyText(x.X) + x.Op.String()
		}
		return x.Op.String() + r.keyText(x.X)
	case *syntax.ParenArithm:
		return "(" + r.keyText(x.X) + ")"
	}
	return ""
}

// evalIndex returns the index of an element with negative numbers resolved.
func (r *runner) evalIndex(name, index string) string {
	v := r.lookup(name)
	if v == nil || v.dict != nil || !strings.HasPrefix(index, "-") {
		return index
	}
	i, ok := r.arrayIndex(v, name, index)
	if !ok {
		return ""
	}
	return itoa(i)
}

// value returns the value of a parameter, whose index may be nil.
func (r *runner) value(name string, x syntax.ArithmExpr) (value, bool) {
	if name == "@" || name == "*" {
		return value{name: name, list: r.params, isList: true, star: name == "*", set: len(r.params) > 0}, true
	}
	if x == nil {
		v := r.lookup(name)
		s, set := v.scalar()
		return value{name: name, v: v, str: s, set: set}, true
	}
	if lit := nodeLit(x); lit == "@" || lit == "*" {
		v := r.lookup(name)
		all := v.values()
		return value{name: name, v: v, list: all, isList: true, star: lit == "*", set: len(all) > 0}, true
	}
	index, ok := r.indexText(name, x)
	if !ok {
		return value{}, false
	}
	return r.elementValue(name, index), r.flow == flowNext
}

func (r *runner) elementValue(name, index string) value {
	target, _ := r.resolve(name)
	v := r.lookup(target)
	s, set := r.element(v, r.evalIndex(target, index))
	return value{name: target, index: index, v: v, str: s, set: set}
}

// indirect returns the value of the parameter that ${!name} names.
func (r *runner) indirect(pe *syntax.ParamExp) (value, bool) {
	name := pe.Param.Value
	if v, _ := r.vars.find(name); v != nil && v.ref && pe.Index == nil {
		return value{name: name, str: v.str, set: true}, true
	}
	from, ok := r.value(name, pe.Index)
	if !ok {
		return value{}, false
	}
	target := from.str
	if from.isList {
		target = strings.Join(from.list, " ")
	}
	if !from.set && target == "" {
		if overridesUnset(pe) {
			return value{name: name}, true
		}
		r.fatal("%s: invalid indirect expansion", name)
		return value{}, false
	}
	if base, index, element := strings.Cut(target, "["); element && validName(base) {
		index = strings.TrimSuffix(index, "]")
		if index == "@" || index == "*" {
			return r.value(base, &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{Value: index}}})
		}
		if v := r.lookup(base); v == nil || v.dict == nil {
			n, ok := r.arithText(index)
			if !ok {
				return value{}, false
			}
			index = strconv.FormatInt(n, 10)
		}
		return r.elementValue(base, index), true
	}
	if !validName(target) && !isNumber(target) && !strings.Contains("@*#?$!-", target) {
		r.fatal("%s: invalid variable name", target)
		return value{}, false
	}
	return r.value(target, nil)
}

// overridesUnset reports whether an expansion says what to do if the parameter is
// unset.
func overridesUnset(pe *syntax.ParamExp) bool {
	return pe.Exp != nil && pe.Exp.Op >= syntax.AlternateUnset && pe.Exp.Op <= syntax.AssignUnsetOrNull
}

// param adds the expansion of a parameter.
func (e *expander) param(pe *syntax.ParamExp, quoted bool) {
	r := e.r
	if pe.Param == nil || pe.NestedParam != nil || pe.Width || pe.IsSet || pe.Flags != nil || len(pe.Modifiers) > 0 {
		r.fatal("%s: bad substitution", textOf(&syntax.Word{Parts: []syntax.WordPart{pe}}))
		return
	}
	if r.dash && badSubstitution(pe) {
		r.fatal("Bad substitution")
		return
	}
	name := pe.Param.Value
	if pe.Excl {
		if all, star, ok := r.namesOrKeys(pe); ok {
			e.list(all, star, quoted)
			return
		}
	}
	var val value
	var ok bool
	if pe.Excl {
		val, ok = r.indirect(pe)
	} else {
		val, ok = r.value(name, pe.Index)
	}
	if !ok {
		return
	}
	if !val.set && !val.isList && r.opts.nounset && !overridesUnset(pe) && (val.v == nil || !val.v.isArray() || !pe.Length) {
		what := name
		if val.index != "" {
			what += "[" + val.index + "]"
		}
		r.unbound(what)
		return
	}
	switch {
	case pe.Length:
		n := utf8.RuneCountInString(val.str)
		if val.isList {
			n = len(val.list)
		}
		e.expansion(itoa(n), quoted)
	case pe.Slice != nil:
		e.slice(pe.Slice, val, quoted)
	case pe.Repl != nil:
		e.replace(pe.Repl, val, quoted)
	case overridesUnset(pe):
		e.alternative(pe, val, quoted)
	case pe.Exp != nil:
		e.operator(pe.Exp, val, quoted)
	case val.isList:
		e.list(val.list, val.star, quoted)
	default:
		e.expansion(val.str, quoted)
	}
}

// unbound ends the shell because of set -u.
func (r *runner) unbound(name string) {
	if r.dash {
		r.fatal("%s: parameter not set", name)
		return
	}
	r.errorf("%s: unbound variable", name)
	r.exit(1)
	if r.fromString && r.level == 0 {
		r.status = 127
	}
}

// namesOrKeys implements ${!prefix*} and ${!name[@]}.
func (r *runner) namesOrKeys(pe *syntax.ParamExp) (all []string, star, ok bool) {
	if pe.Names != 0 {
		for _, name := range r.vars.names() {
			if strings.HasPrefix(name, pe.Param.Value) {
				all = append(all, name)
			}
		}
		return all, pe.Names == syntax.NamesPrefix, true
	}
	if lit := nodeLit(pe.Index); lit == "@" || lit == "*" {
		if pe.Exp != nil || pe.Slice != nil || pe.Repl != nil {
			return nil, false, false
		}
		if v := r.lookup(pe.Param.Value); v != nil {
			all = v.keys()
		}
		return all, lit == "*", true
	}
	return nil, false, false
}

// alternative implements ${x:-word} and its relatives.
func (e *expander) alternative(pe *syntax.ParamExp, val value, quoted bool) {
	r := e.r
	set := val.set
	switch pe.Exp.Op {
	case syntax.AlternateUnsetOrNull, syntax.DefaultUnsetOrNull, syntax.ErrorUnsetOrNull, syntax.AssignUnsetOrNull:
		set = val.str != "" || strings.Join(val.list, " ") != ""
	}
	word := func() {
		if pe.Exp.Word == nil {
			if quoted {
				e.add("", true)
			}
			return
		}
		literals := e.literals
		e.literals = e.split
		if quoted {
			e.quotedWord(pe.Exp.Word)
		} else {
			e.parts(pe.Exp.Word.Parts, false)
		}
		e.literals = literals
	}
	switch pe.Exp.Op {
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull:
		if set {
			word()
		} else if quoted && !val.isList {
			e.add("", true)
		}
		return
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull:
		if !set {
			word()
			return
		}
	case syntax.ErrorUnset, syntax.ErrorUnsetOrNull:
		if !set {
			text := r.text(pe.Exp.Word)
			if text == "" {
				text = "parameter null or not set"
				if pe.Exp.Op == syntax.ErrorUnset {
					text = "parameter not set"
				}
			}
			r.errorf("%s: %s", pe.Param.Value, text)
			r.exit(map[bool]int{true: 2, false: 1}[r.dash])
			if !r.dash && r.fromString && r.level == 0 {
				r.status = 127
			}
			return
		}
	case syntax.AssignUnset, syntax.AssignUnsetOrNull:
		if !set {
			inner := &expander{r: r}
			if pe.Exp.Word != nil {
				if quoted {
					inner.quotedWord(pe.Exp.Word)
				} else {
					inner.parts(pe.Exp.Word.Parts, false)
				}
			}
			text := inner.string()
			if r.flow != flowNext {
				return
			}
			if !validName(val.name) {
				r.fatal("$%s: cannot assign in this way", val.name)
				return
			}
			if val.index != "" {
				r.assignElement(val.name, val.index, text)
			} else {
				r.assign(val.name, text)
			}
			e.expansion(text, quoted)
			return
		}
	}
	if val.isList {
		e.list(val.list, val.star, quoted)
	} else {
		e.expansion(val.str, quoted)
	}
}

// quotedWord adds a word inside double quotes.
func (e *expander) quotedWord(w *syntax.Word) {
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.SglQuoted:
			if part.Dollar {
				e.add(ansiC(part.Value), true)
			} else {
				e.add("'"+decodeBytes(part.Value)+"'", true)
			}
		case *syntax.Lit:
			e.add(unescape(decodeBytes(part.Value), "$`\"\\}"), true)
		default:
			e.parts([]syntax.WordPart{part}, true)
		}
	}
}
