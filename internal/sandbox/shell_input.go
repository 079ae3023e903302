package sandbox

import (
	"io"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"mvdan.cc/sh/v3/syntax"
)

// readProfile runs the files that a login shell reads.
func (r *runner) readProfile() {
	r.readStartup("/etc/profile")
	names := []string{".bash_profile", ".bash_login", ".profile"}
	if r.dash {
		names = names[2:]
	}
	for _, name := range names {
		file := r.get("HOME") + "/" + name
		if r.p.FS.Access(file, memfs.Read) == nil {
			r.readStartup(file)
			return
		}
	}
}

func (r *runner) readStartup(file string) {
	if r.flow == flowNext && r.p.FS.Access(r.p.Path(file), memfs.Read) == nil {
		r.source([]string{".", file})
		if r.flow != flowExit {
			r.flow, r.status = flowNext, 0
		}
	}
}

// runInput parses and runs a script line by line, as a shell reads it. The lines
// before a syntax error run.
func (r *runner) runInput(text io.Reader, name string) {
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	in := &scriptReader{r: text, limit: maxFrames, room: r.room}
	// The iterator panics if it is left early, since it may yield once more. So the
	// end of the text stops it.
	for stmts, err := range parser.InteractiveSeq(in) {
		in.size = 0
		if !in.stopped && (err != nil || !parser.Incomplete()) {
			in.stopped = !r.runLine(stmts, err, name)
		}
	}
}

// runLine runs the commands of a line and reports whether the script goes on.
func (r *runner) runLine(stmts []*syntax.Stmt, err error, name string) bool {
	if err == nil {
		err = r.check(stmts)
	}
	if err != nil {
		r.syntaxError(name, err)
		r.status, r.flow = 2, flowExit
		return false
	}
	if r.opts.noexec {
		return true
	}
	r.stmts(stmts)
	if r.flow == flowDiscard && !r.fromString && r.depth == 0 {
		r.flow = flowNext
	}
	return r.flow == flowNext
}

// eval parses and runs text in the current shell.
func (r *runner) eval(text, what string) {
	if !r.enter() {
		return
	}
	defer func() { r.depth-- }()
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	file, err := parser.Parse(&scriptReader{r: strings.NewReader(text), limit: maxFrames, room: r.room}, what)
	if err == nil {
		err = r.check(file.Stmts)
	}
	if err != nil {
		r.syntaxError(what, err)
		r.status = 2
		if !r.dash {
			r.status = 1
			if what == "eval" {
				r.status = 2
			}
		} else {
			r.exit(2)
		}
		return
	}
	if len(file.Stmts) == 0 {
		r.status = 0
	}
	r.stmts(file.Stmts)
}

// enter counts a nested call. It fails if there are too many.
func (r *runner) enter() bool {
	r.depth++
	if r.depth <= r.p.Host.o.Limits.Depth {
		return true
	}
	r.depth--
	r.p.session.report("the limit of depth")
	r.errorf("maximum function nesting level exceeded (%d)", r.p.Host.o.Limits.Depth)
	r.status = 1
	r.flow = flowExit
	return false
}
