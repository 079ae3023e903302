package nodes

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An Error reports a problem of a node list.
type Error struct {
	File string // as passed to Load, LoadFS or Read
	Line int    // counted from 1, or zero for the whole file
	Node string // the node's name, or empty
	Err  error  // the problem
}

// Error returns "FILE:LINE: node NAME: problem".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Node != "" {
		fmt.Fprintf(&b, ": node %s", e.Node)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the problem.
func (e *Error) Unwrap() error { return e.Err }

// problems collects the problems of one file.
type problems struct {
	file string
	all  []*Error
}

func (f *problems) add(line int, node string, err error) {
	f.all = append(f.all, &Error{File: f.file, Line: line, Node: node, Err: err})
}

func (f *problems) addf(line int, node, format string, args ...any) {
	f.add(line, node, fmt.Errorf(format, args...))
}

// addText adds a message of the YAML library, which may begin with a line number.
func (f *problems) addText(line int, node, text string) {
	text = strings.TrimPrefix(text, "yaml: ")
	if m := lineInText.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line, text = n, strings.TrimPrefix(text, m[0])
		}
	}
	f.add(line, node, errors.New(text))
}

var lineInText = regexp.MustCompile(`^line ([0-9]+): `)

// err joins the problems in the order of the file.
func (f *problems) err() error {
	slices.SortStableFunc(f.all, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, 0, len(f.all))
	for _, e := range f.all {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
