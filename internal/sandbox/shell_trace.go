package sandbox

import (
	"strings"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// traceArith prints an expression of for (( )) for set -x.
func (r *runner) traceArith(x syntax.ArithmExpr) {
	if r.opts.xtrace {
		r.traceCompound("(( " + arithText(x) + " ))")
	}
}

// arithText returns an expression with the spaces that it has in the script.
func arithText(x syntax.ArithmExpr) string {
	switch x := x.(type) {
	case *syntax.Word:
		return textOf(x)
	case *syntax.BinaryArithm:
		op := x.Op.String()
		return arithText(x.X) + gap(x.X.End().Offset(), x.OpPos.Offset()) + op +
			gap(x.OpPos.Offset()+uint(len(op)), x.Y.Pos().Offset()) + arithText(x.Y)
	case *syntax.UnaryArithm:
		op := x.Op.String()
		if x.Post {
			return arithText(x.X) + gap(x.X.End().Offset(), x.OpPos.Offset()) + op
		}
		return op + gap(x.OpPos.Offset()+uint(len(op)), x.X.Pos().Offset()) + arithText(x.X)
	case *syntax.ParenArithm:
		return "(" + gap(x.Lparen.Offset()+1, x.X.Pos().Offset()) + arithText(x.X) + gap(x.X.End().Offset(), x.Rparen.Offset()) + ")"
	}
	return ""
}

// gap returns the spaces between two places of a script.
func gap(from, to uint) string {
	if to <= from {
		return ""
	}
	return strings.Repeat(" ", int(to-from))
}

// trace prints a command for set -x.
func (r *runner) trace(args []string) {
	if !r.opts.xtrace {
		return
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; !r.dash {
			quoted[i] = traceQuote(arg)
		}
	}
	r.traceText(strings.Join(quoted, " "))
}

// traceCompound prints a part of a compound command for set -x of bash.
func (r *runner) traceCompound(text string) {
	if r.opts.xtrace && !r.dash {
		r.traceText(strings.TrimRight(text, " "))
	}
}

func (r *runner) traceText(text string) {
	prompt := r.get("PS4")
	if prompt != "" && !r.dash {
		prompt = r.expandPrompt(prompt)
		c := prompt[:1]
		prompt = strings.Repeat(c, r.traced) + prompt
	}
	line := prompt + text + "\n"
	if fd, ok := number(r.get("BASH_XTRACEFD")); ok && !r.dash && r.fds[fd] != nil {
		fprintf(newOutput(r.ctx, r.fds.writer(fd), r.p.session, r.p.kill), "%s", line)
		return
	}
	r.errf("%s", line)
}

func (r *runner) expandPrompt(prompt string) string {
	if !strings.Contains(prompt, "$") {
		return prompt
	}
	xtrace := r.opts.xtrace
	r.opts.xtrace = false
	defer func() { r.opts.xtrace = xtrace }()
	if text, ok := r.expandText(prompt); ok && text != "" {
		return text
	}
	return prompt
}

// traceQuote quotes a word if necessary, as set -x and set do.
// asciiOf replaces letters beyond ASCII, which need no quotes.
func asciiOf(s string) string {
	return strings.Map(func(c rune) rune {
		if c > unicode.MaxASCII && unicode.IsPrint(c) {
			return 'x'
		}
		return c
	}, s)
}

func traceQuote(s string) string {
	if s == "" {
		return "''"
	}
	if bashQuote(s) == s || strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII }) && bashQuote(asciiOf(s)) == asciiOf(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
