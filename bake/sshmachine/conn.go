package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
)

// A conn is one SSH connection to the machine. Once lost it stays lost.
type conn struct {
	cfg         *Config
	client      *ssh.Client
	route       *route
	slots       chan struct{} // holds a value for each open session
	scriptSlots chan struct{} // holds a value for each running transfer script
	pings       chan struct{} // holds a value while a ping waits for its reply
	lost        chan struct{} // closed when the connection is lost
	wg          sync.WaitGroup

	rttKnown chan struct{} // closed when rtt is set
	rtt      time.Duration

	info memo[*guestInfo]
	sudo memo[*sudo]

	mu      sync.Mutex
	closing bool  // spawn refuses new goroutines
	cause   error // the first known reason for the loss
}

// newConn takes ownership of r and starts its keepalives. ctx is used only for
// logging.
func newConn(ctx context.Context, cfg *Config, r *route) *conn {
	c := &conn{
		cfg: cfg, client: r.client, route: r,
		slots:       make(chan struct{}, cfg.MaxSessions),
		scriptSlots: make(chan struct{}, cfg.MaxSessions/2),
		pings:       make(chan struct{}, 1),
		lost:        make(chan struct{}),
		rttKnown:    make(chan struct{}),
		info:        newMemo[*guestInfo](),
		sudo:        newMemo[*sudo](),
	}
	k := &keepAlive{conn: c}
	c.wg.Go(func() {
		err := r.serve()
		c.setCause(err)
		r.close()
		close(c.lost)
		k.stop()
	})
	k.start(context.WithoutCancel(ctx))
	return c
}

// setCause records why the connection is lost. Only the first call counts.
func (c *conn) setCause(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = err
	}
}

// close ends the connection and waits for all its goroutines.
func (c *conn) close() {
	c.setCause(errClosed)
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.route.close()
	c.wg.Wait()
}

// drop ends the connection without waiting, recording err as the cause.
func (c *conn) drop(err error) {
	c.setCause(err)
	c.route.close()
}

// spawn runs f in a goroutine that close waits for. It returns false, without
// running f, if close has been called.
func (c *conn) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.wg.Go(f)
	return true
}

// alive reports whether the connection has not been lost.
func (c *conn) alive() bool {
	select {
	case <-c.lost:
		return false
	default:
		return true
	}
}

// lostError returns bake.ErrDisconnected wrapped with the cause of the loss.
func (c *conn) lostError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		return bake.ErrDisconnected
	}
	return fmt.Errorf("%w: %w", bake.ErrDisconnected, c.cause)
}

var errClosed = errors.New("machine is closed")

// roundTrip returns the round-trip time, waiting until it has been measured. It
// returns zero if ctx ends first.
func (c *conn) roundTrip(ctx context.Context) time.Duration {
	select {
	case <-c.rttKnown:
		return c.rtt
	case <-ctx.Done():
		return 0
	}
}

// takeSlot acquires a session slot and reports whether it did. If all are in
// use it waits only if wait is set.
func (c *conn) takeSlot(ctx context.Context, wait bool) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	if !wait {
		return false
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-c.lost:
	case <-ctx.Done():
	}
	return false
}

func (c *conn) releaseSlot() { <-c.slots }

// noSlotError returns the reason why takeSlot, told to wait, returned false.
func (c *conn) noSlotError(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", errNotStarted, c.lostError())
}

const (
	// sessionRetry is the wait after a refused session, which the server may allow
	// once it has cleaned up after another one.
	sessionRetry = 100 * time.Millisecond

	// sessionPatience is how long sessions are requested again while no other one
	// is open.
	sessionPatience = 10 * time.Second
)

// openSession opens a session channel, or returns an error once the connection is
// lost. If the server refuses the session, since it permits fewer than
// Config.MaxSessions, and wait is set, openSession waits until it does not.
func (c *conn) openSession(wait bool) (ssh.Channel, <-chan *ssh.Request, error) {
	for waited := time.Duration(0); ; waited += sessionRetry {
		channel, requests, err := c.tryOpenSession()
		refused, ok := errors.AsType[*ssh.OpenChannelError](err)
		switch {
		case !ok || !wait || refused.Reason == ssh.UnknownChannelType:
			return channel, requests, err
		case len(c.slots) > 1:
			waited = 0
		case waited >= sessionPatience:
			return nil, nil, err
		}
		select {
		case <-c.lost:
			return nil, nil, c.lostError()
		case <-time.After(sessionRetry):
		}
	}
}

func (c *conn) tryOpenSession() (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	result := make(chan opened, 1)
	// This goroutine is not waited for: OpenChannel blocks forever if it sends
	// its request after package ssh has closed the connection's channels.
	go func() {
		channel, requests, err := c.client.OpenChannel("session", nil)
		result <- opened{channel, requests, err}
	}()
	select {
	case o := <-result:
		c.route.prompt.begun.Store(true)
		return o.channel, o.requests, o.err
	case <-c.lost:
		return nil, nil, c.lostError()
	}
}

// A memo holds the first successful result of a computation. Unlike
// sync.OnceValue it retries after an error, and waiting obeys a context.
type memo[T any] struct {
	busy  chan struct{} // holds a value while a caller computes; guards the rest
	known bool
	value T
}

func newMemo[T any]() memo[T] { return memo[T]{busy: make(chan struct{}, 1)} }

// get returns the stored value, or the result of compute if there is none yet.
// Only one caller computes at a time.
func (m *memo[T]) get(ctx context.Context, compute func() (T, error)) (T, error) {
	var zero T
	select {
	case m.busy <- struct{}{}:
		defer func() { <-m.busy }()
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
	if m.known {
		return m.value, nil
	}
	value, err := compute()
	if err != nil {
		return zero, err
	}
	m.known, m.value = true, value
	return value, nil
}
