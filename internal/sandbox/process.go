package sandbox

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Command is a program of the machine, as a func. It returns the exit
// status. It must return soon after ctx ends, which is how it is killed.
type Command func(ctx context.Context, p *Process) int

// A Process is one run of a command. A Command may use everything in it until
// it returns; its streams are not closed by the command.
type Process struct {
	PID    int
	Args   []string          // Args[0] is the name it was called by
	Env    map[string]string // the exported variables; the process's own copy
	Dir    string            // the working directory
	UID    int
	GID    int
	User   string
	Umask  fs.FileMode // what the mode of new files loses
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	FS     *memfs.FS // the disk, as User may use it; paths must be absolute: see Path
	Host   *Host

	parent int
	tty    bool // the streams are a terminal
	dash   bool // the shell that runs it knows nothing of bash
	line   uint // where in its script a shell called it
	by     string
	boot   *boot // which it runs in
}

// Path makes a path absolute from the working directory. An empty path stays
// empty, which no file has.
func (p *Process) Path(name string) string {
	switch {
	case name == "":
		return ""
	case path.IsAbs(name):
		return name
	case p.Dir == "/":
		return "/" + name
	default:
		return p.Dir + "/" + name
	}
}

// Run runs another command of the machine for p: with its environment,
// directory, user and streams. It returns the exit status, 127 with a message
// on Stderr when there is no such command.
func (p *Process) Run(ctx context.Context, args ...string) int {
	if len(args) == 0 {
		return 0
	}
	if bootOf(ctx) == nil { // a context of the command's own making
		ctx = context.WithValue(ctx, bootKey{}, p.boot)
	}
	return p.child(args).exec(ctx)
}

// child returns a process like p for another command.
func (p *Process) child(args []string) *Process {
	c := *p
	c.Args, c.Env, c.parent, c.line, c.by = args, maps.Clone(p.Env), p.PID, 0, p.name()
	return &c
}

// as makes p a process of u, and leaves its environment as it is.
func (p *Process) as(u user) {
	p.UID, p.GID, p.User = u.uid, u.gid, u.name
	p.FS = p.Host.FS().As(u.cred(p.FS), p.Umask)
}

// setUmask changes what new files of p lose.
func (p *Process) setUmask(umask fs.FileMode) {
	p.Umask = umask
	p.FS = p.Host.FS().As(p.FS.Cred(), umask)
}

// name is what the command was called by, without its directory.
func (p *Process) name() string {
	if len(p.Args) == 0 {
		return ""
	}
	return path.Base(p.Args[0])
}

// fail says what is wrong as the command itself, and returns status.
func (p *Process) fail(status int, format string, args ...any) int {
	_, _ = fmt.Fprintf(p.Stderr, p.name()+": "+format+"\n", args...)
	return status
}

// print writes to the standard output; false when nobody reads it any more.
func (p *Process) print(text ...string) bool {
	for _, s := range text {
		if _, err := io.WriteString(p.Stdout, s); err != nil {
			return false
		}
	}
	return true
}

// exec finds and runs the command of p, and says on its Stderr when it cannot.
func (p *Process) exec(ctx context.Context) int {
	run, problem := p.find()
	if problem != nil {
		p.reportStartError(problem)
		return problem.status
	}
	return p.start(ctx, run)
}

// start runs p as an entry of the process table.
func (p *Process) start(ctx context.Context, run Command) int {
	if ctx.Err() != nil {
		return killed
	}
	p.boot = bootOf(ctx)
	ctx, end := p.Host.table.add(ctx, p)
	defer end()
	status := run(ctx, p)
	if sig, was := signalOf(ctx); was {
		return sig.status()
	}
	return status & 0xff
}

// say reports a command that cannot be run in the words of who called it.
func (p *Process) reportStartError(problem *startError) {
	switch {
	case p.by == "sh" && p.line > 0:
		_, _ = fmt.Fprintf(p.Stderr, "sh: %d: %s: %s\n", p.line, p.Args[0], problem.reason)
	case p.line > 0:
		reason := problem.reason
		if reason == notFound {
			reason = "command not found"
		}
		_, _ = fmt.Fprintf(p.Stderr, "%s: line %d: %s: %s\n", p.by, p.line, p.Args[0], reason)
	default:
		reason := problem.reason
		if reason == notFound {
			reason = "No such file or directory"
		}
		_, _ = fmt.Fprintf(p.Stderr, "%s: %s: %s\n", p.by, quote(p.Args[0]), reason)
	}
}
