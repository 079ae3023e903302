package sshmachine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
)

// relay listens on loopback while use runs, and connects whoever comes with the
// machine, the way that m itself takes. It only moves bytes: the two at its ends
// authenticate each other.
func (m *Machine) relay(ctx context.Context, use func(ctx context.Context, addr string) error) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	serving, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { m.join(serving, near) })
		}
	})
	err = use(ctx, listener.Addr().String())
	stop()
	_ = listener.Close() // nothing was written to it
	wg.Wait()
	return err
}

// join connects near with the machine until either side or ctx ends.
func (m *Machine) join(ctx context.Context, near net.Conn) {
	defer near.Close() //nolint:errcheck // both sides have been told all there is
	limited, cancel := context.WithTimeoutCause(ctx, m.cfg.AttemptTimeout, errAttempt)
	far, closeWay, err := m.dialRaw(limited)
	cancel()
	if err != nil {
		m.cfg.Logger.WarnContext(ctx, "relay: cannot reach the machine", slog.String("addr", m.cfg.Addr), slog.Any("error", err))
		return
	}
	end := sync.OnceFunc(func() {
		_ = near.Close()
		_ = far.Close()
		closeWay()
	})
	defer end()
	stop := context.AfterFunc(ctx, end)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(far, near); end() })
	wg.Go(func() { _, _ = io.Copy(near, far); end() })
	wg.Wait()
}

// dialRaw makes a connection to the machine's port, through proxy and hops.
func (m *Machine) dialRaw(ctx context.Context) (conn net.Conn, closeWay func(), err error) {
	if len(m.cfg.Via) == 0 {
		conn, err = dialFirst(ctx, m.cfg, m.cfg.Addr)
		return conn, func() {}, err
	}
	way, err := dialHops(ctx, m.cfg, m.cfg.Via)
	if err != nil {
		return nil, nil, err
	}
	conn, err = way.client.DialContext(ctx, "tcp", m.cfg.Addr)
	if err != nil {
		way.close()
		return nil, nil, err
	}
	return conn, way.close, nil
}
