package sandbox

import (
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// fields expands words to the arguments of a command.
func (r *runner) fields(words []*syntax.Word) []string {
	e := &expander{r: r, split: true}
	for _, w := range words {
		if r.dash {
			e.parts(w.Parts, false)
			e.flush()
			e.space = false
			continue
		}
		c := *w
		if !syntax.SplitBraces(&c) {
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
