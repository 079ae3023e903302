package sandbox

import (
	"context"
	"io"
	"maps"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// A shell is a process that runs a script. It keeps what its subshells share.
type shell struct {
	name        string // in messages: $0, or how the shell was called
	dash        bool
	fromString  bool   // the script is the argument of -c
	commandText string // of -c
	stdin       bool   // the script is the standard input
	pid, ppid   int

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
	traced  int   // how often set -x repeats the first character of its prompt
	depth   int   // of functions, sourced files and eval
	nesting int   // of commands within each other

	arg0      string
	params    []string
	paramsSet bool   // by set, since a file was sourced
	lastArg   string // $_
	hashes    map[string]*hashed
	opts      shellOptions
	shopts    map[string]bool
	alias     map[string]string
	traps     map[string]string
	shown     map[string]string // the parent's traps, which a subshell lists until it sets one
	dirs      []string          // of pushd
	optPos    int               // of getopts, within a word
	seed      uint32            // of RANDOM; 0 is random

	status       int
	statusBefore int // of the command before a builtin
	pipeStatus   []int
	lastSubst    int // status of the last command substitution, or -1
	line         uint
	lineBase     uint        // added to the lines of what eval parsed
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
	coprocs   []coprocess
	pending   *signals

	substitutions []*stream // ends of pipes to close after the command
	children      []chan struct{}
	tail          bool            // the next command is the last of a job: a program takes its place
	keepFDs       bool            // exec keeps its redirections
	jobsCtx       context.Context //nolint:containedctx // it is the life of the background jobs
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
	lineBase uint
	exported bool
}

func (f *function) text() string {
	var b strings.Builder
	_ = syntax.NewPrinter(syntax.Indent(4)).Print(&b, f.body) // a parsed node can be printed
	return b.String()
}

// script describes a script for a shell.
type script struct {
	name        string // $0
	params      []string
	options     []string // arguments for set
	shopts      []string
	text        io.Reader // read statement by statement if stdin is set
	stdin       bool      // text is also the standard input
	command     bool      // text is the argument of -c
	commandText string
	login       bool // it is a login shell
}

// runShell runs a script as p, with its streams and working directory. It uses a
// new goroutine, so that scripts that run scripts do not need a deep stack.
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
			fromString: s.command, commandText: s.commandText, stdin: s.stdin, patterns: map[string]*regexp.Regexp{},
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
		r.readProfile() //nolint:contextcheck // background jobs end with the machine
	} else if file, ok := p.Env["BASH_ENV"]; ok && !r.dash && !s.stdin {
		r.readStartup(file) //nolint:contextcheck // background jobs end with the machine
	}
	if s.stdin {
		r.runInput(oneByte{p.Stdin}, s.name) //nolint:contextcheck // background jobs end with the machine
	} else {
		r.runInput(s.text, s.name) //nolint:contextcheck // background jobs end with the machine
	}
	r.end() //nolint:contextcheck // background jobs end with the machine
	return r.status
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
		r.traced-- // as in bash, unlike other traps
		r.evalTrap(text)
		r.traced++
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

// fork returns a runner for a subshell, which is a new process. It reports false if
// there are too many processes or too little memory.
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
	c.hashes = maps.Clone(r.hashes)
	c.shopts, c.alias = maps.Clone(r.shopts), maps.Clone(r.alias)
	c.stack, c.dirs, c.pipeStatus = slices.Clone(r.stack), slices.Clone(r.dirs), slices.Clone(r.pipeStatus)
	c.level++
	c.inherited = append(slices.Clone(r.inherited), r.jobs...)
	c.jobs, c.jobsCtx, c.jobsStop, c.substitutions, c.children, c.coprocs = nil, nil, nil, nil, nil, nil
	c.pending = newSignals()
	c.shown = r.traps
	if len(r.traps) == 0 {
		c.shown = r.shown
	}
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
