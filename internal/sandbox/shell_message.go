package sandbox

import (
	"errors"
	"io"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func (r *runner) syntaxError(name string, in *scriptReader, err error) {
	if pe, ok := errors.AsType[syntax.ParseError](err); ok {
		if r.dash {
			r.errf("%s: %d: Syntax error: %s\n", r.name, pe.Pos.Line(), pe.Text)
		} else {
			before := 0
			if name == "eval" {
				name, before = r.name+": eval", int(r.line)-1
			}
			r.errf("%s\n", strings.ReplaceAll(name+": "+bashSyntaxError(pe, string(in.kept), before), "\x00", name+": "))
		}
		return
	}
	r.errf("%s: Syntax error: %v\n", r.name, err)
}

func (r *runner) errf(format string, args ...any) { fprintf(r.stderr(), format, args...) }

// errorf prints a message with the place in the script.
func (r *runner) errorf(format string, args ...any) {
	place := r.name
	if n := len(r.stack); n > 0 && !r.dash && r.stack[n-1].file != "" {
		place = r.stack[n-1].file
	}
	if r.dash {
		fprintf(r.stderr(), place+": %d: "+format+"\n", append([]any{r.line}, args...)...)
	} else {
		fprintf(r.stderr(), place+": line %d: "+format+"\n", append([]any{r.line}, args...)...)
	}
}

// fail prints a message and sets the status.
func (r *runner) fail(status int, format string, args ...any) {
	r.errorf(format, args...)
	r.status = status
}

// exit ends the shell or subshell.
func (r *runner) exit(status int) { r.status, r.flow = status, flowExit }

// fatal ends a script as an error of a special builtin or of an expansion does.
func (r *runner) fatal(format string, args ...any) {
	r.errorf(format, args...)
	if r.dash {
		r.exit(2)
		return
	}
	r.status, r.flow = 1, flowDiscard
}

func (r *runner) stdout() io.Writer { return newOutput(r.ctx, r.fds.writer(1), r.p.session, r.p.kill) }

func (r *runner) stderr() io.Writer { return newOutput(r.ctx, r.fds.writer(2), r.p.session, r.p.kill) }

// print writes to the standard output. A failure is the status of the command.
func (r *runner) print(text ...string) {
	if _, err := io.WriteString(r.stdout(), strings.Join(text, "")); err != nil {
		r.status = 1
		if r.ctx.Err() == nil {
			r.errorf("%s: write error: %s", r.builtinName(), errText(err))
		}
	}
}

func (r *runner) builtinName() string {
	name, _, _ := strings.Cut(r.command(), " ")
	return name
}

// command returns the text of the command that is being run.
func (r *runner) command() string {
	var b strings.Builder
	switch n := r.node.(type) {
	case nil:
		return ""
	case *syntax.CaseClause:
		return "case " + textOf(n.Word) + " in "
	case *syntax.ForClause:
		if loop, ok := n.Loop.(*syntax.WordIter); ok {
			b.WriteString(map[bool]string{true: "select ", false: "for "}[n.Select] + loop.Name.Value)
			if loop.InPos.IsValid() {
				b.WriteString(" in")
			}
			for _, w := range loop.Items {
				b.WriteString(" " + textOf(w))
			}
			return b.String()
		}
	case *syntax.Subshell:
		text := textOf(n)
		return "( " + strings.TrimSpace(text[1:len(text)-1]) + " )"
	case *syntax.ArithmCmd:
		text := strings.TrimSuffix(strings.TrimPrefix(textOf(&syntax.ArithmCmd{X: n.X}), "(("), "))")
		if n.X != nil && n.X.Pos().Offset() > n.Left.Offset()+2 {
			text = " " + text
		}
		if n.X != nil && n.Right.Offset() > n.X.End().Offset() {
			text += " "
		}
		return "((" + text + "))"
	}
	_ = syntax.NewPrinter(syntax.SingleLine(true), syntax.SpaceRedirects(true)).Print(&b, r.node) // a parsed node can be printed
	return b.String()
}
