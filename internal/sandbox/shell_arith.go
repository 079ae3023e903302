package sandbox

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// calculator evaluates an arithmetic expression.
type calculator struct {
	r     *runner
	words map[*syntax.Word]string // expanded words
	depth int

	divisor string // that was zero
}

// maxArithDepth bounds variables whose values are expressions.
const maxArithDepth = 64

// arith evaluates an expression. If it is invalid, arith prints a message, sets
// the status and returns false.
func (r *runner) arith(x syntax.ArithmExpr) (int64, bool) {
	c := &calculator{r: r, words: map[*syntax.Word]string{}}
	n, err := c.evaluate(x)
	return n, r.arithError(err)
}

// arithCommand evaluates the expression of (( )) or let, whose messages begin with its
// name.
func (r *runner) arithCommand(name string, x syntax.ArithmExpr) (int64, bool) {
	c := &calculator{r: r, words: map[*syntax.Word]string{}}
	n, err := c.evaluate(x)
	if err != nil && !r.dash {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return n, r.arithError(err)
}

func (r *runner) arithError(err error) bool {
	if r.flow != flowNext {
		return false
	}
	if err != nil {
		r.status = 1
		if r.dash {
			r.fatal("arithmetic expression: %v", err)
		} else {
			r.errorf("%v", err)
		}
	}
	return err == nil
}

// arithText evaluates text as an expression.
func (r *runner) arithText(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && (text[0] != '0' || len(text) == 1) {
		return n, true
	}
	c := &calculator{r: r, words: map[*syntax.Word]string{}}
	n, err := c.text(text)
	return n, r.arithError(err)
}

func (c *calculator) text(text string) (int64, error) {
	if strings.TrimSpace(text) == "" {
		return 0, nil
	}
	if c.depth++; c.depth > maxArithDepth {
		return 0, fmt.Errorf("%s: expression recursion level exceeded (error token is %q)", clip(text), clip(text))
	}
	defer func() { c.depth-- }()
	x, err := syntax.NewParser().Arithmetic(&scriptReader{r: strings.NewReader(text), limit: maxFrames})
	if err != nil || x == nil {
		return 0, fmt.Errorf("%s: syntax error in expression (error token is %q)", text, text)
	}
	return c.evaluate(x)
}

// evaluate expands the words of x and evaluates it. If a word expands to more
// than a number or a name, the whole text is parsed again, as the shell does.
func (c *calculator) evaluate(x syntax.ArithmExpr) (int64, error) {
	again := false
	syntax.Walk(x, func(n syntax.Node) bool {
		w, ok := n.(*syntax.Word)
		if !ok || c.r.flow != flowNext {
			return true
		}
		if w.Lit() != "" || nakedElement(w) != nil {
			return nakedElement(w) == nil
		}
		s := c.r.text(w)
		c.words[w] = s
		if _, err := parseNumber(s); err != nil && !validName(s) && strings.TrimSpace(s) != "" {
			again = true
		}
		return false
	})
	if c.r.flow != flowNext {
		return 0, nil
	}
	if again {
		return c.text(c.string(x))
	}
	n, err := c.eval(x)
	if errors.Is(err, errDivision) && !c.r.dash {
		return 0, fmt.Errorf("%s: division by 0 (error token is %q)", arithText(x), c.divisor)
	}
	return n, err
}

var errDivision = errors.New("division by zero")

// nakedElement returns the a[i] of a word without a dollar.
func nakedElement(w *syntax.Word) *syntax.ParamExp {
	if len(w.Parts) != 1 {
		return nil
	}
	pe, ok := w.Parts[0].(*syntax.ParamExp)
	if !ok || pe.Dollar.IsValid() {
		return nil
	}
	return pe
}

// string returns the text of an expression with its words expanded.
func (c *calculator) string(x syntax.ArithmExpr) string {
	switch x := x.(type) {
	case *syntax.Word:
		if s, ok := c.words[x]; ok {
			return s
		}
		return textOf(x)
	case *syntax.BinaryArithm:
		return c.string(x.X) + " " + x.Op.String() + " " + c.string(x.Y)
	case *syntax.UnaryArithm:
		if x.Post {
			return c.string(x.X) + x.Op.String()
		}
		return x.Op.String() + " " + c.string(x.X)
	case *syntax.ParenArithm:
		return "(" + c.string(x.X) + ")"
	}
	return ""
}

func (c *calculator) eval(x syntax.ArithmExpr) (int64, error) {
	switch x := x.(type) {
	case nil:
		return 0, nil
	case *syntax.Word:
		return c.word(x)
	case *syntax.ParenArithm:
		return c.eval(x.X)
	case *syntax.UnaryArithm:
		return c.unary(x)
	case *syntax.BinaryArithm:
		return c.binary(x)
	}
	return 0, fmt.Errorf("%T is not supported by this machine", x)
}

func (c *calculator) word(w *syntax.Word) (int64, error) {
	if pe := nakedElement(w); pe != nil {
		return c.variable(w)
	}
	s, ok := c.words[w]
	if !ok {
		s = w.Lit()
	}
	s = strings.TrimSpace(s)
	if validName(s) {
		return c.value(s, c.r.lookup(s))
	}
	if s == "" {
		return 0, nil
	}
	return parseNumber(s)
}

// value returns the number that a variable holds; its text may be an expression.
func (c *calculator) value(name string, v *variable) (int64, error) {
	s, set := v.scalar()
	if !set && c.r.opts.nounset {
		c.r.unbound(name)
		return 0, nil
	}
	if s == "" {
		return 0, nil
	}
	if n, err := parseNumber(s); err == nil {
		return n, nil
	}
	if c.r.dash {
		return 0, fmt.Errorf("Illegal number: %s", s) //nolint:staticcheck // as dash prints it
	}
	return c.text(s)
}

// variable returns the value of a name or element.
func (c *calculator) variable(w *syntax.Word) (int64, error) {
	name, index, err := c.target(w)
	if err != nil {
		return 0, err
	}
	if index == "" {
		return c.value(name, c.r.lookup(name))
	}
	e := c.r.elementValue(name, index)
	return c.value(name, &variable{str: e.str, set: e.set})
}

// target returns the variable, and for an element the index, that a word names.
func (c *calculator) target(w *syntax.Word) (name, index string, err error) {
	if pe := nakedElement(w); pe != nil {
		if pe.Index == nil {
			return pe.Param.Value, "", nil
		}
		text, ok := c.r.indexText(pe.Param.Value, pe.Index)
		if !ok {
			return "", "", errors.New("bad array subscript")
		}
		return pe.Param.Value, text, nil
	}
	s, ok := c.words[w]
	if !ok {
		s = w.Lit()
	}
	if !validName(s) {
		return "", "", fmt.Errorf("%s: attempted assignment to non-variable (error token is %q)", s, s)
	}
	return s, "", nil
}

func (c *calculator) set(x syntax.ArithmExpr, n int64) error {
	w, ok := x.(*syntax.Word)
	if !ok {
		return errors.New("attempted assignment to non-variable")
	}
	name, index, err := c.target(w)
	if err != nil {
		return err
	}
	text := strconv.FormatInt(n, 10)
	if index != "" {
		ok = c.r.assignElement(name, index, text)
	} else {
		ok = c.r.assign(name, text)
	}
	if !ok {
		return fmt.Errorf("%s: cannot assign", name)
	}
	return nil
}

func (c *calculator) unary(x *syntax.UnaryArithm) (int64, error) {
	n, err := c.eval(x.X)
	if err != nil {
		return 0, err
	}
	switch x.Op {
	case syntax.Inc, syntax.Dec:
		by := int64(1)
		if x.Op == syntax.Dec {
			by = -1
		}
		if err := c.set(x.X, n+by); err != nil {
			return 0, err
		}
		if x.Post {
			return n, nil
		}
		return n + by, nil
	case syntax.Not:
		return truth(n == 0), nil
	case syntax.BitNegation:
		return ^n, nil
	case syntax.Minus:
		return -n, nil
	}
	return n, nil
}

func (c *calculator) binary(x *syntax.BinaryArithm) (int64, error) {
	switch x.Op {
	case syntax.Assgn:
		n, err := c.eval(x.Y)
		if err == nil {
			err = c.set(x.X, n)
		}
		return n, err
	case syntax.TernQuest:
		branches, ok := x.Y.(*syntax.BinaryArithm)
		if !ok {
			return 0, errors.New("syntax error in expression")
		}
		n, err := c.eval(x.X)
		switch {
		case err != nil:
			return 0, err
		case n != 0:
			return c.eval(branches.X)
		}
		return c.eval(branches.Y)
	case syntax.AndArit, syntax.OrArit:
		n, err := c.eval(x.X)
		if err != nil || (n != 0) == (x.Op == syntax.OrArit) {
			return truth(n != 0), err
		}
		n, err = c.eval(x.Y)
		return truth(n != 0), err
	}
	a, err := c.eval(x.X)
	if err != nil {
		return 0, err
	}
	b, err := c.eval(x.Y)
	if err != nil {
		return 0, err
	}
	op, assigns := x.Op, false
	for from, to := range map[syntax.BinAritOperator]syntax.BinAritOperator{
		syntax.AddAssgn: syntax.Add, syntax.SubAssgn: syntax.Sub, syntax.MulAssgn: syntax.Mul, syntax.QuoAssgn: syntax.Quo,
		syntax.RemAssgn: syntax.Rem, syntax.AndAssgn: syntax.And, syntax.OrAssgn: syntax.Or, syntax.XorAssgn: syntax.Xor,
		syntax.ShlAssgn: syntax.Shl, syntax.ShrAssgn: syntax.Shr,
	} {
		if x.Op == from {
			op, assigns = to, true
		}
	}
	n, err := calculate(op, a, b)
	if errors.Is(err, errDivision) {
		c.divisor = arithText(x.Y)
	}
	if err == nil && assigns {
		err = c.set(x.X, n)
	}
	return n, err
}
