package sandbox

import (
	"context"
	"maps"
	"slices"
)

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
