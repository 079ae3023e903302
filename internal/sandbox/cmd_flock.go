package sandbox

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// fileLocks are the locks that open files hold on a machine.
type fileLocks struct {
	mu      sync.Mutex                  // guards the fields below
	held    map[uint64]map[*stream]bool // by inode; true for an exclusive lock
	changed chan struct{}               // closed when a lock is released; nil without a waiter
}

// try locks a file for s, or returns a channel that is closed when it is worth
// trying again.
func (l *fileLocks) try(ino uint64, s *stream, exclusive bool) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, theirs := range l.held[ino] {
		if other != s && (theirs || exclusive) {
			if l.changed == nil {
				l.changed = make(chan struct{})
			}
			return l.changed
		}
	}
	if l.held == nil {
		l.held = map[uint64]map[*stream]bool{}
	}
	if l.held[ino] == nil {
		l.held[ino] = map[*stream]bool{}
	}
	l.held[ino][s] = exclusive
	return nil
}

func (l *fileLocks) unlock(ino uint64, s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held[ino], s)
	if len(l.held[ino]) == 0 {
		delete(l.held, ino)
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// flock locks a descriptor, or a file while a command runs.
func flock(ctx context.Context, p *Process) int {
	o, rest, bad := p.options("+sxeunow:E:c:Fv", "shared=s", "exclusive=x", "unlock=u", "nonblock=n", "nb=n", "close=o", "timeout=w:", "wait=w:",
		"conflict-exit-code=E:", "command=c:", "no-fork=F", "verbose=v")
	if bad != 0 {
		return bad
	}
	conflict := 1
	if text, ok := o.value("E"); ok {
		conflict, _ = number(text)
	}
	if len(rest) == 0 {
		return p.fail(64, "requires file descriptor, file or directory")
	}
	fd, isFD := number(rest[0])
	command := rest[1:]
	if len(command) > 1 && command[0] == "-c" {
		command = []string{"/bin/sh", "-c", command[1]}
	}
	var s *stream
	if isFD && len(command) == 0 {
		if s = p.descriptor(fd); s == nil {
			return p.fail(65, "%d: Bad file descriptor", fd)
		}
	} else {
		f, err := p.FS.OpenFile(p.Path(rest[0]), os.O_RDONLY|os.O_CREATE, 0o666)
		if errors.Is(err, syscall.EISDIR) {
			f, err = p.FS.Open(p.Path(rest[0]))
		}
		if err != nil {
			return p.fail(66, "cannot open lock file %s: %s", rest[0], errText(err))
		}
		s = &stream{in: f, out: f, file: f, refs: 1, close: func() { _ = f.Close() }}
		defer s.release()
	}
	if s.file == nil {
		return 0 // a pipe
	}
	info, err := s.file.Stat()
	if err != nil {
		return p.fail(65, "%s: %s", rest[0], errText(err))
	}
	locks := &p.Host.locks
	if o.on("u") {
		locks.unlock(info.Ino(), s)
		return 0
	}
	if !p.awaitLock(ctx, o, func() <-chan struct{} { return locks.try(info.Ino(), s, !o.on("s")) }) {
		return conflict
	}
	s.mu.Lock()
	s.lock = func() { locks.unlock(info.Ino(), s) }
	s.mu.Unlock()
	if len(command) == 0 {
		return 0
	}
	return p.child(command).exec(ctx)
}

func (p *Process) awaitLock(ctx context.Context, o opts, try func() <-chan struct{}) bool {
	limit := time.Duration(-1)
	if text, ok := o.value("w"); ok {
		limit, _ = duration(text)
	}
	if o.on("n") {
		limit = 0
	}
	over := make(chan struct{})
	watched, stop := context.WithCancel(ctx)
	defer stop()
	if limit > 0 {
		p.Host.outlive(ctx, func() {
			if p.Host.o.Clock.Sleep(watched, limit) == nil {
				close(over)
			}
		})
	}
	for {
		again := try()
		if again == nil {
			return true
		}
		if limit == 0 {
			return false
		}
		select {
		case <-again:
		case <-over:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// descriptor returns the stream of an inherited descriptor above 2, or nil.
func (p *Process) descriptor(fd int) *stream {
	if s := p.fds[fd]; s != nil {
		return s
	}
	if fd >= 0 && fd <= 2 {
		return &stream{in: p.Stdin, out: p.Stdout, refs: 1}
	}
	return nil
}
