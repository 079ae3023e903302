package sandbox

import (
	"slices"
	"strconv"
	"strings"
)

// wait implements wait with -n and -f.
func (r *runner) wait(args []string) {
	args = args[1:]
	next, name := false, ""
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-n":
			next = true
		case "-f", "--":
		case "-p":
			if len(args) > 1 {
				name = args[1]
				args = args[1:]
			}
		default:
			r.fail(2, "wait: %s: invalid option", args[0])
			return
		}
		args = args[1:]
	}
	defer r.reapCoprocs()
	switch {
	case next:
		r.waitNext(name)
	case len(args) == 0:
		for _, j := range r.jobs {
			if !r.await(j.done) {
				r.interrupted()
				return
			}
			j.waited = true
		}
		r.jobs = nil
	default:
		for _, arg := range args {
			j := r.job(arg)
			if j == nil {
				if !r.dash || !strings.HasPrefix(arg, "%") {
					if !r.dash {
						r.errorf("wait: pid %s is not a child of this shell", arg)
					}
				}
				r.status = 127
				continue
			}
			if !r.await(j.done) {
				r.interrupted()
				return
			}
			j.waited = true
			r.status = j.status
		}
	}
}

// interrupted sets the status of a wait that a trapped signal ended.
func (r *runner) interrupted() {
	r.pending.mu.Lock()
	if len(r.pending.all) > 0 {
		r.status = r.pending.all[0].status()
	}
	r.pending.mu.Unlock()
	select { // await took the notification
	case r.pending.notify <- struct{}{}:
	default:
	}
}

func (r *runner) waitNext(name string) {
	r.jobs = slices.DeleteFunc(r.jobs, func(j *job) bool { return j.waited })
	if len(r.jobs) == 0 {
		r.status = 127
		return
	}
	any := make(chan *job, len(r.jobs))
	for _, j := range r.jobs {
		if j.ended() {
			any <- j
			break
		}
	}
	if len(any) == 0 {
		stop := make(chan struct{})
		defer close(stop)
		for _, j := range r.jobs {
			r.p.Host.outlive(r.ctx, func() {
				select {
				case <-j.done:
					any <- j
				case <-stop:
				}
			})
		}
	}
	select {
	case j := <-any:
		j.waited = true
		r.status = j.status
		if name != "" {
			r.assign(name, itoa(j.pid))
		}
	case <-r.ctx.Done():
	case <-r.pending.notify:
		r.interrupted()
	}
}

// job returns the job that a process id or %n names.
func (r *runner) job(arg string) *job {
	if spec, ok := strings.CutPrefix(arg, "%"); ok {
		n, err := strconv.Atoi(spec)
		switch {
		case err == nil && n >= 1 && n <= len(r.jobs):
			return r.jobs[n-1]
		case (spec == "" || spec == "%" || spec == "+") && len(r.jobs) > 0:
			return r.jobs[len(r.jobs)-1]
		}
		return nil
	}
	for _, j := range slices.Backward(r.jobs) {
		if itoa(j.pid) == arg {
			return j
		}
	}
	return nil
}

// jobControl implements jobs, fg, bg and disown.
func (r *runner) jobControl(args []string) {
	switch args[0] {
	case "jobs":
		flags := strings.Join(args[1:], "")
		for i, j := range append(slices.Clone(r.inherited), r.jobs...) {
			switch {
			case j.waited:
			case strings.Contains(flags, "r") && j.ended(), strings.Contains(flags, "s"):
			case strings.Contains(flags, "p"):
				if !j.ended() {
					r.print(itoa(j.pid), "\n")
				}
			case j.ended() && j.status == 0:
				j.reported = true
				r.print("[", itoa(i+1), "]+  Done                    ", j.text, "\n")
			case j.ended():
				j.reported = true
				r.print("[", itoa(i+1), "]+  Exit ", itoa(j.status), "                  ", j.text, "\n")
			default:
				r.print("[", itoa(i+1), "]+  Running                 ", j.text, " &\n")
			}
		}
		r.jobs = slices.DeleteFunc(r.jobs, func(j *job) bool { return j.reported })
	case "disown":
	default:
		r.fail(1, "%s: no job control", args[0])
	}
}

// kill implements the kill builtin, which also takes jobs.
func (r *runner) kill(args []string) {
	args = slices.Clone(args)
	for i, arg := range args {
		if j := r.job(arg); strings.HasPrefix(arg, "%") && j != nil {
			args[i] = itoa(j.pid)
		}
	}
	if len(args) > 1 && args[1] == "-l" {
		if len(args) == 2 && !r.dash {
			r.print(signalList())
		}
		r.status = r.listSignals(args[2:])
		return
	}
	r.status = kill(r.ctx, r.goProcess(args))
}

func (r *runner) listSignals(args []string) int {
	for _, arg := range args {
		n, ok := number(arg)
		if sig, known := parseSignal(arg); known && sig != "" {
			if ok {
				r.print(string(sig), "\n")
			} else {
				r.print(itoa(sig.number()), "\n")
			}
			continue
		}
		if sig, known := parseSignal(itoa(n - 128)); ok && known && sig != "" {
			r.print(string(sig), "\n")
			continue
		}
		r.errorf("kill: %s: invalid signal specification", arg)
		return 1
	}
	return 0
}
