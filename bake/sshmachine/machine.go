package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

var _ bake.Machine = (*Machine)(nil)

// A Machine is a [bake.Machine] reached over SSH, made by [Connect]. Its methods
// may be called by several goroutines at once.
type Machine struct {
	cfg    *Config
	direct bool // no Dial, Proxy or Via is configured

	connecting chan struct{} // holds a value while a caller connects; guards current
	current    *conn

	closeOnce sync.Once
	closed    chan struct{}

	mu        sync.Mutex
	interrupt context.CancelCauseFunc // ends the attempt to connect in progress, if any
}

// conn returns the live connection, making a new one if there is none.
func (m *Machine) conn(ctx context.Context) (*conn, error) {
	select {
	case m.connecting <- struct{}{}:
		defer func() { <-m.connecting }()
	case <-m.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if m.isClosed() {
		return nil, errClosed
	}
	if m.current != nil {
		if m.current.alive() {
			return m.current, nil
		}
		m.current.close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.setInterrupt(cancel)
	defer m.setInterrupt(nil)
	fresh, err := connect(ctx, m.cfg)
	if err != nil {
		return nil, err
	}
	m.current = fresh
	if m.isClosed() {
		fresh.close()
		return nil, errClosed
	}
	return fresh, nil
}

// setInterrupt sets what Close calls to end an attempt to connect.
func (m *Machine) setInterrupt(cancel context.CancelCauseFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.interrupt = cancel
	if cancel != nil && m.isClosed() {
		cancel(errClosed)
	}
}

// setClosed makes all calls fail and ends an attempt to connect.
func (m *Machine) setClosed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.closed)
	if m.interrupt != nil {
		m.interrupt(errClosed)
	}
}

func (m *Machine) isClosed() bool {
	select {
	case <-m.closed:
		return true
	default:
		return false
	}
}

// Close ends the connection, failing the calls that use it, and waits for its
// goroutines. The machine itself keeps running.
func (m *Machine) Close() error {
	m.closeOnce.Do(m.setClosed)
	m.connecting <- struct{}{} // after any attempt in progress
	defer func() { <-m.connecting }()
	if m.current != nil {
		m.current.close()
	}
	return nil
}

// String returns the machine's login and address as "ssh://user@host:port".
func (m *Machine) String() string {
	return fmt.Sprintf("ssh://%s@%s", m.cfg.User, m.cfg.Addr)
}

// withConn calls f with the live connection. If f fails with errNotStarted,
// because the connection was lost unnoticed, withConn retries it on a new one,
// at most three times in all. After the end of ctx it returns even if f does not.
func (m *Machine) withConn(ctx context.Context, f func(*conn) error) error {
	for attempt := 1; ; attempt++ {
		c, err := m.conn(ctx)
		if err != nil {
			return err
		}
		const maxAttempts = 3
		if err = withinGrace(ctx, func() error { return f(c) }); attempt < maxAttempts && errors.Is(err, errNotStarted) && ctx.Err() == nil && !errors.Is(err, errClosed) {
			c.drop(errConnectionLost)
			<-c.lost
			continue
		}
		return c.explainLoss(ctx, err)
	}
}

// explainLoss returns err as bake.ErrDisconnected if it is a network error and the
// connection is lost. A write may fail before a read has noticed that.
func (c *conn) explainLoss(ctx context.Context, err error) error {
	if err == nil || !isConnError(err) || errors.Is(err, bake.ErrDisconnected) {
		return err
	}
	const noticed = time.Second
	wait := time.NewTimer(noticed)
	defer wait.Stop()
	select {
	case <-c.lost:
		return fmt.Errorf("%w: %w", bake.ErrDisconnected, err)
	case <-ctx.Done():
	case <-wait.C: // the error is that of a source or destination
	}
	return err
}

var errConnectionLost = errors.New("connection lost")
