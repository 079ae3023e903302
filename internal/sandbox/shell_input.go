package sandbox

import (
	"bytes"
	"errors"
	"io"
	"slices"
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
	in := &scriptReader{r: text, limit: maxFrames, room: r.room, keep: !r.dash}
	ran := 0
	for in != nil {
		in, ran = r.runLines(in, name, ran)
	}
}

// runLines runs the lines of a script but the first ones. It returns a reader if the
// script has to be parsed again.
func (r *runner) runLines(in *scriptReader, name string, ran int) (again *scriptReader, lines int) {
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	// The iterator panics if it is left early, since it may yield once more. So the
	// end of the text stops it.
	for stmts, err := range parser.InteractiveSeq(in) {
		in.size = 0
		if in.stopped || err == nil && parser.Incomplete() {
			continue
		}
		if lines++; lines <= ran {
			continue
		}
		if again = in.quoteKey(err); again != nil {
			in.stopped = true
			lines--
			continue
		}
		if closed, warning := in.closeHeredoc(err); closed != nil {
			r.errf("%s: %s\n", name, warning)
			again, in.stopped = closed, true
			lines--
			continue
		}
		in.stopped = !r.runLine(in, stmts, err, name)
	}
	return again, lines
}

// quoteKey returns a reader of the script with the key of an array quoted in which
// the parser found an error, or nil if that is not the error. Unlike bash, the parser
// takes keys for arithmetic.
func (s *scriptReader) quoteKey(err error) *scriptReader {
	if err == nil || !s.keep {
		return nil
	}
	var at syntax.Pos
	if problem, ok := errors.AsType[syntax.ParseError](err); ok {
		at = problem.Pos
	} else if problem, ok := errors.AsType[syntax.LangError](err); ok {
		at = problem.Pos
	}
	more := make([]byte, 512)
	for n := 1; n > 0 && s.keep && bytes.IndexByte(s.kept[min(int(at.Offset()), len(s.kept)):], '\n') < 0; { // the end of the line
		n, _ = s.Read(more)
	}
	text, ok := quoteKey(s.kept, int(at.Offset()))
	if !ok || s.again >= maxAgain {
		return nil
	}
	rest := io.MultiReader(bytes.NewReader(text), bytes.NewReader(s.rest), s.r)
	if s.err != nil {
		rest = io.MultiReader(bytes.NewReader(text), bytes.NewReader(s.rest))
	}
	return &scriptReader{r: rest, limit: s.limit, room: s.room, keep: true, again: s.again + 1}
}

// maxAgain bounds how often a script is parsed again.
const maxAgain = 300

// quoteKey quotes the key of an array at an offset of a script.
func quoteKey(script []byte, at int) ([]byte, bool) {
	at = min(at, len(script))
	line := bytes.LastIndexByte(script[:at], '\n') + 1
	open := bytes.LastIndexByte(script[line:at], '[')
	if open < 0 {
		return nil, false
	}
	open += line + 1
	end := bytes.IndexAny(script[open:], "]\n")
	if end <= 0 || script[open+end] == '\n' || bytes.ContainsAny(script[open:open+end], "\"'`\\") {
		return nil, false
	}
	if before := script[line : open-1]; len(before) > 0 && bytes.IndexByte([]byte(" (\t"), before[len(before)-1]) < 0 && !validName("_"+string(before[len(before)-1:])) {
		return nil, false
	}
	return slices.Concat(script[:open], []byte{'"'}, script[open:open+end], []byte{'"'}, script[open+end:]), true
}

// runLine runs the commands of a line and reports whether the script goes on.
func (r *runner) runLine(in *scriptReader, stmts []*syntax.Stmt, err error, name string) bool {
	if err == nil {
		err = r.check(stmts)
	}
	if err != nil {
		r.syntaxError(name, in, err)
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
	r.traced++
	defer func() { r.depth--; r.traced-- }()
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	in := &scriptReader{r: strings.NewReader(text), limit: maxFrames, room: r.room, keep: !r.dash}
	file, err := parser.Parse(in, what)
	for again := in.quoteKey(err); again != nil; again = again.quoteKey(err) {
		file, err = parser.Parse(again, what)
	}
	if err == nil {
		err = r.check(file.Stmts)
	}
	if err != nil {
		r.syntaxError(what, in, err)
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
	if base := r.lineBase; what == "eval" && r.line > 0 && !r.dash {
		r.lineBase = r.line - 1
		defer func() { r.lineBase = base }()
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
