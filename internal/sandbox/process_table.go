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

func (s signal) number() int {
	switch s {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ABRT":
		return 6
	case "SEGV":
		return 11
	case "XCPU":
		return 24
	case "XFSZ":
		return 25
	case "CHLD":
		return 17
	case "CONT":
		return 18
	case "STOP":
		return 19
	case "TSTP":
		return 20
	case "WINCH":
		return 28
	case "USR1":
		return 10
	case "USR2":
		return 12
	case "PIPE":
		return 13
	case "ALRM":
		return 14
	case "TERM":
		return 15
	default:
		return 9
	}
}

func (s signal) status() int { return 128 + s.number() }

// parseSignal parses "TERM", "SIGTERM" or "15". For "0", which only tests whether
// a process exists, it returns an empty signal.
func parseSignal(s string) (signal, bool) {
	s = strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if s == "0" {
		return "", true
	}
	for _, known := range []signal{"HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "CONT", "STOP", "TSTP", "XCPU", "XFSZ", "WINCH"} {
		if s == string(known) || s == strconv.Itoa(known.number()) {
			return known, true
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
	case sig == "", sig == "CHLD", sig == "CONT", sig == "WINCH", sig != "KILL" && e.trap != nil && e.trap(sig):
	default:
		e.kill(sig)
	}
	return nil
}

func (t *table) list() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.all), func(a, b *entry) int { return a.pid - b.pid })
}
