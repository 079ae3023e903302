package sandbox

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// patchReader reads the patches of a text one after the other.
type patchReader struct {
	text     string
	at, line int // the position, and how many lines were read
	say      func(format string, args ...any)

	base, baseLine int // where the search for the next patch begins
	indent         int
	stripCR        bool // of the lines of the patch
}

// next returns the next line with its newline, or "" at the end. Lines that begin with
// # are skipped unless comments is set. Up to indent columns of space are removed.
func (r *patchReader) next(indent int, stripCR, comments bool) string {
	for {
		s := r.text[r.at:]
		for col := 0; s != "" && col < indent; s = s[1:] {
			if strings.IndexByte(" X\t", s[0]) < 0 {
				break
			}
			if col++; s[0] == '\t' {
				col = (col + 7) &^ 7 //nolint:mnd // to the tab stop
			}
		}
		if s == "" {
			r.at = len(r.text)
			return ""
		}
		end := strings.IndexByte(s, '\n')
		if end < 0 {
			r.at = len(r.text)
			r.say("patch unexpectedly ends in middle of line\n")
			return "" // as the real one
		}
		r.at = len(r.text) - len(s) + end + 1
		r.line++
		if line := s[:end+1]; comments || line[0] != '#' {
			if stripCR && strings.HasSuffix(line, "\r\n") {
				line = line[:end-1] + "\n"
			}
			return line
		}
	}
}

// incomplete reads a line such as "\ No newline at end of file", if it is the next one.
func (r *patchReader) incomplete() bool {
	if !strings.HasPrefix(r.text[r.at:], `\`) {
		return false
	}
	_, rest, _ := strings.Cut(r.text[r.at:], "\n")
	r.at = len(r.text) - len(rest)
	return true
}

// A patchHunk is a change of some lines. The counterparts of a reversed hunk are
// exchanged.
type patchHunk struct {
	first, newFirst int // line numbers
	old, new        []string
	lines           []patchLine
	prefix, suffix  int    // lines of context at the start and the end
	section         string // what follows the second @@
}

type patchLine struct {
	op   byte // ' ', '-' or '+'
	text string
}

// swap reverses h.
func (h *patchHunk) swap() {
	h.first, h.newFirst, h.old, h.new = h.newFirst, h.first, h.new, h.old
	for i := range h.lines {
		switch l := &h.lines[i]; l.op {
		case '-':
			l.op = '+'
		case '+':
			l.op = '-'
		}
	}
}

// each calls do for the lines of h, with deletions before additions.
func (h *patchHunk) each(do func(l patchLine) error) error {
	for i := 0; i < len(h.lines); {
		end := i
		for end < len(h.lines) && h.lines[end].op != ' ' {
			end++
		}
		for _, op := range []byte("-+") {
			for _, l := range h.lines[i:end] {
				if l.op == op {
					if err := do(l); err != nil {
						return err
					}
				}
			}
		}
		if end < len(h.lines) {
			if err := do(h.lines[end]); err != nil {
				return err
			}
			end++
		}
		i = end
	}
	return nil
}

func (r *patchReader) malformed(line string) error {
	return fmt.Errorf(malformedPatch+" at line %d: %s", r.line, line)
}

// hunk returns the next hunk of the patch, or nil if there is none.
func (r *patchReader) hunk(hold func(int) error) (*patchHunk, error) {
	start, startLine := r.at, r.line
	head := r.next(r.indent, r.stripCR, false)
	if !strings.HasPrefix(head, "@@ -") {
		r.base, r.baseLine = start, startLine
		return nil, nil //nolint:nilnil // as documented
	}
	h, olds, news, problem := parseHunkHead(head)
	if problem != "" {
		return nil, fmt.Errorf("%s at line %d: %s", problem, r.line, head)
	}
	h.prefix = -1
	context, last := 0, head
	for len(h.old) < olds || len(h.new) < news {
		line := r.next(r.indent, r.stripCR, false)
		if last = line; line == "" {
			last = " \n"
		}
		const chopped = 3 // empty lines that may be missing at the end
		switch {
		case line == "" && news-len(h.new) > chopped:
			return nil, errors.New("unexpected end of file in patch")
		case line == "":
			line = " \n"
		case line[0] == '\t' || line[0] == '\n': // the space was lost
			line = " " + line
		case line[0] == '=':
			line = " " + line[1:]
		}
		l := patchLine{line[0], line[1:]}
		isOld, isNew := l.op != '+', l.op != '-'
		switch {
		case l.op != ' ' && l.op != '-' && l.op != '+', isOld && len(h.old) == olds, isNew && len(h.new) == news:
			return nil, r.malformed(last)
		case (isOld && len(h.old) == olds-1 || isNew && len(h.new) == news-1) && r.incomplete():
			l.text = strings.TrimSuffix(l.text, "\n")
		}
		const cost = 100 // of the slices below
		if err := hold(cost); err != nil {
			return nil, err
		}
		if isOld {
			h.old = append(h.old, l.text)
		}
		if isNew {
			h.new = append(h.new, l.text)
		}
		h.lines = append(h.lines, l)
		if l.op == ' ' {
			context++
			continue
		}
		if h.prefix < 0 {
			h.prefix = context
		}
		context = 0
	}
	if h.prefix < 0 { // it changes nothing
		return nil, r.malformed(last)
	}
	h.suffix = context
	return h, nil
}

const malformedPatch = "malformed patch"

// parseHunkHead parses "@@ -1,2 +3,4 @@ section".
func parseHunkHead(line string) (h *patchHunk, olds, news int, problem string) {
	h = &patchHunk{}
	rest := strings.TrimPrefix(line, "@@ -")
	span := func() (first, count int) {
		first, rest, problem = leadingNumber(rest)
		count = 1
		if after, found := strings.CutPrefix(rest, ","); found && problem == "" {
			count, rest, problem = leadingNumber(after)
		}
		rest = strings.TrimPrefix(rest, " ")
		if count == 0 { // it appends after the line
			first++
		}
		return first, count
	}
	if h.first, olds = span(); problem != "" {
		return nil, 0, 0, problem
	}
	if !strings.HasPrefix(rest, "+") {
		return nil, 0, 0, malformedPatch
	}
	rest = rest[1:]
	if h.newFirst, news = span(); problem != "" {
		return nil, 0, 0, problem
	}
	if !strings.HasPrefix(rest, "@") {
		return nil, 0, 0, malformedPatch
	}
	if after, found := strings.CutPrefix(rest, "@@ "); found {
		h.section = " " + strings.TrimSuffix(after, "\n")
	}
	return h, olds, news, ""
}

func leadingNumber(s string) (n int, rest, problem string) {
	rest = strings.TrimLeft(s, "0123456789")
	digits := s[:len(s)-len(rest)]
	n, err := strconv.Atoi(digits)
	switch {
	case digits == "":
		return 0, rest, "missing line number"
	case err != nil || n >= math.MaxInt32:
		return 0, rest, "line number " + digits + " is too large"
	}
	return n, rest, ""
}
