package sandbox

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// declaring reports whether the arguments of a builtin may be assignments.
func declaring(name string) bool {
	switch name {
	case "declare", "typeset", "local", "export", "readonly":
		return true
	}
	return false
}

// arrayAssigning reports whether the parser leaves the arguments of a command to
// it as words although they may be assignments.
func (r *runner) arrayAssigning(name string) bool { return declaring(name) && r.funcs[name] == nil }

// declareWords runs a declaring builtin that the parser took for another command.
func (r *runner) declareWords(cm *syntax.CallExpr, name string) {
	args := r.fields(cm.Args)
	if r.flow != flowNext {
		return
	}
	r.declareArgs(name, args[1:])
	r.setStatus(r.status)
	r.check1()
}

// declared is a name that a declaring builtin handles.
type declared struct {
	name   string
	assign *syntax.Assign // nil if value is the text
	value  string
	set    bool
	append bool
}

// declaration holds the flags of a declaring builtin.
type declaration struct {
	variant string
	on, off string
}

func (d declaration) has(flag byte) bool { return strings.IndexByte(d.on, flag) >= 0 }

func (r *runner) declare(cm *syntax.DeclClause) {
	r.lastSubst = -1
	d := declaration{variant: cm.Variant.Value}
	var items []declared
	traced := []string{d.variant}
	for _, as := range cm.Args {
		if as.Name == nil {
			for _, word := range r.fields([]*syntax.Word{as.Value}) {
				traced = append(traced, word)
				items = r.declareWord(&d, items, word)
			}
			continue
		}
		if as.Naked && as.Index == nil {
			traced = append(traced, as.Name.Value)
			items = r.declareWord(&d, items, as.Name.Value)
		} else {
			item := declared{name: as.Name.Value, assign: as, set: !as.Naked, append: as.Append}
			if as.Array == nil && as.Index == nil { // expanded before the builtin runs
				item.assign, item.value = nil, r.assignedText(as.Value)
				traced = append(traced, as.Name.Value+map[bool]string{true: "+=", false: "="}[as.Append]+item.value)
			} else {
				r.traceCompound(textOf(as))
				traced = append(traced, as.Name.Value)
			}
			items = append(items, item)
		}
	}
	if r.flow != flowNext {
		return
	}
	r.trace(traced)
	for _, item := range items {
		if (d.variant == "export" || d.variant == "readonly") && item.set && item.assign == nil && !r.dash {
			r.traceCompound(item.name + "=" + traceQuote(item.value))
		}
	}
	r.status = 0
	r.applyDeclaration(d, items)
	r.setStatus(r.status)
}

func (r *runner) declareArgs(variant string, args []string) {
	d := declaration{variant: variant}
	var items []declared
	for _, arg := range args {
		items = r.declareWord(&d, items, arg)
	}
	r.applyDeclaration(d, items)
}

func (r *runner) declareWord(d *declaration, items []declared, word string) []declared {
	if len(items) == 0 && len(word) > 1 && (word[0] == '-' || word[0] == '+') {
		if word != "--" {
			if word[0] == '-' {
				d.on += word[1:]
			} else {
				d.off += word[1:]
			}
		}
		return items
	}
	name, value, set := strings.Cut(word, "=")
	app := set && strings.HasSuffix(name, "+")
	return append(items, declared{name: strings.TrimSuffix(name, "+"), value: value, set: set, append: app})
}

func (r *runner) applyDeclaration(d declaration, items []declared) {
	allowed := map[string]string{"export": "nfp", "readonly": "aAfp"}[d.variant]
	if allowed == "" {
		allowed = "aAfFgiIlnprtux"
	}
	for _, c := range d.on + d.off {
		if !strings.ContainsRune(allowed, c) {
			r.fail(2, "%s: -%c: invalid option", d.variant, c)
			return
		}
	}
	if d.has('f') || d.has('F') {
		r.declareFunctions(d, items)
		return
	}
	if d.variant == "local" && !r.inFunction() {
		r.fail(1, "local: can only be used in a function")
		if r.dash {
			r.exit(2)
		}
		return
	}
	if d.has('p') || len(items) == 0 {
		r.printDeclarations(d, items)
		return
	}
	for _, item := range items {
		if d.variant == "local" && item.name == "-" && !r.dash {
			if s := r.functionScope(); s.vars["-"] == nil {
				s.vars["-"] = &variable{owner: r.token, options: r.opts}
			}
			continue
		}
		name, index, _ := strings.Cut(item.name, "[")
		if !validName(name) {
			r.fail(1, "%s: `%s': not a valid identifier", d.variant, item.name)
			if r.dash {
				r.exit(2)
			}
			continue
		}
		item.name = name
		if !r.declareOne(d, item, strings.TrimSuffix(index, "]")) && r.flow == flowNext {
			r.status = 1
		}
		if r.flow != flowNext {
			return
		}
	}
}

// functionScope returns the scope of the innermost function call.
func (r *runner) functionScope() *scope {
	s := r.vars
	for s.temp {
		s = s.parent
	}
	return s
}

func (r *runner) declareOne(d declaration, item declared, index string) bool {
	local := d.variant == "local" && !d.has('g') || (d.variant == "declare" || d.variant == "typeset") && r.inFunction() && !d.has('g')
	var v *variable
	if local {
		v = r.localVariable(item.name)
	} else {
		name := item.name
		if !strings.Contains(d.on+d.off, "n") || d.variant == "export" {
			name, _ = r.resolve(name)
			item.name = name
		}
		if old, _ := r.vars.find(name); old != nil && old.readOnly && (item.set || strings.ContainsRune(d.off, 'r')) {
			r.errorf("%s: readonly variable", name)
			r.status = 1
			if r.dash {
				r.exit(2)
			}
			return false
		}
		if old, _ := r.vars.find(name); old != nil && old.readOnly {
			v = old
		} else {
			v = r.writable(name)
		}
	}
	if v == nil {
		return false
	}
	if d.has('A') && v.dict == nil {
		v.dict = map[string]string{}
	}
	if d.has('a') && v.list == nil && v.dict == nil {
		v.list = map[int]string{}
		if v.set {
			v.list[0] = v.str
		}
	}
	for _, c := range d.on + d.off {
		on := strings.ContainsRune(d.on, c)
		switch c {
		case 'i':
			v.integer = on
		case 'l', 'u':
			v.fold = map[bool]byte{true: byte(c)}[on]
		case 'x':
			v.exported = on
		}
	}
	ok := r.declareValue(d, item, index, v)
	v, _ = r.vars.find(item.name)
	if v == nil {
		return ok
	}
	switch {
	case d.variant == "export":
		v.exported = !d.has('n')
	case d.variant == "readonly", d.has('r'):
		v.readOnly = true
	}
	if d.variant != "export" && strings.Contains(d.on+d.off, "n") {
		v.ref = d.has('n')
	}
	return ok
}

func (r *runner) declareValue(d declaration, item declared, index string, v *variable) bool {
	if !item.set {
		return true
	}
	switch {
	case item.assign != nil && item.assign.Array != nil:
		return r.assignArray(item.name, item.assign.Array, item.append, d.has('A'))
	case item.assign != nil && item.assign.Index != nil:
		return r.assignOne(item.assign, r.assign)
	case strings.HasPrefix(item.value, "(") && strings.HasSuffix(item.value, ")") && v.isArray():
		return r.assignArrayText(item.name, item.value)
	}
	if index != "" {
		return r.assignElement(item.name, index, item.value)
	}
	if item.append {
		item.value = r.appended(item.name, r.get(item.name), item.value)
	}
	if d.has('n') && d.variant != "export" {
		if item.value == item.name && !r.inFunction() {
			r.fail(1, "%s: %s: nameref variable self references not allowed", d.variant, item.name)
			return false
		}
		v.str, v.set = item.value, true
		return true
	}
	return r.assign(item.name, item.value)
}

// localVariable returns a variable of the current function, creating it if
// necessary.
func (r *runner) localVariable(name string) *variable {
	s := r.functionScope()
	if v, ok := s.vars[name]; ok && v.owner == r.token {
		return v
	}
	outer, in := r.vars.find(name)
	if outer != nil && outer.readOnly && in != s {
		if in == r.vars.global() {
			r.fail(1, "local: %s: readonly variable", name)
			return nil
		}
	}
	v := &variable{owner: r.token}
	switch {
	case outer != nil && in == s:
		*v = *outer
		v.owner = r.token
	case outer != nil && (r.dash || in.temp):
		v.str, v.set, v.exported = outer.str, outer.set, outer.exported
	case outer != nil:
		v.exported = outer.exported && false
	}
	s.vars[name] = v
	return v
}

// declaration returns the text of declare -p.
func (r *runner) declaration(name string, v *variable) string {
	flags := v.flags()
	if flags == "" {
		flags = "-"
	}
	text := "declare -" + flags + " " + name
	if v.isArray() {
		if !v.set {
			return text
		}
		var b strings.Builder
		for i, k := range v.keys() {
			s, _ := r.element(v, k)
			if v.dict != nil {
				fmt.Fprintf(&b, "[%s]=%s ", bashQuote(k), doubleQuote(s))
				continue
			}
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "[%s]=%s", k, doubleQuote(s))
		}
		return text + "=(" + b.String() + ")"
	}
	if !v.set {
		return text
	}
	return text + "=" + doubleQuote(v.str)
}
