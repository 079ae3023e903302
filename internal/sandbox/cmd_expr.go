package sandbox

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"
)

// exprParser evaluates the arguments of expr.
type exprParser struct {
	words []string
	bad   string
}

// expr implements expr.
func expr(_ context.Context, p *Process) int {
	e := &exprParser{words: p.Args[1:]}
	if len(e.words) == 0 {
		return p.fail(2, "missing operand")
	}
	value := e.or()
	if e.bad == "" && len(e.words) > 0 {
		e.bad = "syntax error: unexpected argument " + quote(e.words[0])
	}
	if e.bad != "" {
		return p.fail(2, "%s", e.bad)
	}
	p.print(value, "\n")
	if value == "" || value == "0" {
		return 1
	}
	return 0
}

func (e *exprParser) peek() string {
	if len(e.words) == 0 {
		return ""
	}
	return e.words[0]
}

func (e *exprParser) next() string {
	w := e.peek()
	if len(e.words) > 0 {
		e.words = e.words[1:]
	} else if e.bad == "" {
		e.bad = "syntax error: missing argument"
	}
	return w
}

func null(s string) bool { return s == "" || s == "0" }

func (e *exprParser) or() string {
	left := e.and()
	for e.peek() == "|" {
		e.next()
		right := e.and()
		if null(left) {
			left = right
		}
		if null(left) {
			left = "0"
		}
	}
	return left
}

func (e *exprParser) and() string {
	left := e.compare()
	for e.peek() == "&" {
		e.next()
		if right := e.compare(); null(left) || null(right) {
			left = "0"
		}
	}
	return left
}

func (e *exprParser) compare() string {
	left := e.sum()
	for {
		op := e.peek()
		switch op {
		case "=", "==", "!=", "<", "<=", ">", ">=":
		default:
			return left
		}
		e.next()
		right := e.sum()
		c := strings.Compare(left, right)
		a, errA := strconv.ParseInt(left, 10, 64)
		b, errB := strconv.ParseInt(right, 10, 64)
		if errA == nil && errB == nil {
			c = int(max(-1, min(1, a-b)))
		}
		holds := map[string]bool{"=": c == 0, "==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]
		left = strconv.FormatInt(truth(holds), 10)
	}
}

func (e *exprParser) calculate(left, op, right string) string {
	a, errA := strconv.ParseInt(left, 10, 64)
	b, errB := strconv.ParseInt(right, 10, 64)
	switch {
	case errA != nil || errB != nil:
		e.bad = "non-integer argument"
		return ""
	case (op == "/" || op == "%") && b == 0:
		e.bad = "division by zero"
		return ""
	}
	n := map[string]func() int64{
		"+": func() int64 { return a + b }, "-": func() int64 { return a - b }, "*": func() int64 { return a * b },
		"/": func() int64 { return a / b }, "%": func() int64 { return a % b },
	}[op]()
	return strconv.FormatInt(n, 10)
}

func (e *exprParser) sum() string {
	left := e.product()
	for e.peek() == "+" || e.peek() == "-" {
		op := e.next()
		left = e.calculate(left, op, e.product())
	}
	return left
}

func (e *exprParser) product() string {
	left := e.match()
	for e.peek() == "*" || e.peek() == "/" || e.peek() == "%" {
		op := e.next()
		left = e.calculate(left, op, e.match())
	}
	return left
}

func (e *exprParser) match() string {
	left := e.primary()
	for e.peek() == ":" {
		e.next()
		left = e.matched(left, e.primary())
	}
	return left
}

func (e *exprParser) matched(s, pattern string) string {
	re, err := compile("^"+strings.TrimPrefix(pattern, "^"), false, false, false)
	if err != nil {
		e.bad = err.Error()
		return ""
	}
	m := re.FindStringSubmatch(s)
	switch {
	case re.NumSubexp() > 0 && m != nil:
		return m[1]
	case re.NumSubexp() > 0:
		return ""
	case m == nil:
		return "0"
	}
	return itoa(utf8.RuneCountInString(m[0]))
}

func (e *exprParser) primary() string {
	switch word := e.next(); {
	case word == "(":
		v := e.or()
		if e.next() != ")" && e.bad == "" {
			e.bad = "syntax error: expecting ')'"
		}
		return v
	case word == "length" && len(e.words) > 0:
		return itoa(utf8.RuneCountInString(e.next()))
	case word == "match" && len(e.words) > 1:
		s := e.next()
		return e.matched(s, e.next())
	case word == "substr" && len(e.words) > 2:
		runes := []rune(e.next())
		from, okFrom := number(e.next())
		n, okN := number(e.next())
		if !okFrom || !okN || from < 1 || from > len(runes) {
			return ""
		}
		return string(runes[from-1 : min(len(runes), from-1+n)])
	case word == "index" && len(e.words) > 1:
		s := e.next()
		return itoa(strings.IndexAny(s, e.next()) + 1)
	default:
		return word
	}
}
