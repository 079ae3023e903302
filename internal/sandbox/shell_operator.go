package sandbox

import (
	"regexp"
	"strings"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// each applies f to a value or to every element of a list, and adds the result.
func (e *expander) each(val value, quoted bool, f func(string) string) {
	if !val.isList {
		e.expansion(f(val.str), quoted)
		return
	}
	all := make([]string, len(val.list))
	size := int64(0)
	for i, s := range val.list {
		all[i] = f(s)
		if size += int64(len(all[i])); !e.r.room(size) {
			return
		}
	}
	e.list(all, val.star, quoted)
}

// operator implements ${x#pattern}, ${x^^} and ${x@Q}.
func (e *expander) operator(x *syntax.Expansion, val value, quoted bool) {
	r := e.r
	switch x.Op {
	case syntax.RemSmallPrefix, syntax.RemLargePrefix, syntax.RemSmallSuffix, syntax.RemLargeSuffix:
		pat := r.pattern(x.Word)
		if r.flow != flowNext {
			return
		}
		e.each(val, quoted, func(s string) string { return r.trim(s, pat, x.Op) })
	case syntax.UpperFirst, syntax.UpperAll, syntax.LowerFirst, syntax.LowerAll:
		var matches func(string) bool
		if pat := r.pattern(x.Word); pat != "" {
			matches = func(s string) bool { return r.match(pat, s) }
		}
		convert := unicode.ToUpper
		if x.Op == syntax.LowerFirst || x.Op == syntax.LowerAll {
			convert = unicode.ToLower
		}
		all := x.Op == syntax.UpperAll || x.Op == syntax.LowerAll
		e.each(val, quoted, func(s string) string { return convertCase(s, convert, matches, all) })
	case syntax.OtherParamOps:
		e.transform(x.Word.Lit(), val, quoted)
	default:
		r.fatal("operator %s is not supported by this machine", x.Op)
	}
}

func convertCase(s string, convert func(rune) rune, matches func(string) bool, all bool) string {
	var b strings.Builder
	for i, c := range s {
		if (i == 0 || all) && (matches == nil || matches(string(c))) {
			c = convert(c)
		}
		b.WriteRune(c)
	}
	return b.String()
}

// transform implements ${x@operator}.
func (e *expander) transform(op string, val value, quoted bool) {
	r := e.r
	if !val.set && !val.isList && op != "a" && op != "A" {
		e.expansion("", quoted)
		return
	}
	switch op {
	case "Q":
		e.each(val, quoted, bashSingleQuote)
	case "E":
		e.each(val, quoted, ansiC)
	case "U":
		e.each(val, quoted, strings.ToUpper)
	case "L":
		e.each(val, quoted, strings.ToLower)
	case "u":
		e.each(val, quoted, func(s string) string { return convertCase(s, unicode.ToUpper, nil, false) })
	case "a":
		flags := ""
		if val.v != nil {
			flags = val.v.flags()
		}
		e.expansion(flags, quoted)
	case "A":
		text := ""
		if val.v != nil {
			text = val.name + "=" + bashSingleQuote(val.str)
			if val.v.isArray() {
				text = r.declaration(val.name, val.v)
			} else if flags := val.v.flags(); flags != "" {
				text = "declare -" + flags + " " + text
			}
		}
		e.expansion(text, quoted)
	case "K", "k":
		if val.v != nil && !val.isList {
			e.each(val, quoted, bashSingleQuote)
			return
		}
		var all []string
		if val.v != nil {
			for _, k := range val.v.keys() {
				s, _ := r.element(val.v, k)
				if op == "K" {
					all = append(all, bashQuote(k), doubleQuote(s))
				} else {
					all = append(all, k, s)
				}
			}
		}
		if op == "K" {
			all = []string{strings.Join(all, " ")}
			if val.v != nil && val.v.dict != nil {
				all[0] += " "
			}
		}
		e.list(all, val.star, quoted)
	default:
		r.fatal("${%s@%s} is not supported by this machine", val.name, op)
	}
}

// bashSingleQuote quotes s as ${x@Q} does.
func bashSingleQuote(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return dollarQuote(s)
	}
	return shellQuote(s)
}

func dollarQuote(s string) string {
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(s) {
		c := s[i]
		if at := strings.IndexByte("\a\b\x1b\f\n\r\t\v\\'", c); at >= 0 {
			b.WriteString(`\` + `abEfnrtv\'`[at:at+1])
			continue
		}
		if c < 32 || c == 127 {
			b.WriteString(`\` + string('0'+c>>6) + string('0'+c>>3&7) + string('0'+c&7))
			continue
		}
		b.WriteByte(c)
	}
	return b.String() + "'"
}

// trim removes a prefix or suffix that matches a pattern.
func (r *runner) trim(s, pat string, op syntax.ParExpOperator) string {
	if pat == "" {
		return s
	}
	switch op {
	case syntax.RemSmallPrefix:
		for i := range s {
			if i <= shortScan && r.match(pat, s[:i]) {
				return s[i:]
			}
		}
		if r.match(pat, s) {
			return ""
		}
	case syntax.RemLargePrefix:
		if rx := r.regexp(pat, "^(?:", ")"); rx != nil {
			if loc := rx.FindStringIndex(s); loc != nil {
				return s[loc[1]:]
			}
		}
	case syntax.RemSmallSuffix:
		if rx := r.regexp(pat, "(?s:^.*)(", ")$"); rx != nil {
			if loc := rx.FindStringSubmatchIndex(s); loc != nil {
				return s[:loc[2]]
			}
		}
	default:
		if rx := r.regexp(pat, "(?:", ")$"); rx != nil {
			if loc := rx.FindStringIndex(s); loc != nil {
				return s[:loc[0]]
			}
		}
	}
	return s
}

// shortScan bounds the prefixes that are tried one by one.
const shortScan = 16 << 10

// replace implements ${x/pattern/text}.
func (e *expander) replace(x *syntax.Replace, val value, quoted bool) {
	r := e.r
	pat := r.pattern(x.Orig)
	inner := &expander{r: r}
	if x.With != nil {
		if quoted {
			for _, part := range x.With.Parts { // quotes keep their meaning here
				if lit, ok := part.(*syntax.Lit); ok {
					inner.literal(decodeBytes(lit.Value))
				} else {
					inner.parts([]syntax.WordPart{part}, false)
				}
			}
		} else {
			inner.parts(x.With.Parts, false)
		}
	}
	if r.flow != flowNext {
		return
	}
	before, after := "(?:", ")"
	if !x.All {
		switch {
		case strings.HasPrefix(pat, "#"):
			pat, before = pat[1:], "^(?:"
		case strings.HasPrefix(pat, "%"):
			pat, after = pat[1:], ")$"
		}
	}
	anchored := before == "^(?:" || after == ")$"
	if pat == "" && !anchored {
		if val.isList {
			e.list(val.list, val.star, quoted)
		} else {
			e.expansion(val.str, quoted)
		}
		return
	}
	rx := r.regexp(pat, before, after)
	if rx == nil {
		r.fatal("pattern %s is not supported by this machine", pat)
		return
	}
	e.each(val, quoted, func(s string) string { return e.replaced(s, rx, inner.cur, x.All, anchored) })
}

func (e *expander) replaced(s string, rx *regexp.Regexp, with []fieldPart, all, anchored bool) string {
	n := 1
	if all {
		n = -1
	}
	var b strings.Builder
	last := 0
	for _, loc := range rx.FindAllStringIndex(s, n) {
		if loc[0] == loc[1] && !anchored {
			continue
		}
		b.WriteString(s[last:loc[0]])
		for _, p := range with {
			if p.quoted || !strings.Contains(p.s, "&") {
				b.WriteString(p.s)
			} else {
				b.WriteString(strings.ReplaceAll(p.s, "&", s[loc[0]:loc[1]]))
			}
		}
		last = loc[1]
		if !e.r.room(int64(2 * b.Len())) {
			return ""
		}
	}
	b.WriteString(s[last:])
	return b.String()
}
