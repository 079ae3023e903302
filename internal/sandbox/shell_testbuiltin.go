package sandbox

import (
	"strconv"
	"strings"
)

// testBuiltin implements test and [.
func (r *runner) testBuiltin(args []string) {
	words := args[1:]
	if args[0] == "[" {
		if len(words) == 0 || words[len(words)-1] != "]" {
			r.fail(2, "[: missing `]'")
			return
		}
		words = words[:len(words)-1]
	}
	t := &testParser{tester: tester{r: r}, name: args[0], words: words}
	holds := t.run()
	switch {
	case t.bad:
		r.status = 2
	case !holds:
		r.status = 1
	}
}

// testParser evaluates the arguments of test.
type testParser struct {
	tester
	name  string
	words []string
	at    int
}

// run follows the rules of POSIX for up to four arguments.
func (t *testParser) run() bool {
	w := t.words
	switch len(w) {
	case 0:
		return false
	case 1:
		return w[0] != ""
	case 2:
		if w[0] == "!" {
			return w[1] == ""
		}
	case 3:
		switch {
		case binaryTest(w[1]):
			return t.binary(w[1], w[0], w[2])
		case w[1] == "-a":
			return w[0] != "" && w[2] != ""
		case w[1] == "-o":
			return w[0] != "" || w[2] != ""
		case w[0] == "!":
			t.words = w[1:]
			return !t.run()
		case w[0] == "(" && w[2] == ")":
			return w[1] != ""
		case !t.r.dash:
			t.problem("%s: binary operator expected", w[1])
			return false
		}
	case 4:
		if w[0] == "!" {
			t.words = w[1:]
			return !t.run()
		}
	}
	holds := t.or()
	if t.at < len(t.words) && !t.bad {
		if t.r.dash {
			t.problem("%s: unexpected operator", t.words[0])
		} else {
			t.problem("too many arguments")
		}
	}
	return holds
}

func (t *testParser) problem(format string, args ...any) {
	if !t.bad {
		t.bad = true
		t.r.errorf(t.name+": "+format, args...)
	}
}

func (t *testParser) next() string {
	if t.at < len(t.words) {
		t.at++
		return t.words[t.at-1]
	}
	t.problem("argument expected")
	return ""
}

func (t *testParser) peek(i int) string {
	if t.at+i < len(t.words) {
		return t.words[t.at+i]
	}
	return ""
}

func (t *testParser) or() bool {
	holds := t.and()
	for t.peek(0) == "-o" && !t.bad {
		t.at++
		right := t.and()
		holds = holds || right
	}
	return holds
}

func (t *testParser) and() bool {
	holds := t.not()
	for t.peek(0) == "-a" && !t.bad {
		t.at++
		right := t.not()
		holds = holds && right
	}
	return holds
}

func (t *testParser) not() bool {
	negated := false
	for t.peek(0) == "!" && t.at+1 < len(t.words) && !binaryTest(t.peek(1)) {
		t.at++
		negated = !negated
	}
	return t.primary() != negated
}

func (t *testParser) primary() bool {
	word := t.next()
	if t.bad {
		return false
	}
	if binaryTest(t.peek(0)) && t.at+1 < len(t.words) {
		op := t.next()
		return t.binary(op, word, t.next())
	}
	if word == "(" {
		holds := t.or()
		if t.next() != ")" {
			t.problem("`)' expected")
		}
		return holds
	}
	if len(word) == 2 && word[0] == '-' && strings.IndexByte("abcdefghknoprstuvwxzGLNORS", word[1]) >= 0 {
		if t.at == len(t.words) {
			return true // a lone word
		}
		if t.r.dash && (word == "-v" || word == "-R" || word == "-N" || word == "-o") {
			t.problem("%s: unexpected operator", word)
			return false
		}
		return t.unary(word, t.next())
	}
	if len(t.words) == 2 {
		t.problem("%s: unary operator expected", t.words[0])
	}
	return word != ""
}

func binaryTest(op string) bool {
	switch op {
	case "=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef":
		return true
	}
	return false
}

func (t *testParser) binary(op, left, right string) bool {
	switch op {
	case "=":
		return left == right
	case "==":
		if t.r.dash {
			t.problem("%s: unexpected operator", left)
		}
		return left == right
	case "!=":
		return left != right
	case "<":
		return left < right
	case ">":
		return left > right
	case "-nt", "-ot", "-ef":
		return t.files(op, left, right)
	}
	a, okA := t.integer(left)
	b, okB := t.integer(right)
	return okA && okB && compareNumbers(op, a, b)
}

func (t *testParser) integer(s string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		if t.r.dash {
			t.problem("Illegal number: %s", s)
		} else {
			t.problem("%s: integer expression expected", s)
		}
	}
	return n, err == nil
}
