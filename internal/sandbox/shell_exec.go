package sandbox

import (
	"context"
	"io"
	"os"
	"strconv"

	"mvdan.cc/sh/v3/interp"
)

// exec runs a command that is neither a function nor a builtin of the
// interpreter.
func (sh *shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	status := 0
	if args[0] == internal {
		status = sh.internal(ctx, hc, args[1:])
	} else {
		jobCtx, stop := sh.jobContext(ctx, hc)
		status = sh.process(jobCtx, hc, args).exec(jobCtx)
		stop()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if status != 0 {
		return interp.ExitStatus(uint8(status)) //nolint:gosec // an exit status has eight bits
	}
	return nil
}

// process returns a child process with the current state of the calling
// subshell.
func (sh *shell) process(ctx context.Context, hc interp.HandlerContext, args []string) *Process {
	p := sh.p.child(args)
	p.Env = exported(hc.Env)
	p.Dir = hc.Dir
	p.Stdin = sh.stdin(ctx, hc)
	p.Stdout, p.Stderr = pipeOutput(ctx, hc.Stdout), pipeOutput(ctx, hc.Stderr)
	p.line, p.by, p.dash = hc.Pos.Line(), sh.name, sh.dash
	if umask := sh.umask(hc); umask != p.Umask {
		p.setUmask(umask)
	}
	return p
}

// stdin returns the standard input of a command: a pipe, a file or that of the
// shell.
func (sh *shell) stdin(ctx context.Context, hc interp.HandlerContext) io.Reader {
	switch in := hc.Stdin.(type) {
	case nil:
		return sh.p.Stdin
	case *os.File:
		return &pipeReader{in, ctx.Done()}
	default:
		return in
	}
}

// jobContext returns a context that ends with ctx or with the background job the
// caller is part of.
func (sh *shell) jobContext(ctx context.Context, hc interp.HandlerContext) (context.Context, func()) {
	j := sh.jobOf(hc)
	if j == nil {
		return ctx, func() {}
	}
	joined, cancel := context.WithCancelCause(ctx)
	jobCtx := j.ctx()
	stop := context.AfterFunc(jobCtx, func() { cancel(context.Cause(jobCtx)) })
	return joined, func() {
		stop()
		cancel(nil)
	}
}

func (sh *shell) jobOf(hc interp.HandlerContext) *job {
	pid, err := strconv.Atoi(hc.Env.Get(hiddenJob).String())
	if err != nil {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.jobs[pid]
}

// newJob registers a background job and returns its process id.
func (sh *shell) newJob(ctx context.Context) int {
	pid := sh.p.Host.table.reservePID()
	ctx, leave := sh.p.Host.table.addJob(ctx, pid, sh.p)
	done := make(chan struct{})
	j := &job{done: done, ctx: func() context.Context { return ctx }}
	context.AfterFunc(ctx, func() { close(done) })
	j.end = leave
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.jobs[pid] = j
	return pid
}

func (sh *shell) job(pid string) *job {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.jobs[n]
}

func (sh *shell) allJobs() []*job {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	all := make([]*job, 0, len(sh.jobs))
	for _, j := range sh.jobs {
		all = append(all, j)
	}
	return all
}

func (sh *shell) endJobs() {
	for _, j := range sh.allJobs() {
		j.end()
	}
}

func (sh *shell) waitJobs() {
	for _, j := range sh.allJobs() {
		<-j.done
	}
}
