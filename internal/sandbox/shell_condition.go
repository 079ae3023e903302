package sandbox

import (
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// testClause runs [[ ]].
func (r *runner) testClause(cm *syntax.TestClause) {
	t := &tester{r: r}
	holds := t.clause(cm.X)
	if r.flow != flowNext {
		if r.flow == flowDiscard {
			r.flow = flowNext
			r.setStatus(1)
		}
		return
	}
	switch {
	case t.bad:
		r.setStatus(2)
	default:
		r.setStatus(map[bool]int{true: 0, false: 1}[holds])
	}
}

// tester evaluates conditions.
type tester struct {
	r   *runner
	bad bool // a condition was invalid
	not bool // the next term is negated, for set -x
}

// trace prints a term of [[ ]] for set -x.
func (t *tester) trace(words ...string) {
	if !t.r.opts.xtrace {
		return
	}
	if t.not {
		words = append([]string{"!"}, words...)
	}
	t.not = false
	for i, w := range words {
		if w == "" {
			words[i] = "''"
		}
	}
	t.r.traceCompound("[[ " + strings.Join(words, " ") + " ]]")
}

// shown returns what set -x prints of a pattern: each quoted character behind a
// backslash.
func shown(parts []fieldPart) string {
	var b strings.Builder
	for _, p := range parts {
		for _, c := range p.s {
			if p.quoted {
				b.WriteByte('\\')
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}

func (t *tester) clause(x syntax.TestExpr) bool {
	r := t.r
	switch x := x.(type) {
	case *syntax.Word:
		word := r.text(x)
		t.trace("-n", word)
		return word != ""
	case *syntax.ParenTest:
		return t.clause(x.X)
	case *syntax.UnaryTest:
		if x.Op == syntax.TsNot {
			_, group := x.X.(*syntax.ParenTest)
			t.not = !t.not && !group
			return !t.clause(x.X)
		}
		w, ok := x.X.(*syntax.Word)
		if !ok {
			t.bad = true
			return false
		}
		word := r.text(w)
		t.trace(x.Op.String(), word)
		return t.unary(x.Op.String(), word)
	case *syntax.BinaryTest:
		switch x.Op {
		case syntax.AndTest:
			return t.clause(x.X) && t.clause(x.Y)
		case syntax.OrTest:
			return t.clause(x.X) || t.clause(x.Y)
		}
		left, okX := x.X.(*syntax.Word)
		right, okY := x.Y.(*syntax.Word)
		if !okX || !okY {
			t.bad = true
			return false
		}
		return t.comparison(x.Op, r.text(left), right)
	}
	t.bad = true
	return false
}

func (t *tester) comparison(op syntax.BinTestOperator, left string, right *syntax.Word) bool {
	r := t.r
	switch op {
	case syntax.TsMatchShort, syntax.TsMatch, syntax.TsNoMatch:
		e := &expander{r: r}
		e.parts(right.Parts, false)
		t.trace(left, op.String(), shown(e.cur))
		return r.match(patternOf(e.cur), left) != (op == syntax.TsNoMatch)
	case syntax.TsReMatch:
		return t.regexp(left, right)
	}
	word := r.text(right)
	t.trace(left, op.String(), word)
	switch op {
	case syntax.TsBefore:
		return left < word
	case syntax.TsAfter:
		return left > word
	case syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr:
		a, okA := r.arithText(left)
		b, okB := r.arithText(word)
		if !okA || !okB {
			r.status = 1
			return false
		}
		return compareNumbers(op.String(), a, b)
	}
	return t.files(op.String(), left, word)
}

func compareNumbers(op string, a, b int64) bool {
	switch op {
	case "-eq":
		return a == b
	case "-ne":
		return a != b
	case "-le":
		return a <= b
	case "-ge":
		return a >= b
	case "-lt":
		return a < b
	default:
		return a > b
	}
}

// regexp implements =~, in which quoted text is literal.
func (t *tester) regexp(left string, right *syntax.Word) bool {
	r := t.r
	e := &expander{r: r}
	for _, part := range right.Parts {
		if lit, ok := part.(*syntax.Lit); ok {
			e.literal(decodeBytes(lit.Value))
		} else {
			e.parts([]syntax.WordPart{part}, false)
		}
	}
	var b strings.Builder
	for _, p := range e.cur {
		if p.quoted {
			b.WriteString(regexp.QuoteMeta(p.s))
		} else {
			b.WriteString(p.s)
		}
	}
	t.trace(left, "=~", shown(e.cur))
	rx, err := compile("(?s)"+b.String(), true, false, r.shopts["nocasematch"])
	if err != nil {
		t.bad = true
		return false
	}
	rx.Longest()
	found := rx.FindStringSubmatch(left)
	v := indexed(found)
	v.owner = r.token
	r.vars.global().vars["BASH_REMATCH"] = v
	return found != nil
}

// unary evaluates -f file and the like.
func (t *tester) unary(op, arg string) bool {
	r := t.r
	switch op {
	case "-z":
		return arg == ""
	case "-n":
		return arg != ""
	case "-v":
		return r.isSet(arg)
	case "-o":
		o := r.opts.option(arg)
		return o != nil && *o
	case "-R":
		v, _ := r.vars.find(arg)
		return v != nil && v.ref
	case "-t":
		fd, err := strconv.Atoi(arg)
		s := r.fds[fd]
		return err == nil && s != nil && s.tty
	}
	return r.fileTest(op, arg)
}

func (r *runner) isSet(name string) bool {
	base, index, element := strings.Cut(name, "[")
	if !element {
		_, set := r.lookup(name).scalar()
		return set
	}
	index = strings.TrimSuffix(index, "]")
	v := r.lookup(base)
	if index == "@" || index == "*" {
		return len(v.values()) > 0
	}
	if v != nil && v.dict == nil {
		n, ok := r.arithText(index)
		if !ok {
			return false
		}
		index = r.evalIndex(base, strconv.FormatInt(n, 10))
	}
	_, set := r.element(v, index)
	return set
}

// fileTest evaluates a condition on a file.
func (r *runner) fileTest(op, arg string) bool {
	name := r.p.Path(arg)
	if fd, ok := standardFD(name); ok && r.fds[fd] != nil {
		return op == "-e" || op == "-r" || op == "-w" || op == "-p" && r.fds[fd].file == nil || op == "-c" && r.fds[fd].tty
	}
	stat := r.p.FS.Stat
	if op == "-L" || op == "-h" {
		stat = r.p.FS.Lstat
	}
	info, err := stat(name)
	if err != nil {
		if _, ok := r.p.function(name); ok { // a command without a file
			return op == "-e" || op == "-f" || op == "-r" || op == "-x" || op == "-s" || op == "-a"
		}
		return false
	}
	mode := info.Mode()
	switch op {
	case "-e", "-a":
		return true
	case "-f":
		return mode.IsRegular()
	case "-d":
		return info.IsDir()
	case "-L", "-h":
		return mode&fs.ModeSymlink != 0
	case "-s":
		return info.Size() > 0
	case "-r":
		return r.p.FS.Access(name, memfs.Read) == nil
	case "-w":
		return r.p.FS.Access(name, memfs.Write) == nil
	case "-x":
		return r.p.FS.Access(name, memfs.Execute) == nil
	case "-p":
		return mode&fs.ModeNamedPipe != 0
	case "-S":
		return mode&fs.ModeSocket != 0
	case "-c":
		return mode&fs.ModeCharDevice != 0
	case "-b":
		return mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0
	case "-k":
		return mode&fs.ModeSticky != 0
	case "-g":
		return mode&fs.ModeSetgid != 0
	case "-u":
		return mode&fs.ModeSetuid != 0
	case "-O":
		return info.UID() == r.p.UID
	case "-G":
		return info.GID() == r.p.GID
	case "-N":
		return info.ModTime().After(info.AccessTime())
	}
	return false
}

// files compares two files. For dash no file is newer than a missing one.
func (t *tester) files(op, left, right string) bool {
	r := t.r
	a, errA := r.p.FS.Stat(r.p.Path(left))
	b, errB := r.p.FS.Stat(r.p.Path(right))
	both := errA == nil && errB == nil
	switch op {
	case "-ef":
		return both && a.Ino() == b.Ino()
	case "-nt":
		return both && a.ModTime().After(b.ModTime()) || errA == nil && errB != nil && !r.dash
	default:
		return both && a.ModTime().Before(b.ModTime()) || errA != nil && errB == nil && !r.dash
	}
}
