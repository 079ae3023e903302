package sandbox

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

type grepper struct {
	p        *Process
	o        opts
	patterns []*regexp.Regexp
	named    bool // show the name of the file before each line
	limit    int
	found    bool
}

func grep(_ context.Context, p *Process) int {
	o, names, bad := p.options("qEFGPvincrRolLwxshHe:f:m:aA:B:C:", "quiet=q", "extended-regexp=E", "fixed-strings=F", "invert-match=v",
		"ignore-case=i", "line-number=n", "count=c", "recursive=r", "only-matching=o", "files-with-matches=l", "word-regexp=w",
		"line-regexp=x", "no-messages=s", "no-filename=h", "with-filename=H", "regexp=e:", "file=f:", "max-count=m:", "silent=q",
		"files-without-match=L", "color=k:")
	if bad != 0 {
		return bad
	}
	for _, letter := range []string{"P", "A", "B", "C"} {
		if o.on(letter) {
			return p.fail(2, "option '-%s' is not supported by this machine", letter)
		}
	}
	g := &grepper{p: p, o: o, limit: -1}
	if text, ok := o.value("m"); ok {
		g.limit, _ = strconv.Atoi(text)
	}
	texts := o.values("e")
	for _, file := range o.values("f") {
		data, err := p.FS.ReadFile(p.Path(file))
		if err != nil {
			return p.fail(2, "%s: %s", file, errText(err))
		}
		texts = append(texts, strings.TrimSuffix(string(data), "\n"))
	}
	if !o.on("e") && !o.on("f") {
		if len(names) == 0 {
			return p.fail(2, "usage: grep [OPTION]... PATTERNS [FILE]...")
		}
		texts, names = append(texts, names[0]), names[1:]
	}
	if err := g.compile(texts); err != nil {
		return p.fail(2, "%v", err)
	}
	recursive := o.on("r") || o.on("R")
	if recursive && len(names) == 0 {
		names = []string{"."}
	}
	g.named = (len(names) > 1 || recursive || o.on("H")) && !o.on("h")
	status := g.files(names, recursive)
	switch {
	case status != 0 && (!g.found || !o.on("q")):
		return status
	case g.found:
		return 0
	}
	return 1
}

func (g *grepper) compile(texts []string) error {
	extended := g.o.on("E") || g.p.name() == "egrep"
	fixed := g.o.on("F") || g.p.name() == "fgrep"
	for _, text := range texts {
		for pattern := range strings.SplitSeq(text, "\n") {
			re, err := compile(pattern, extended, fixed, g.o.on("i"))
			if err != nil {
				return err
			}
			switch {
			case g.o.on("x"):
				re, err = regexp.Compile("^(?:" + re.String() + ")$")
			case g.o.on("w"):
				re, err = regexp.Compile(`\b(?:` + re.String() + `)\b`)
			}
			if err != nil {
				return err
			}
			g.patterns = append(g.patterns, re)
		}
	}
	return nil
}

func (g *grepper) files(names []string, recursive bool) int {
	if len(names) == 0 {
		names = []string{"-"}
	}
	status := 0
	problem := func(name string, err error) {
		status = 2
		if !g.o.on("s") {
			g.p.fail(2, "%s: %s", name, errText(err))
		}
	}
	for _, name := range names {
		if recursive && name != "-" {
			base := g.p.Path(name)
			err := g.p.walk(base, func(file string, info *memfs.Info) error {
				if info.Mode().IsRegular() {
					g.file(name+strings.TrimPrefix(file, base), problem)
				}
				return nil
			})
			if err != nil {
				problem(name, err)
			}
			continue
		}
		g.file(name, problem)
	}
	return status
}

func (g *grepper) file(name string, problem func(string, error)) {
	in, err := g.p.input(name)
	if err != nil {
		problem(name, err)
		return
	}
	defer shut(in)
	if err := g.search(name, in); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		problem(name, err)
	}
}

func (g *grepper) search(name string, r io.Reader) error {
	if name == "-" {
		name = "(standard input)"
	}
	prefix := ""
	if g.named {
		prefix = name + ":"
	}
	count, number := 0, 0
	err := lines(r, func(line string) bool {
		number++
		line = strings.TrimSuffix(line, "\n")
		if g.matches(line) == g.o.on("v") {
			return true
		}
		count++
		g.found = g.found || !g.o.on("L")
		switch {
		case g.o.on("q"), g.o.on("l"), g.o.on("L"):
			return false
		case g.o.on("c"):
		default:
			at := prefix
			if g.o.on("n") {
				at += itoa(number) + ":"
			}
			g.show(at, line)
		}
		return g.limit < 0 || count < g.limit
	})
	switch {
	case g.o.on("q"):
	case g.o.on("l") && count > 0, g.o.on("L") && count == 0:
		g.found = true
		g.p.print(name, "\n")
	case g.o.on("c") && !g.o.on("l") && !g.o.on("L"):
		g.p.print(prefix, itoa(count), "\n")
	}
	return err
}

func (g *grepper) matches(line string) bool {
	for _, re := range g.patterns {
		if re.MatchString(line) {
			return true
		}
	}
	return false
}

func (g *grepper) show(at, line string) {
	if !g.o.on("o") {
		g.p.print(at, line, "\n")
		return
	}
	for _, re := range g.patterns {
		for _, match := range re.FindAllString(line, -1) {
			if match != "" {
				g.p.print(at, match, "\n")
			}
		}
	}
}
