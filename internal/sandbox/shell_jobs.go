package sandbox

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A job is a list running in the background.
type job struct {
	pid      int
	text     string
	done     chan struct{} // closed when status is set
	status   int
	waited   bool
	reported bool // as ended, by the jobs builtin
}

func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// jobContext returns the context of background jobs, which may outlive the shell
// but not the machine. A signal that kills the shell kills them.
func (r *runner) jobContext() context.Context {
	if r.jobsCtx == nil {
		ctx, stop := r.p.Host.detach(r.ctx)
		own := r.ctx
		context.AfterFunc(own, func() {
			if sig, ok := errors.AsType[signal](context.Cause(own)); ok {
				stop(sig)
			}
		})
		r.jobsCtx, r.jobsStop = ctx, stop
	}
	return r.jobsCtx
}

// background starts a statement as a job.
func (r *runner) background(st *syntax.Stmt) {
	c, end, ok := r.fork(r.jobContext())
	if !ok {
		return
	}
	foreground := *st
	foreground.Background = false
	if r.fds[0] != nil && !hasInput(st) { // a job does not read the script's input
		if null, err := r.p.FS.Open("/dev/null"); err == nil {
			c.fds.set(0, &stream{in: null, refs: 1, close: func() { _ = null.Close() }})
		}
	}
	j := &job{pid: c.p.PID, done: make(chan struct{}), text: textOf(&foreground)}
	c.noErr = 0
	_, c.tail = st.Cmd.(*syntax.CallExpr)
	if !r.opts.monitor {
		c.traps["INT"], c.traps["QUIT"] = "", ""
		c.installTraps()
	}
	parent := r.p.PID
	r.p.Host.outlive(c.ctx, func() {
		defer r.p.Host.table.ended(parent)
		defer close(j.done) // once the process is gone, as kill after wait can see
		defer end()
		j.status = c.run(func(c *runner) {
			if sub, ok := st.Cmd.(*syntax.Subshell); ok && len(st.Redirs) == 0 && !st.Negated {
				c.stmts(sub.Stmts) // the job is the subshell
				return
			}
			c.stmt(&foreground)
		})
	})
	r.addJob(j)
	r.lastJob = j.pid
	r.setStatus(0)
}

// maxJobs bounds the finished jobs that a shell remembers.
const maxJobs = 4096

func (r *runner) addJob(j *job) {
	if len(r.jobs) >= maxJobs {
		r.jobs = slices.DeleteFunc(r.jobs, func(j *job) bool { return j.ended() })
	}
	r.jobs = append(r.jobs, j)
}

func textOf(n syntax.Node) string {
	var b strings.Builder
	_ = syntax.NewPrinter(syntax.SingleLine(true)).Print(&b, n) // a parsed node can be printed
	return b.String()
}

func hasInput(st *syntax.Stmt) bool {
	return slices.ContainsFunc(st.Redirs, func(rd *syntax.Redirect) bool {
		switch rd.Op {
		case syntax.RdrIn, syntax.DplIn, syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc, syntax.RdrInOut:
			return rd.N == nil || rd.N.Value == "0"
		}
		return false
	})
}

// await waits for a job, the end of the shell or a trapped signal, for which it
// returns false.
func (r *runner) await(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-r.ctx.Done():
		return false
	case <-r.pending.notify:
		return false
	}
}

// processSubstitution starts the commands of <( ) or >( ) and returns the path to
// read from or write to.
func (r *runner) processSubstitution(ps *syntax.ProcSubst) string {
	read, write := newPipe()
	mine, theirs, fd := read, write, 1
	if ps.Op == syntax.CmdOut {
		mine, theirs, fd = write, read, 0
	}
	c, end, ok := r.fork(r.ctx)
	if !ok {
		read.release()
		write.release()
		return ""
	}
	c.fds.set(fd, theirs)
	done := make(chan struct{})
	j := &job{pid: c.p.PID, done: done}
	r.p.Host.outlive(c.ctx, func() {
		defer close(done)
		defer end()
		j.status = c.run(func(c *runner) {
			c.noErr = 0
			c.stmts(ps.Stmts)
		})
	})
	r.addJob(j)
	r.lastJob = j.pid
	r.children = append(slices.DeleteFunc(r.children, func(d chan struct{}) bool { return closed(d) }), done)
	r.substitutions = append(r.substitutions, mine)
	return r.addNode(mine)
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closeSubstitutions closes the shell's ends of the process substitutions made
// since there were mark.
func (r *runner) closeSubstitutions(mark int) {
	for _, s := range r.substitutions[min(mark, len(r.substitutions)):] {
		r.removeNode(s.path)
		s.release()
	}
	r.substitutions = r.substitutions[:min(mark, len(r.substitutions))]
}

// addNode creates a path for a stream and returns it.
func (r *runner) addNode(s *stream) string {
	disk := asRoot(r.p.FS)
	for fd := 63; ; fd++ {
		name := "/dev/fd/" + itoa(fd)
		err := disk.Mknode(name, 0o600, s)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			r.fail(1, "%s: %s", name, errText(err))
			return ""
		}
		_ = disk.Chown(name, r.p.UID, r.p.GID)
		s.path = name
		r.mu.Lock()
		r.nodes = append(r.nodes, name)
		r.mu.Unlock()
		return name
	}
}

func (r *runner) removeNode(name string) {
	_ = asRoot(r.p.FS).Remove(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes = slices.DeleteFunc(r.nodes, func(n string) bool { return n == name })
}

func (r *runner) removeNodes() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.nodes {
		_ = asRoot(r.p.FS).Remove(name)
	}
}

// coprocess is a running coproc and the name of its array.
type coprocess struct {
	name string
	*job
}

// reapCoprocs closes the descriptors of coprocesses that have ended.
func (r *runner) reapCoprocs() {
	r.coprocs = slices.DeleteFunc(r.coprocs, func(c coprocess) bool {
		if !c.waited {
			return false
		}
		for _, fd := range r.lookup(c.name).values() {
			if n, ok := number(fd); ok {
				r.fds.set(n, nil)
			}
		}
		r.unset(c.name)
		r.unset(c.name + "_PID")
		return true
	})
}

// coproc starts a command that the shell talks to through the descriptors in an
// array.
func (r *runner) coproc(cm *syntax.CoprocClause) {
	name := "COPROC"
	if cm.Name != nil {
		name = r.text(cm.Name)
	}
	theirIn, in := newPipe()
	out, theirOut := newPipe()
	c, end, ok := r.fork(r.jobContext())
	if !ok {
		for _, s := range []*stream{theirIn, in, out, theirOut} {
			s.release()
		}
		return
	}
	c.fds.set(0, theirIn)
	c.fds.set(1, theirOut)
	j := &job{pid: c.p.PID, done: make(chan struct{}), text: textOf(cm)}
	r.p.Host.outlive(c.ctx, func() {
		defer close(j.done)
		defer end()
		j.status = c.run(func(c *runner) { c.stmt(cm.Stmt) })
	})
	r.coprocs = append(r.coprocs, coprocess{name, j})
	reading := r.fds.free(60)
	r.fds.set(reading, out)
	writing := r.fds.free(60)
	r.fds.set(writing, in)
	r.unset(name)
	r.assignElement(name, "0", itoa(reading))
	r.assignElement(name, "1", itoa(writing))
	r.assign(name+"_PID", itoa(j.pid))
	r.addJob(j)
	r.lastJob = j.pid
	r.setStatus(0)
}
