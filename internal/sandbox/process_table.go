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

// A signal ends a process; every signal we know of does.
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

// parseSignal reads "TERM", "SIGTERM" and "15"; "0" is empty, which tests
// whether a process is there.
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

// signalOf is the signal that ended ctx, if one did.
func signalOf(ctx context.Context) (signal, bool) {
	if ctx.Err() == nil {
		return "", false
	}
	if sig, ok := errors.AsType[signal](context.Cause(ctx)); ok {
		return sig, true
	}
	return "KILL", true
}

// table is the processes of one host.
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

// pid reserves a number.
func (t *table) reservePID() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	return t.last
}

// enter gives p a number, unless it has one of its own already, and a context
// that kill ends.
func (t *table) add(ctx context.Context, p *Process) (context.Context, func()) {
	ctx, kill := context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	p.PID = t.last
	e := &entry{pid: p.PID, parent: p.parent, uid: p.UID, user: p.User, args: p.Args, kill: kill}
	t.all[e.pid] = e
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, e.pid)
		kill(nil)
	}
}

// job enters a shell's background list, whose number is known already.
func (t *table) addJob(ctx context.Context, pid int, p *Process) (context.Context, func()) {
	ctx, kill := context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[pid] = &entry{pid: pid, parent: p.PID, uid: p.UID, user: p.User, args: []string{p.name()}, kill: kill}
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, pid)
		kill(nil)
	}
}

// signal sends sig to a process of uid's; root may reach all.
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
