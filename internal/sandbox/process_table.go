package sandbox

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A signal kills a process, unless a shell traps it.
type signal string

const killed = 137

func (s signal) Error() string { return "killed by signal " + string(s) }

// signalNames are those from 1 on.
const signalNames = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"

func (s signal) number() int {
	return slices.Index(strings.Fields(signalNames), string(s)) + 1
}

func (s signal) status() int { return 128 + s.number() }

// signalList returns the output of kill -l in bash.
func signalList() string {
	names := strings.Fields(signalNames)
	for n := range 31 { // the real-time ones
		names = append(names, map[bool]string{true: "RTMIN+" + itoa(n), false: "RTMAX-" + itoa(30-n)}[n < 16])
	}
	var b strings.Builder
	for i, name := range names {
		n := i + 1
		if n > 31 {
			n += 2
		}
		fprintf(&b, "%2d) SIG%s%s", n, strings.TrimSuffix(strings.TrimSuffix(name, "+0"), "-0"), map[bool]string{true: "\n", false: "\t"}[(i+1)%5 == 0])
	}
	return b.String() + "\n"
}

// parseSignal parses "TERM", "SIGTERM" or "15". For "0", which only tests whether
// a process exists, it returns an empty signal.
func parseSignal(s string) (signal, bool) {
	s = strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if s == "0" {
		return "", true
	}
	for i, name := range strings.Fields(signalNames) {
		if s == name || s == strconv.Itoa(i+1) {
			return signal(name), true
		}
	}
	return "", false
}

// signalOf returns the signal that ended ctx, if it has ended.
func signalOf(ctx context.Context) (signal, bool) {
	if ctx.Err() == nil {
		return "", false
	}
	if sig, ok := errors.AsType[signal](context.Cause(ctx)); ok {
		return sig, true
	}
	return "KILL", true
}

// table is the process table of a host.
type table struct {
	mu    sync.Mutex
	last  int
	all   map[int]*entry
	limit int
}

type entry struct {
	pid, parent, uid int
	user             string
	args             []string
	kill             context.CancelCauseFunc
	trap             func(signal) bool // reports whether it handled the signal; may be nil
}

const firstPID = 1000

func newTable(limit int) *table { return &table{last: firstPID, all: map[int]*entry{}, limit: limit} }

// add assigns p a process id and adds it to the table. Signals to the process
// end the returned context; the returned func removes the entry. It reports false
// if there are too many processes.
func (t *table) add(ctx context.Context, p *Process) (context.Context, func(), bool) {
	ctx, remove, ok := t.insert(ctx, p)
	if !ok {
		return nil, nil, false
	}
	if p.sid == 0 {
		p.sid = p.PID
	}
	p.publish()
	return ctx, func() {
		p.unpublish()
		remove()
	}, true
}

func (t *table) insert(ctx context.Context, p *Process) (context.Context, func(), bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= t.limit || p.session.exhausted.Load() {
		// A fork bomb dies out only if none of its processes can start another.
		if !p.session.exhausted.Swap(true) {
			p.session.report("the limit of " + itoa(t.limit) + " processes")
		}
		return nil, nil, false
	}
	t.last++
	p.PID = t.last
	ctx, kill := context.WithCancelCause(ctx)
	p.kill = kill
	e := &entry{pid: p.PID, parent: p.parent, uid: p.UID, user: p.User, args: p.Args, kill: kill}
	t.all[e.pid] = e
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, e.pid)
		kill(nil)
	}, true
}

// rename records that a process runs another program.
func (t *table) rename(p *Process) {
	t.mu.Lock()
	if e := t.all[p.PID]; e != nil {
		e.args = p.Args
	}
	t.mu.Unlock()
	p.unpublish()
	p.publish()
}

// setTrap sets the func that handles signals to a process instead of killing it.
func (t *table) setTrap(pid int, trap func(signal) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.all[pid]; e != nil {
		e.trap = trap
	}
}

// signal sends sig to a process as the user uid, who must own it or be root.
func (t *table) signal(pid int, sig signal, uid int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.all[pid]
	switch {
	case !ok:
		return syscall.ESRCH
	case uid != 0 && uid != e.uid:
		return syscall.EPERM
	case sig == "", sig != "KILL" && e.trap != nil && e.trap(sig), sig == "CHLD", sig == "CONT", sig == "WINCH", sig == "URG":
	default:
		e.kill(sig)
	}
	return nil
}

// ended tells a process that a child has ended, if it traps that.
func (t *table) ended(parent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.all[parent]; e != nil && e.trap != nil {
		e.trap("CHLD")
	}
}

func (t *table) list() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.all), func(a, b *entry) int { return a.pid - b.pid })
}
