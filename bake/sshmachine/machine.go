package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

var _ bake.Machine = (*Machine)(nil)

// A Machine is a machine reached over SSH. It may be used by several
// goroutines at once.
type Machine struct {
	cfg    *Config
	direct bool          // nothing but the network is on the way
	turn   chan struct{} // held by the one that connects

	mu      sync.Mutex
	current *link
	closed  chan struct{}
	gone    bool
}

// link returns the live connection, and makes one when there is none.
func (m *Machine) link(ctx context.Context) (*link, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-m.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	current, gone := m.current, m.gone
	m.mu.Unlock()
	if gone {
		return nil, errClosed
	}
	if current != nil {
		if current.alive() {
			return current, nil
		}
		current.close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-m.closed:
			cancel(errClosed)
		case <-stop:
		}
	})
	fresh, err := connect(ctx, m.cfg)
	close(stop)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	gone = m.gone
	m.current = fresh
	m.mu.Unlock()
	if gone {
		fresh.close()
		return nil, errClosed
	}
	return fresh, nil
}

// Close ends the connection and waits for everything that belongs to it. What
// runs on it fails. The machine itself keeps running.
func (m *Machine) Close() error {
	m.mu.Lock()
	if !m.gone {
		m.gone = true
		close(m.closed)
	}
	m.mu.Unlock()
	m.turn <- struct{}{} // a connect under way has ended
	defer func() { <-m.turn }()
	m.mu.Lock()
	current := m.current
	m.mu.Unlock()
	if current != nil {
		current.close()
	}
	return nil
}

// String names the machine: "ssh://user@host:port".
func (m *Machine) String() string {
	return fmt.Sprintf("ssh://%s@%s", m.cfg.User, m.cfg.Addr)
}

// onLink calls f with the live connection. When f could not even begin because
// that had been lost, unnoticed, it is called again with the next one.
func (m *Machine) onLink(ctx context.Context, f func(*link) error) error {
	for attempt := 1; ; attempt++ {
		l, err := m.link(ctx)
		if err != nil {
			return err
		}
		const most = 3
		if err = f(l); attempt < most && errors.Is(err, errNotStarted) && ctx.Err() == nil && !errors.Is(err, errClosed) {
			l.drop(errBroken)
			<-l.dead // follows at once
			continue
		}
		return err
	}
}

var errBroken = errors.New("it broke")
