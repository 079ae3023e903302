package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A count is how much stiff English a package has.
type count struct {
	marks []finding // unmistakable ones
	named []finding // comments of funcs that begin "Name is" instead of a verb
	funcs int       // with a comment
}

// language returns the count of every directory with Go files, tests included.
func (m *module) language() map[string]*count {
	counts := map[string]*count{}
	for _, f := range m.files {
		c := counts[f.dir()]
		if c == nil {
			c = new(count)
			counts[f.dir()] = c
		}
		for _, group := range f.ast.Comments {
			for _, text := range marksInComment(group.Text()) {
				c.marks = append(c.marks, finding{f.name, m.line(group.Pos()), text})
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING && text.Value[0] == '"' {
				for _, found := range marksInMessage(text.Value) {
					c.marks = append(c.marks, finding{f.name, m.line(text.Pos()), found})
				}
			}
			return true
		})
		m.funcComments(f, c)
	}
	return counts
}

// funcComments adds the comments of the funcs of f to c.
func (m *module) funcComments(f *file, c *count) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Doc.Text() == "" {
			continue
		}
		c.funcs++
		rest, ok := strings.CutPrefix(fn.Doc.Text(), fn.Name.Name+" ")
		verb, _, _ := strings.Cut(rest, " ")
		switch verb {
		case "is", "are", "says", "tells", "gives":
			if ok {
				text := fmt.Sprintf("comment begins %q: begin with what the func does", fn.Name.Name+" "+verb)
				c.named = append(c.named, finding{f.name, m.line(fn.Doc.Pos()), text})
			}
		}
	}
}

// marksInComment returns the marks of a comment, given as by ast.CommentGroup.Text.
// Headings, code and quotations are not searched.
func marksInComment(comment string) []string {
	var prose []string
	for line := range strings.Lines(comment) {
		if strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "# ") {
			line = "."
		}
		prose = append(prose, strings.Fields(line)...)
	}
	text := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(strings.Join(prose, " "), `""`)
	var found []string
	for _, word := range regexp.MustCompile(`\b([Ww]hoever|[Nn]obody)\b`).FindAllString(text, -1) {
		found = append(found, fmt.Sprintf("%q: name the caller, the user or the program", word))
	}
	// A sentence that begins with What and is not a question has a clause as
	// its subject.
	for _, clause := range regexp.MustCompile(`(?:^|[.!?] )(What(?:ever)? [A-Za-z][^.!?]*[.!?]?)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasSuffix(clause[1], "?") {
			found = append(found, fmt.Sprintf("%q: a clause as the subject", shorten(clause[1])))
		}
	}
	return append(found, negatedNouns(text, "is", "are", "was", "were")...)
}

// marksInMessage returns the marks of a string.
func marksInMessage(text string) []string { return negatedNouns(text, "is", "are") }

// negatedNouns finds "is no port" and "is none of them", but neither "there is
// no port" nor "is no longer".
func negatedNouns(text string, verbs ...string) []string {
	form := regexp.MustCompile(`(\S+ )?\b(` + strings.Join(verbs, "|") + `) (no (\w+)|none of)\b`)
	var found []string
	for _, match := range form.FindAllStringSubmatch(text, -1) {
		switch match[4] {
		case "longer", "more", "larger", "greater", "less", "later":
			continue
		}
		if subject := strings.Trim(strings.ToLower(match[1]), ` "(`); subject == "there" {
			continue
		}
		found = append(found, fmt.Sprintf("%q: a negated noun; say not, or invalid, or not found", match[0]))
	}
	return found
}

func shorten(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// compare reports the packages whose counts are above their limits, and limits
// that are above the counts. Without a limit a package may have no marks, and
// one func in ten whose comment begins "Name is".
func compare(counts map[string]*count, limits map[string]limit) []finding {
	var found []finding
	for _, dir := range slices.Sorted(maps.Keys(counts)) {
		c, l := counts[dir], limits[dir]
		if len(c.marks) > l.marks {
			found = append(found, c.marks...)
			found = append(found, finding{dir, 0, fmt.Sprintf("%d marks of stiff English, limit %d", len(c.marks), l.marks)})
		}
		if len(c.named) > max(l.named, c.free()) {
			found = append(found, c.named...)
			found = append(found, finding{dir, 0, fmt.Sprintf("%d of %d func comments begin \"Name is\", limit %d", len(c.named), c.funcs, max(l.named, c.free()))})
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(limits)) {
		l := limits[dir]
		if c := counts[dir]; c == nil || len(c.marks) < l.marks || len(c.named) < l.named || l.named > 0 && l.named <= c.free() {
			found = append(found, finding{limitsFile, 0, dir + " has less than its limit: go run ./internal/lint -update"})
		}
	}
	return found
}

// free returns how many comments may begin "Name is" without a limit: one in
// ten, rounded up.
func (c *count) free() int { return (c.funcs + 9) / 10 }

// limit returns the least limit that c keeps to.
func (c *count) limit() limit {
	l := limit{marks: len(c.marks)}
	if len(c.named) > c.free() {
		l.named = len(c.named)
	}
	return l
}
