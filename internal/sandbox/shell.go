package sandbox

import (
	"context"
	"errors"
	"io"
	"maps"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
	"mvdan.cc/sh/v3/syntax"
)

// A shell is a process that runs a script. It keeps what its subshells share.
type shell struct {
	name       string // in messages: $0, or how the shell was called
	dash       bool
	fromString bool // the script is the argument of -c
	stdin      bool // the script is the standard input
	pid, ppid  int

	mu       sync.Mutex // guards the fields below
	patterns map[string]*regexp.Regexp
	nodes    []string // paths of process substitutions
}

// A runner executes the commands of a shell or of one of its subshells, which
// have a copy of its state.
type runner struct {
	*shell
	ctx     context.Context //nolint:containedctx // it is the life of the process
	p       *Process
	fds     fdTable
	vars    *scope
	token   *token
	funcs   map[string]*function
	held    int64 // bytes counted by the machine's meter
	level   int   // of subshells
	depth   int   // of functions, sourced files and eval
	nesting int   // of commands within each other

	arg0   string
	params []string
	opts   shellOptions
	shopts map[string]bool
	alias  map[string]string
	traps  map[string]string
	dirs   []string // of pushd
	optPos int      // of getopts, within a word
	seed   uint32   // of RANDOM; 0 is random

	status       int
	statusBefore int // of the command before a builtin
	pipeStatus   []int
	lastSubst    int // status of the last command substitution, or -1
	line         uint
	node         syntax.Node // of BASH_COMMAND
	stack        []frame
	started      time.Time

	flow      flow
	levels    int // of break and continue
	loops     int // enclosing
	noErr     int // contexts in which failures do not end the shell
	inTrap    bool
	trapStack int // the length of stack in a trap
	jobs      []*job
	inherited []*job // of the parent, which only the jobs builtin shows
	lastJob   int
	pending   *signals

	substitutions []*stream // ends of pipes to close after the command
	children      []chan struct{}
	tail          bool // the next command is the last of a job: a program takes its place
	keepFDs       bool // exec keeps its redirections
	jobsCtx       context.Context
	jobsStop      func(error)
}

// flow is how control leaves a list.
type flow int

const (
	flowNext flow = iota
	flowBreak
	flowContinue
	flowReturn
	flowDiscard // an error ends the current line of input
	flowExit
)

// A function of a shell.
type function struct {
	name     string
	body     *syntax.Stmt
	file     string // where it is defined
	exported bool
}

func (f *function) text() string {
	var b strings.Builder
	_ = syntax.NewPrinter(syntax.Indent(4)).Print(&b, f.body) // a parsed node can be printed
	return b.String()
}

// script describes a script for a shell.
type script struct {
	name    string // $0
	params  []string
	options []string // arguments for set
	shopts  []string
	text    io.Reader // read statement by statement if stdin is set
	stdin   bool      // text is also the standard input
	command bool      // text is the argument of -c
	login   bool      // it is a login shell
}

// runShell runs a script as p, with its streams and working directory. It does so
// in a goroutine, so that scripts that run scripts do not need a deep stack.
func (p *Process) runShell(ctx context.Context, name string, s script) int {
	status := make(chan int)
	go func() {
		code := segmentationFault
		defer func() { status <- code }()
		defer p.recoverPanic()
		code = p.newShell(ctx, name, s)
	}()
	return <-status
}

// segmentationFault is the status of a process that crashed.
const segmentationFault = 139

// recoverPanic turns a bug of the shell into a crash of the simulated process.
func (p *Process) recoverPanic() {
	if problem := recover(); problem != nil {
		p.Host.log("test machine: internal error: %v\n%s", problem, debug.Stack())
		fprintf(p.Stderr, "Segmentation fault (an internal error of this machine, see its console)\n")
	}
}

func (p *Process) newShell(ctx context.Context, name string, s script) int {
	c := *p
	r := &runner{
		shell: &shell{
			name: s.name, dash: name == "sh" && p.Host.o.Facts.dash(), pid: p.PID, ppid: p.parent,
			fromString: s.command, stdin: s.stdin, patterns: map[string]*regexp.Regexp{},
		},
		ctx: ctx, p: &c, token: new(token), vars: &scope{vars: map[string]*variable{}}, funcs: map[string]*function{},
		arg0: s.name, params: s.params, shopts: maps.Clone(defaultShopts()), alias: map[string]string{}, traps: map[string]string{},
		lastSubst: -1, started: p.Host.o.Clock.Now(), pending: newSignals(),
		stack: []frame{{function: "main", file: s.name}},
	}
	r.fds = p.fds.clone()
	if r.fds == nil {
		r.fds = fdTable{}
	}
	r.fds[0] = &stream{in: p.Stdin, refs: 1, tty: p.tty}
	r.fds[1] = &stream{out: unwrap(p.Stdout), refs: 1, tty: p.tty}
	r.fds[2] = &stream{out: unwrap(p.Stderr), refs: 1, tty: p.tty}
	r.initialize()
	defer r.finish()
	if status := r.setOptions(s.options); status != 0 {
		return status
	}
	for _, name := range s.shopts {
		r.shopts[name] = true
	}
	if s.login {
		r.readProfile()
	} else if file, ok := p.Env["BASH_ENV"]; ok && !r.dash && !s.stdin {
		r.readStartup(file)
	}
	if s.stdin {
		r.runInput(oneByte{p.Stdin}, s.name)
	} else {
		r.runInput(s.text, s.name)
	}
	r.end()
	return r.status
}

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

// end runs the EXIT trap of a shell or subshell.
func (r *runner) end() {
	if sig, ok := signalOf(r.ctx); ok {
		r.status = sig.status()
		return
	}
	if text := r.traps["EXIT"]; text != "" {
		delete(r.traps, "EXIT")
		r.flow = flowNext
		status := r.status
		r.evalTrap(text)
		if r.flow != flowExit {
			r.status = status
		}
	}
}

// finish releases what a shell or subshell holds and waits for the commands of
// process substitutions, which would otherwise write after the shell's end.
func (r *runner) finish() {
	r.fds.closeAll()
	r.closeSubstitutions(0)
	for _, done := range r.children {
		select {
		case <-done:
		case <-r.ctx.Done():
		}
	}
	r.drop(r.held)
	if r.level == 0 {
		r.removeNodes()
	}
}

// runInput parses and runs a script, line by line as a shell reads it. A script
// given by -c runs the lines before a syntax error, too.
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

func (r *runner) syntaxError(name string, err error) {
	if pe, ok := errors.AsType[syntax.ParseError](err); ok {
		if r.dash {
			r.errf("%s: %d: Syntax error: %s\n", r.name, pe.Pos.Line(), pe.Text)
		} else {
			r.errf("%s: line %d: syntax error: %s\n", name, pe.Pos.Line(), pe.Text)
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
	if r.node == nil {
		return ""
	}
	var b strings.Builder
	_ = syntax.NewPrinter(syntax.SingleLine(true), syntax.SpaceRedirects(true)).Print(&b, r.node) // a parsed node can be printed
	return b.String()
}

// step is called before every command. It handles signals and returns false if
// the shell must stop.
func (r *runner) step() bool {
	if r.flow != flowNext {
		return false
	}
	if !r.p.session.step(1) {
		r.p.kill(signal("XCPU"))
	}
	if sig, ok := signalOf(r.ctx); ok {
		r.exit(sig.status())
		return false
	}
	r.runPending()
	return r.flow == flowNext
}

// fork returns a runner for a subshell, which is a process of its own. It reports
// false if there are too many processes or too little memory.
func (r *runner) fork(ctx context.Context) (*runner, func(), bool) {
	p := *r.p
	p.parent = r.p.PID
	ctx, end, ok := p.Host.table.add(ctx, &p)
	if !ok {
		r.forkError()
		return nil, nil, false
	}
	c := *r
	c.ctx, c.p = ctx, &p
	if c.held = 0; !c.hold(r.held) {
		end()
		r.outOfMemory()
		return nil, nil, false
	}
	r.token, c.token = new(token), new(token)
	c.fds, c.vars, c.funcs = r.fds.clone(), r.vars.clone(), maps.Clone(r.funcs)
	c.shopts, c.alias = maps.Clone(r.shopts), maps.Clone(r.alias)
	c.stack, c.dirs, c.pipeStatus = slices.Clone(r.stack), slices.Clone(r.dirs), slices.Clone(r.pipeStatus)
	c.level++
	c.inherited = append(slices.Clone(r.inherited), r.jobs...)
	c.jobs, c.jobsCtx, c.jobsStop, c.substitutions, c.children = nil, nil, nil, nil, nil
	c.pending = newSignals()
	c.traps = map[string]string{}
	for name, text := range r.traps {
		if text == "" || name == "ERR" && r.opts.errtrace || (name == "DEBUG" || name == "RETURN") && r.opts.functrace {
			c.traps[name] = text // ignored signals stay ignored
		}
	}
	c.installTraps()
	c.loops = 0
	return &c, func() {
		c.finish()
		end()
	}, true
}

func (r *runner) forkError() {
	if r.dash {
		r.errorf("Cannot fork")
		r.exit(2)
		return
	}
	fprintf(r.stderr(), "%s: fork: retry: Resource temporarily unavailable\n", r.name)
	r.exit(forkFailed)
}

// subshell runs do in a subshell and returns its status.
func (r *runner) subshell(do func(c *runner)) int {
	c, end, ok := r.fork(r.ctx)
	if !ok {
		return r.status
	}
	defer end()
	return c.run(do)
}

// run runs do and the EXIT trap.
func (r *runner) run(do func(c *runner)) (status int) {
	status = segmentationFault
	defer r.p.recoverPanic()
	do(r)
	r.end()
	if sig, ok := signalOf(r.ctx); ok {
		return sig.status()
	}
	return r.status
}
