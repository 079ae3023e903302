package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

type grepper struct {
	p        *Process
	o        opts
	patterns []*regexp.Regexp
	kept     bool // only the group "keep" of a match is shown
	named    bool // show the name of the file before each line
	limit    int
	found    bool
	before   int // lines of context
	after    int
}

func grep(_ context.Context, p *Process) int {
	o, names, bad := p.options("qEFGPvincrRolLwxshHe:f:m:aA:B:C:zZI", "quiet=q", "extended-regexp=E", "fixed-strings=F", "invert-match=v",
		"ignore-case=i", "line-number=n", "count=c", "recursive=r", "only-matching=o", "files-with-matches=l", "word-regexp=w",
		"line-regexp=x", "no-messages=s", "no-filename=h", "with-filename=H", "regexp=e:", "file=f:", "max-count=m:", "silent=q",
		"files-without-match=L", "color=k:", "after-context=A:", "before-context=B:", "context=C:", "include=N:", "exclude=M:", "exclude-dir=D:", "null-data=z", "perl-regexp=P", "text=a", "line-buffered=y", "binary-files=b:", "null=Z")
	if bad != 0 {
		return bad
	}
	g := &grepper{p: p, o: o, limit: -1}
	if text, ok := o.value("m"); ok {
		g.limit, _ = strconv.Atoi(text)
	}
	for _, letter := range []string{"A", "B", "C"} {
		text, ok := o.value(letter)
		n, valid := number(text)
		switch {
		case !ok:
		case !valid:
			return p.fail(2, "%s: invalid context length argument", text)
		case letter == "A":
			g.after = n
		case letter == "B":
			g.before = n
		default:
			g.before, g.after = n, n
		}
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
			if g.o.on("P") {
				pattern = g.perl(pattern)
			}
			re, err := compile(pattern, extended, fixed, g.o.on("i"))
			if g.o.on("P") {
				if g.o.on("i") {
					pattern = "(?i)" + pattern
				}
				if re, err = regexp.Compile(pattern); err != nil {
					err = fmt.Errorf("expression %q is not supported by this machine: %w", pattern, err)
				}
			}
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
				if info.Mode().IsRegular() && g.included(file, base) {
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

// perl rewrites \K and a lookbehind at the start of a Perl expression, which Go's
// regular expressions lack.
func (g *grepper) perl(pattern string) string {
	if before, after, ok := strings.Cut(pattern, `\K`); ok {
		g.kept = true
		return "(?:" + before + ")(?P<keep>" + after + ")"
	}
	if rest, ok := strings.CutPrefix(pattern, "(?<="); ok {
		if before, after, ok := strings.Cut(rest, ")"); ok {
			g.kept = true
			pattern = "(?:" + before + ")(?P<keep>" + after + ")"
		}
	}
	if at := strings.LastIndex(pattern, "(?="); at >= 0 && strings.HasSuffix(pattern, ")") && !g.kept {
		g.kept = true
		return "(?P<keep>" + pattern[:at] + ")(?:" + pattern[at+3:]
	}
	return pattern
}

// included reports whether --include, --exclude and --exclude-dir select a file.
func (g *grepper) included(file, base string) bool {
	matches := func(flag, name string) bool {
		for _, glob := range g.o.values(flag) {
			if ok, err := path.Match(glob, name); ok && err == nil {
				return true
			}
		}
		return false
	}
	if g.o.on("D") {
		for dir := range strings.SplitSeq(strings.TrimPrefix(path.Dir(file), base), "/") {
			if matches("D", dir) {
				return false
			}
		}
	}
	return (!g.o.on("N") || matches("N", path.Base(file))) && !matches("M", path.Base(file))
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
	var past []string // lines before the match
	left, last := 0, 0
	context := func(number int, line string) {
		if last > 0 && number > last+1 {
			g.p.print("--\n")
		}
		last = number
		at := strings.TrimSuffix(prefix, ":")
		if at != "" {
			at += "-"
		}
		if g.o.on("n") {
			at += itoa(number) + "-"
		}
		g.p.print(at, line, "\n")
	}
	each := lines
	if g.o.on("z") {
		each = func(r io.Reader, do func(string) bool) error {
			data, err := g.p.readAll(r)
			for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
				if !do(line) {
					break
				}
			}
			return err
		}
	}
	err := each(r, func(line string) bool {
		number++
		line = strings.TrimSuffix(line, "\n")
		if g.matches(line) == g.o.on("v") {
			switch {
			case left > 0:
				left--
				context(number, line)
			case g.limit >= 0 && count >= g.limit:
				return false
			case g.before > 0:
				if past = append(past, line); len(past) > g.before {
					past = past[1:]
				}
			}
			return true
		}
		if g.limit >= 0 && count >= g.limit {
			return false
		}
		count++
		g.found = g.found || !g.o.on("L")
		switch {
		case g.o.on("q"), g.o.on("l"), g.o.on("L"):
			return false
		case g.o.on("c"):
		default:
			for i, line := range past {
				context(number-len(past)+i, line)
			}
			past, left = nil, g.after
			if (g.before > 0 || g.after > 0) && last > 0 && number > last+1 {
				g.p.print("--\n")
			}
			last = number
			at := prefix
			if g.o.on("n") {
				at += itoa(number) + ":"
			}
			g.show(at, line)
		}
		return g.limit < 0 || count < g.limit || left > 0
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
		for _, m := range re.FindAllStringSubmatchIndex(line, -1) {
			if keep := re.SubexpIndex("keep"); keep > 0 {
				m = m[2*keep:]
			}
			if m[0] >= 0 && m[1] > m[0] {
				g.p.print(at, line[m[0]:m[1]], "\n")
			}
		}
	}
}
