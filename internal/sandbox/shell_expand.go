package sandbox

import (
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// fieldPart is a piece of an expanded word. Characters of quoted pieces have no
// special meaning in patterns.
type fieldPart struct {
	s      string
	quoted bool
}

// expander collects the fields that words expand to.
type expander struct {
	r        *runner
	split    bool // unquoted expansions are split into fields
	literals bool // so are unquoted literals, as in ${x:-a b}
	assigns  bool // the word is the value of an assignment
	done     [][]fieldPart
	cur      []fieldPart
	active   bool // cur is a field even if it is empty
	space    bool // white space ended the last field, so a delimiter may follow
	size     int64
}

// room reports whether n bytes more fit into the machine's memory, and otherwise
// ends the shell.
func (r *runner) room(n int64) bool {
	m := r.p.Host.memory
	if !m.take(n) {
		r.outOfMemory()
		return false
	}
	m.give(n)
	return true
}

func (e *expander) add(s string, quoted bool) {
	e.size += int64(len(s)) + 96
	if !e.r.room(e.size) {
		return
	}
	e.active, e.space = true, false
	e.cur = append(e.cur, fieldPart{s, quoted})
}

// flush ends the current field.
func (e *expander) flush() {
	if e.active {
		e.done = append(e.done, e.cur)
	}
	e.cur, e.active = nil, false
}

// expansion adds the result of an expansion, which is split unless it is quoted.
func (e *expander) expansion(s string, quoted bool) {
	if quoted || !e.split {
		e.add(s, quoted)
		return
	}
	ifs, ok := e.r.lookup("IFS").scalar()
	if !ok {
		ifs = " \t\n"
	}
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if strings.IndexByte(ifs, c) < 0 {
			continue
		}
		if i > start {
			e.add(s[start:i], false)
		}
		start = i + 1
		white := c == ' ' || c == '\t' || c == '\n'
		switch {
		case e.active:
			e.flush()
			e.space = white
		case white:
		case e.space:
			e.space = false
		default:
			e.done = append(e.done, nil)
		}
	}
	if start < len(s) {
		e.add(s[start:], false)
	}
}

// list adds the elements of "$@", $* or an array.
func (e *expander) list(all []string, star, quoted bool) {
	switch {
	case !e.split || quoted && star:
		if len(all) > 0 || quoted {
			sep := " "
			if star {
				sep = e.r.separator()
			}
			e.joined(all, sep, quoted)
		}
	default:
		for i, s := range all {
			if i > 0 {
				e.flush()
				e.space = false
			}
			if e.expansion(s, quoted); e.r.flow != flowNext {
				return
			}
		}
	}
}

func (e *expander) joined(all []string, sep string, quoted bool) {
	size := e.size
	for _, s := range all {
		size += int64(len(s) + len(sep))
	}
	if e.r.room(size) {
		e.add(strings.Join(all, sep), quoted)
	}
}

// separator returns the first character of IFS.
func (r *runner) separator() string {
	ifs, ok := r.lookup("IFS").scalar()
	if !ok {
		return " "
	}
	for _, c := range ifs {
		return string(c)
	}
	return ""
}

func (e *expander) parts(parts []syntax.WordPart, quoted bool) {
	for i, part := range parts {
		if e.r.flow != flowNext {
			return
		}
		switch part := part.(type) {
		case *syntax.Lit:
			s := decodeBytes(part.Value)
			if quoted {
				e.add(unescape(s, "$`\"\\"), true)
				continue
			}
			if i == 0 {
				s = e.tilde(s, len(parts) > 1)
			}
			e.literal(s)
		case *syntax.SglQuoted:
			s := decodeBytes(part.Value)
			switch {
			case part.Dollar && e.r.dash:
				s = "$" + s
			case part.Dollar:
				s = ansiC(s)
			}
			e.add(s, true)
		case *syntax.DblQuoted:
			if part.Dollar && e.r.dash {
				e.add("$", true)
			}
			if len(part.Parts) == 0 {
				e.add("", true)
			}
			e.parts(part.Parts, true)
		case *syntax.ParamExp:
			e.param(part, quoted)
		case *syntax.CmdSubst:
			e.expansion(e.r.substitute(part), quoted)
		case *syntax.ArithmExp:
			n, ok := e.r.arith(part.X)
			if !ok {
				if e.r.flow == flowNext {
					e.r.flow = flowDiscard
				}
				return
			}
			e.expansion(strconv.FormatInt(n, 10), quoted)
		case *syntax.ProcSubst:
			e.add(e.r.processSubstitution(part), true)
		case *syntax.ExtGlob:
			e.add(part.Op.String()+part.Pattern.Value+")", false)
		default:
			e.r.fatal("%T is not supported by this machine", part)
		}
	}
}

// unescape removes backslashes before the given characters and newlines.
func unescape(s, special string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if s[i+1] == '\n' {
				i++
				continue
			}
			if strings.IndexByte(special, s[i+1]) >= 0 {
				i++
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// literal adds unquoted text, in which backslashes quote.
func (e *expander) literal(s string) {
	plain := func(s string) {
		switch {
		case s == "":
		case e.literals:
			e.expansion(s, false)
		default:
			e.add(s, false)
		}
	}
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			plain(s)
			return
		}
		plain(s[:i])
		if i+1 == len(s) {
			e.add(`\`, true)
			return
		}
		if s[i+1] != '\n' {
			e.add(s[i+1:i+2], true)
		}
		s = s[i+2:]
	}
}

// tilde adds the directory of a tilde at the start of a word and returns the rest.
func (e *expander) tilde(s string, more bool) string {
	if !strings.HasPrefix(s, "~") {
		return s
	}
	end := strings.IndexAny(s, "/:")
	if end >= 0 && s[end] == ':' && !e.assigns {
		end = strings.IndexByte(s, '/')
	}
	if end < 0 {
		if more {
			return s
		}
		end = len(s)
	}
	dir, ok := "", false
	switch name := s[1:end]; name {
	case "":
		if dir, ok = e.r.lookup("HOME").scalar(); !ok {
			u, known := lookupUID(e.r.p.FS, e.r.p.UID)
			dir, ok = u.home, known
		}
	case "+":
		dir, ok = e.r.get("PWD"), !e.r.dash
	case "-":
		dir, ok = e.r.lookup("OLDPWD").scalar()
		ok = ok && !e.r.dash
	default:
		var u user
		u, ok = lookupUser(e.r.p.FS, name)
		dir = u.home
	}
	if !ok {
		return s
	}
	e.add(dir, true)
	return s[end:]
}

// fields expands words to the arguments of a command.
func (r *runner) fields(words []*syntax.Word) []string {
	e := &expander{r: r, split: true}
	for _, w := range words {
		c := *w
		if r.dash || r.opts.nobraces || !syntax.SplitBraces(&c) {
			e.parts(w.Parts, false)
			e.flush()
			e.space = false
			continue
		}
		for w, err := range expand.BracesSeq(nil, &c) {
			if err != nil {
				r.fatal("brace expansion: failed to allocate memory")
				return nil
			}
			e.parts(w.Parts, false)
			e.flush()
			e.space = false
		}
	}
	if r.flow != flowNext {
		return nil
	}
	return r.globFields(e.done)
}

// text expands a word to a single string.
func (r *runner) text(w *syntax.Word) string {
	if w == nil {
		return ""
	}
	return r.textOf(&expander{r: r}, w)
}

func (r *runner) textOf(e *expander, w *syntax.Word) string {
	e.parts(w.Parts, false)
	return e.string()
}

func (e *expander) string() string {
	if len(e.cur) == 1 {
		return e.cur[0].s
	}
	var b strings.Builder
	for _, p := range e.cur {
		b.WriteString(p.s)
	}
	return b.String()
}

// assignedText expands the value of an assignment, in which a tilde may also
// follow a colon.
func (r *runner) assignedText(w *syntax.Word) string {
	if w == nil {
		return ""
	}
	e := &expander{r: r, assigns: true}
	for i, part := range w.Parts {
		lit, ok := part.(*syntax.Lit)
		if !ok || !strings.Contains(lit.Value, ":~") {
			if ok && i > 0 {
				e.literal(decodeBytes(lit.Value))
			} else {
				rest := len(w.Parts) > 1
				if ok {
					e.literal(e.tilde(decodeBytes(lit.Value), rest && i == 0))
				} else {
					e.parts([]syntax.WordPart{part}, false)
				}
			}
			continue
		}
		for j, piece := range strings.SplitAfter(decodeBytes(lit.Value), ":") {
			if j > 0 || i == 0 {
				piece = e.tilde(piece, false)
			}
			e.literal(piece)
		}
	}
	return e.string()
}

// documentText expands a here-document.
func (r *runner) documentText(w *syntax.Word) string {
	e := &expander{r: r}
	for _, part := range w.Parts {
		if lit, ok := part.(*syntax.Lit); ok {
			e.add(unescape(decodeBytes(lit.Value), "$`\\"), true)
		} else {
			e.parts([]syntax.WordPart{part}, true)
		}
	}
	return e.string()
}

// pattern expands a word to a pattern.
func (r *runner) pattern(w *syntax.Word) string {
	if w == nil {
		return ""
	}
	e := &expander{r: r}
	e.parts(w.Parts, false)
	return patternOf(e.cur)
}
