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

// A signal kills a process. All supported signals do.
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
	for _, known := range []signal{"HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "PIPE", "ALRM", "TERM"} {
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
	mu   sync.Mutex
	last int
	all  map[int]*entry
}

type entry struct {
	pid, parent, uid int
	user             string
	args             []string
	kill             context.CancelCauseFunc
}

const firstPID = 1000

func newTable() *table { return &table{last: firstPID, all: map[int]*entry{}} }

// reservePID returns an unused process id.
func (t *table) reservePID() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	return t.last
}

// add assigns p a process id and adds it to the table. Signals to the process
// end the returned context; the returned func removes the entry.
func (t *table) add(ctx context.Context, p *Process) (context.Context, func()) {
	p.PID = t.reservePID()
	return t.insert(ctx, entry{pid: p.PID, parent: p.parent, uid: p.UID, user: p.User, args: p.Args})
}

// addJob is like add for a background job of the shell p, with a process id from
// reservePID.
func (t *table) addJob(ctx context.Context, pid int, p *Process) (context.Context, func()) {
	return t.insert(ctx, entry{pid: pid, parent: p.PID, uid: p.UID, user: p.User, args: []string{p.name()}})
}

func (t *table) insert(ctx context.Context, e entry) (context.Context, func()) {
	ctx, e.kill = context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[e.pid] = &e
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, e.pid)
		e.kill(nil)
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
	case sig != "":
		e.kill(sig)
	}
	return nil
}

func (t *table) list() []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.all), func(a, b *entry) int { return a.pid - b.pid })
}
