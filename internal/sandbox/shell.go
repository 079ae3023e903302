package sandbox

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// A shell is one process that runs a script: the state that the interpreter
// does not keep for us. Its subshells share it.
type shell struct {
	p    *Process
	name string // how it calls itself in messages: "sh", "bash"
	dash bool

	mu            sync.Mutex
	jobs          map[int]*job
	texts         map[string]string // scripts prepared for "source"
	substitutions []string          // files that stand for process substitutions
}

// A job is a list that runs in the background.
type job struct {
	done  chan struct{}
	end   func() // idempotent
	alias string // what the interpreter calls it
	ctx   func() context.Context
}

// script is what a shell is to run.
type script struct {
	name    string // $0
	params  []string
	options []string  // as for set
	text    io.Reader // read statement by statement when stdin, else at once
	stdin   bool
}

// runShell runs a script as p, whose streams and directory it uses.
func (p *Process) runShell(ctx context.Context, name string, s script) int {
	sh := &shell{
		p: p, name: name, dash: name == "sh" && p.Host.o.Facts.dash(),
		jobs: map[int]*job{}, texts: map[string]string{},
	}
	// Background jobs outlive the shell, but not the machine.
	running, stop := p.Host.detach(ctx)
	release := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })
	status := sh.run(running, s)
	if !release() { // killed: the jobs go too
		sh.endJobs()
	}
	sh.removeSubstitutions()
	if len(sh.allJobs()) == 0 {
		stop(nil)
		return status
	}
	p.Host.outlive(ctx, func() {
		sh.waitJobs()
		stop(nil)
	})
	return status
}

func (sh *shell) run(ctx context.Context, s script) int {
	r, err := sh.runner(s)
	if err != nil {
		return sh.p.fail(2, "%v", err)
	}
	if s.stdin {
		return sh.runStatements(ctx, r, s)
	}
	text, err := io.ReadAll(s.text)
	if err != nil {
		return sh.p.fail(126, "%s: %s", s.name, errText(err))
	}
	file, status := sh.parse(string(text), s.name)
	if file == nil {
		return status
	}
	return sh.status(ctx, r.Run(ctx, file))
}

// runStatements reads the script from the shell's own input, and runs each
// statement as it comes.
func (sh *shell) runStatements(ctx context.Context, r *interp.Runner, s script) int {
	status := 0
	parser := syntax.NewParser(syntax.Variant(syntax.LangBash))
	for stmts, err := range parser.InteractiveSeq(oneByte{s.text}) {
		if err != nil {
			return sh.syntaxError(err)
		}
		if parser.Incomplete() {
			continue
		}
		file := &syntax.File{Name: s.name, Stmts: stmts}
		if problem := sh.rewrite(file); problem != nil {
			return sh.syntaxError(problem)
		}
		for _, stmt := range file.Stmts {
			status = sh.status(ctx, r.Run(ctx, stmt))
			if r.Exited() || ctx.Err() != nil {
				return status
			}
		}
	}
	// An empty file lets the EXIT trap run; exit keeps the status.
	if file, _ := sh.parse("exit "+itoa(status), s.name); file != nil {
		status = sh.status(ctx, r.Run(ctx, file))
	}
	return status
}

// oneByte hands out single bytes, so that what the parser has not seen is left
// to the commands of the script.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	return o.r.Read(b[:1])
}

func (sh *shell) parse(text, name string) (file *syntax.File, status int) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), name)
	if err == nil {
		err = sh.rewrite(file)
	}
	if err != nil {
		return nil, sh.syntaxError(err)
	}
	return file, 0
}

func (sh *shell) syntaxError(err error) int {
	if pe, ok := errors.AsType[syntax.ParseError](err); ok {
		sh.errf("%s: %d: Syntax error: %s\n", sh.name, pe.Pos.Line(), pe.Text)
	} else {
		sh.errf("%s: Syntax error: %v\n", sh.name, err)
	}
	return 2
}

func (sh *shell) errf(format string, args ...any) { fprintf(sh.p.Stderr, format, args...) }

// status turns what the interpreter returns into an exit status.
func (sh *shell) status(ctx context.Context, err error) int {
	var exit interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	if sig, was := signalOf(ctx); was {
		return sig.status()
	}
	sh.errf("%s: %v\n", sh.name, err)
	return 2
}

func (sh *shell) runner(s script) (*interp.Runner, error) {
	env := &environ{p: sh.p}
	r, err := interp.New(
		func(r *interp.Runner) error { // interp.Dir would ask the real file system
			r.Dir = sh.p.Dir
			return nil
		},
		interp.Env(env),
		interp.StdIO(nil, sh.p.Stdout, sh.p.Stderr),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return sh.exec }),
		interp.CallHandler(sh.call),
		interp.OpenHandler(sh.open),
		interp.ReadDirHandler2(sh.readDir),
		interp.StatHandler(sh.stat),
		interp.AccessHandler(sh.access),
		interp.Params(append(s.options, append([]string{"--"}, s.params...)...)...),
	)
	if err != nil {
		return nil, err
	}
	r.Reset()
	env.ready = true
	return r, nil
}
