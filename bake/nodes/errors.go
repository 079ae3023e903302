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

// An Error is one thing that is wrong with a node list.
type Error struct {
	File string // as it was given to Load, LoadFS or Read
	Line int    // counted from 1; zero when it is about the file as a whole
	Node string // the node's name; empty when it is about no single one
	Err  error  // what is wrong
}

// Error is "FILE:LINE: node NAME: what is wrong".
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

// Unwrap is what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// findings collects what is wrong with one file.
type findings struct {
	file string
	all  []*Error
}

func (f *findings) add(line int, node string, err error) {
	f.all = append(f.all, &Error{File: f.file, Line: line, Node: node, Err: err})
}

func (f *findings) addf(line int, node, format string, args ...any) {
	f.add(line, node, fmt.Errorf(format, args...))
}

// addText adds a message of the YAML library, which begins with its line.
func (f *findings) addText(line int, node, text string) {
	text = strings.TrimPrefix(text, "yaml: ")
	if m := lineInText.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line, text = n, strings.TrimPrefix(text, m[0])
		}
	}
	f.add(line, node, errors.New(text))
}

var lineInText = regexp.MustCompile(`^line ([0-9]+): `)

// err joins what was found in the order of the file.
func (f *findings) err() error {
	slices.SortStableFunc(f.all, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, 0, len(f.all))
	for _, e := range f.all {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
