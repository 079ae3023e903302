package sandbox

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// A Command implements a program of the machine. It returns the exit status. It
// must return soon after ctx ends, which signals that the process was killed.
type Command func(ctx context.Context, p *Process) int

// A Process is a running command. A Command may use it until it returns and must
// not close its streams.
type Process struct {
	PID    int
	Args   []string          // Args[0] is the command name as called
	Env    map[string]string // the exported variables; not shared with other processes
	Dir    string            // the working directory
	UID    int
	GID    int
	User   string
	Umask  fs.FileMode // bits cleared in the modes of new files
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	FS     *memfs.FS // the disk, with User's permissions; it takes absolute paths, see Path
	Host   *Host

	parent  int
	sid     int     // the session, by its first process
	tty     bool    // the streams are a terminal
	dash    bool    // started by dash
	line    uint    // the line of the shell script that started it
	by      string  // the name of the program that started it
	boot    *boot   // the boot it runs in
	fds     fdTable // the inherited descriptors above 2
	session *usage
	limits  map[string]string // of ulimit; not changed once set
	held    int64             // memory
	file    string            // where Args[0] was found in $PATH
	kill    context.CancelCauseFunc
}

// Path returns name as an absolute path, relative names being resolved against
// the working directory. An empty name stays empty and is not found by FS.
func (p *Process) Path(name string) string {
	if rest, ok := strings.CutPrefix(name, "/proc/self/"); ok && !strings.HasPrefix(rest, "fd/") {
		return "/proc/" + itoa(p.PID) + "/" + rest
	}
	return absPath(p.Dir, name)
}

func absPath(dir, name string) string {
	if name == "" || path.IsAbs(name) {
		return name
	}
	return entryPath(dir, name)
}

// entryPath returns the path of the entry name in dir. Unlike path.Join, it does
// not clean the result.
func entryPath(dir, name string) string { return strings.TrimRight(dir, "/") + "/" + name }

// Run runs another command with p's environment, directory, user and streams. It
// returns the exit status, which is 127 with a message on Stderr if the command
// does not exist.
func (p *Process) Run(ctx context.Context, args ...string) int {
	if len(args) == 0 {
		return 0
	}
	if bootOf(ctx) == nil { // not derived from the Command's context
		ctx = context.WithValue(ctx, bootKey{}, p.boot)
	}
	return p.child(args).exec(ctx)
}

// child returns a copy of p for another command.
func (p *Process) child(args []string) *Process {
	c := *p
	c.held = 0
	c.Args, c.Env, c.parent, c.line, c.by = args, maps.Clone(p.Env), p.PID, 0, p.name()
	return &c
}

// as makes p a process of u. It does not change the environment.
func (p *Process) as(u user) {
	p.UID, p.GID, p.User = u.uid, u.gid, u.name
	p.FS = p.FS.As(u.cred(p.FS), p.Umask)
}

// setUmask sets the umask of p.
func (p *Process) setUmask(umask fs.FileMode) {
	p.Umask = umask
	p.FS = p.FS.As(p.FS.Cred(), umask)
}

// name returns the base name of the command.
func (p *Process) name() string {
	if len(p.Args) == 0 {
		return ""
	}
	return path.Base(p.Args[0])
}

// fail prints an error message of the command and returns status.
func (p *Process) fail(status int, format string, args ...any) int {
	fprintf(p.Stderr, p.name()+": "+format+"\n", args...)
	return status
}

// tryHelp is fail for wrong usage of a GNU tool.
func (p *Process) tryHelp(format string, args ...any) int {
	p.fail(1, format, args...)
	fprintf(p.Stderr, "Try '%s --help' for more information.\n", p.name())
	return 1
}

// quote quotes a value like those messages of GNU tools whose quotes depend on the
// locale; most file names have the plain ones of the func quote.
func (p *Process) quote(s string) string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToUpper(p.Env[name]); locale != "" {
			if strings.HasSuffix(locale, "UTF-8") || strings.HasSuffix(locale, "UTF8") {
				return "‘" + s + "’"
			}
			break
		}
	}
	return quote(s)
}

// print writes to the standard output and reports whether that succeeded.
func (p *Process) print(text ...string) bool {
	for _, s := range text {
		if _, err := io.WriteString(p.Stdout, s); err != nil {
			return false
		}
	}
	return true
}

// exec finds and runs the command of p. If it cannot be started, exec prints the
// reason on Stderr.
func (p *Process) exec(ctx context.Context) int {
	run, problem := p.find()
	if problem != nil {
		p.reportStartError(problem)
		if problem.status == notFoundStatus {
			p.Host.reportMissing(ctx, p.name())
		}
		p.ran(p.Args, p.Host.o.Clock.Now(), problem.status)
		return problem.status
	}
	return p.start(ctx, run)
}

// ran reports to OnCommand.
func (p *Process) ran(args []string, start time.Time, status int) {
	if p.Host.o.OnCommand != nil {
		p.Host.o.OnCommand(CommandRun{Args: args, User: p.User, Dir: p.Dir, Status: status, Start: start})
	}
}

// start runs p as an entry in the process table.
func (p *Process) start(ctx context.Context, run Command) int {
	if ctx.Err() != nil {
		return killed
	}
	p.boot = bootOf(ctx)
	ctx, end, ok := p.Host.table.add(ctx, p)
	if !ok {
		return p.forkError()
	}
	defer end()
	if !p.session.step(1) {
		p.kill(signal("XCPU"))
	}
	p.Stdin = readerUntil(p.Stdin, ctx.Done())
	p.Stdout, p.Stderr = newOutput(ctx, p.Stdout, p.session, p.kill), newOutput(ctx, p.Stderr, p.session, p.kill)
	args, from := p.Args, p.Host.o.Clock.Now()
	status := run(ctx, p) & maxStatus
	p.Host.memory.give(p.held)
	if sig, ok := signalOf(ctx); ok {
		status = sig.status()
	}
	p.ran(args, from, status)
	return status
}

const maxStatus = 0xff

// forkError reports that the machine has too many processes.
func (p *Process) forkError() int {
	if p.dash {
		fprintf(p.Stderr, "%s: %d: Cannot fork\n", p.by, p.line)
	} else {
		fprintf(p.Stderr, "%s: fork: retry: Resource temporarily unavailable\n", p.by)
	}
	return forkFailed
}

// forkFailed is the status of a shell that cannot fork.
const forkFailed = 254

// reportStartError prints why the command cannot be started, in the format of
// the program that called it.
func (p *Process) reportStartError(problem *startError) {
	reason := problem.reason
	switch {
	case p.dash && p.line > 0:
		fprintf(p.Stderr, "%s: %d: %s: %s\n", p.by, p.line, p.Args[0], reason)
	case p.line > 0:
		if reason == notFound {
			reason = "command not found"
			if strings.Contains(p.Args[0], "/") {
				reason = errText(fs.ErrNotExist)
			}
		}
		fprintf(p.Stderr, "%s: line %d: %s: %s\n", p.by, p.line, p.Args[0], reason)
	default:
		if reason == notFound {
			reason = "No such file or directory"
		}
		fprintf(p.Stderr, "%s: %s: %s\n", p.by, quote(p.Args[0]), reason)
	}
}

func fprintf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// shut closes c and ignores the error.
func shut(c io.Closer) { _ = c.Close() }

func itoa(n int) string { return strconv.Itoa(n) }
