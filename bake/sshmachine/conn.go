package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"golang.org/x/crypto/ssh"
)

// A link is one connection to the machine, until it is lost.
type link struct {
	cfg      *Config
	client   *ssh.Client
	route    *route
	slots    chan struct{} // one for each session that runs
	controls chan struct{} // one for each transfer that has a control
	dead     chan struct{} // closed when the connection is lost
	wg       sync.WaitGroup

	rttKnown chan struct{} // closed when rtt is set
	rtt      time.Duration

	mu    sync.Mutex
	guest once[*guest] // what is known of the machine
	root  once[*sudo]  // how the login becomes root

	ended bool  // nothing may be begun any more
	cause error // why it was lost, if we know better than the transport
}

// newLink takes over p and keeps it alive. The context is only for logging.
func newLink(ctx context.Context, cfg *Config, p *route) *link {
	l := &link{
		cfg: cfg, client: p.client, route: p,
		slots:    make(chan struct{}, cfg.MaxSessions),
		controls: make(chan struct{}, cfg.MaxSessions/2),
		dead:     make(chan struct{}),
		rttKnown: make(chan struct{}),
	}
	l.wg.Go(func() {
		err := l.client.Wait()
		l.lose(err)
		p.close()
		close(l.dead)
	})
	detached := context.WithoutCancel(ctx)
	l.wg.Go(func() { l.keepAlive(detached) })
	return l
}

// lose records why the connection is lost; the first reason stays.
func (l *link) lose(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = err
	}
}

// close ends the connection and waits for everything of it.
func (l *link) close() {
	l.lose(errClosed)
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.route.close()
	l.wg.Wait()
}

// drop gives the connection up for the given reason.
func (l *link) drop(err error) {
	l.lose(err)
	l.route.close()
}

// begin runs f as a part of the link, which close waits for.
func (l *link) begin(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.wg.Go(f)
	return true
}

// alive reports whether the connection is still there.
func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

// lostError wraps bake.ErrDisconnected with the reason.
func (l *link) lostError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		return bake.ErrDisconnected
	}
	return fmt.Errorf("%w: %w", bake.ErrDisconnected, l.cause)
}

var errClosed = errors.New("the machine was closed")

// roundTrip is the measured round-trip time of the connection.
func (l *link) roundTrip(ctx context.Context) time.Duration {
	select {
	case <-l.rttKnown:
		return l.rtt
	case <-ctx.Done():
		return 0
	}
}

// takeSlot takes a slot for a session; it waits only when it must have one.
func (l *link) takeSlot(ctx context.Context, must bool) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	if !must {
		return false
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-l.dead:
	case <-ctx.Done():
	}
	return false
}

// noSlot is why there was none.
func (l *link) noSlot(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", errNotStarted, l.lostError())
}

// openSession opens a channel for a session. It returns an error when the
// connection is lost meanwhile.
func (l *link) openSession() (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	result := make(chan opened, 1)
	// Package ssh waits for ever for the answer to a request that it takes after
	// it has told all channels that the connection has ended, so nobody waits for
	// this goroutine.
	go func() {
		channel, requests, err := l.client.OpenChannel("session", nil)
		result <- opened{channel, requests, err}
	}()
	select {
	case o := <-result:
		return o.channel, o.requests, o.err
	case <-l.dead:
		return nil, nil, l.lostError()
	}
}

// once keeps the first answer that is not an error.
type once[T any] struct {
	mu    sync.Mutex
	turn  chan struct{}
	known bool
	value T
}

// get returns the answer, and asks for it when there is none yet. Only one
// caller asks at a time.
func (o *once[T]) get(ctx context.Context, ask func() (T, error)) (T, error) {
	o.mu.Lock()
	if o.turn == nil {
		o.turn = make(chan struct{}, 1)
	}
	turn := o.turn
	o.mu.Unlock()
	var none T
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	if o.known {
		return o.value, nil
	}
	value, err := ask()
	if err != nil {
		return none, err
	}
	o.known, o.value = true, value
	return value, nil
}
