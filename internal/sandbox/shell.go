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

// A shell is a process that runs a script. It keeps the state that the
// interpreter does not, shared with its subshells.
type shell struct {
	p    *Process
	name string // in messages: "sh" or "bash"
	dash bool

	mu            sync.Mutex // guards the fields below
	jobs          map[int]*job
	texts         map[string]string // rewritten scripts for "source"
	substitutions []string          // files with the output of process substitutions
}

// A job is a list running in the background.
type job struct {
	done  chan struct{}
	end   func() // idempotent
	alias string // the interpreter's name for it
	ctx   func() context.Context
}

// script describes a script for a shell.
type script struct {
	name    string // $0
	params  []string
	options []string  // arguments for set
	text    io.Reader // read statement by statement if stdin is set
	stdin   bool      // text is also the standard input
}

// runShell runs a script as p, with its streams and working directory.
func (p *Process) runShell(ctx context.Context, name string, s script) int {
	sh := &shell{
		p: p, name: name, dash: name == "sh" && p.Host.o.Facts.dash(),
		jobs: map[int]*job{}, texts: map[string]string{},
	}
	// Background jobs may outlive the shell, but not the machine.
	running, stop := p.Host.detach(ctx)
	release := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })
	status := sh.run(running, s)
	if !release() { // killed, together with its jobs
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

// runStatements runs a script from the shell's standard input, each statement as
// soon as it has been read.
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
	// Run the EXIT trap and keep the status.
	if file, _ := sh.parse("exit "+itoa(status), s.name); file != nil {
		status = sh.status(ctx, r.Run(ctx, file))
	}
	return status
}

// oneByte returns at most one byte per Read, so that readers which buffer leave
// the rest of the input to the next command.
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

// status returns the exit status for an error of the interpreter.
func (sh *shell) status(ctx context.Context, err error) int {
	var exit interp.ExitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	if sig, ok := signalOf(ctx); ok {
		return sig.status()
	}
	sh.errf("%s: %v\n", sh.name, err)
	return 2
}

func (sh *shell) runner(s script) (*interp.Runner, error) {
	env := &environ{p: sh.p}
	r, err := interp.New(
		func(r *interp.Runner) error { // interp.Dir would access the real file system
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
