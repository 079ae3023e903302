package sshmachine

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// cancelGrace is how long a method may take to return after its context has ended.
// Work that the machine has not stopped by then continues in the background until it
// stops or the connection is lost.
const cancelGrace = 1500 * time.Millisecond

// withinGrace calls f, but returns the cause of ctx's end if f does not return soon
// after that.
func withinGrace(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(cancelGrace)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return context.Cause(ctx)
	}
}

var errReturned = errors.New("the call has returned")

// A gate keeps what a method leaves in the background from using the caller's writers
// and funcs.
type gate struct {
	shut atomic.Bool
	mu   [3]sync.Mutex // of each user of the gate
}

// close makes later calls fail. It waits for calls in progress, but not for one that
// blocks: no gate can interrupt that.
func (g *gate) close() {
	g.shut.Store(true)
	const tries = 100
	for i := range g.mu {
		for range tries {
			if g.mu[i].TryLock() {
				g.mu[i].Unlock()
				break
			}
			<-time.After(time.Millisecond)
		}
	}
}

// writer returns a writer to w, the user with index i. It returns nil if w is nil.
func (g *gate) writer(i int, w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return gatedWriter{g, i, w}
}

type gatedWriter struct {
	*gate

	i  int
	to io.Writer
}

// Write writes p unless the gate is closed.
func (w gatedWriter) Write(p []byte) (int, error) {
	w.mu[w.i].Lock()
	defer w.mu[w.i].Unlock()
	if w.shut.Load() {
		return 0, errReturned
	}
	return w.to.Write(p)
}

// progress returns a func that calls report until the gate is closed.
func (g *gate) progress(report func(done, total int64)) func(done, total int64) {
	const user = 2
	if report == nil {
		return nil
	}
	return func(done, total int64) {
		g.mu[user].Lock()
		defer g.mu[user].Unlock()
		if !g.shut.Load() {
			report(done, total)
		}
	}
}
