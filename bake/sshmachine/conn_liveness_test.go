package sshmachine_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestKeepAlive makes a machine stop answering without closing the connection.
func TestKeepAlive(t *testing.T) {
	testenv.Need(t, "sh")
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		cfg := h.configFor("192.0.2.1")
		var ends []*pipeEnd
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			a, b := newPipe()
			ends = append(ends, a)
			go h.serve(b)
			return a, nil
		}
		m, err := sshmachine.Connect(t.Context(), cfg)
		must(t, err)
		time.Sleep(10 * time.Minute) // keepalives are answered
		if len(ends) != 1 {
			t.Errorf("got %d connections, want 1", len(ends))
		}
		ends[0].write.freeze()
		began := time.Now()
		must(t, m.Run(t.Context(), bake.Sh("true"))) // over a new connection
		if took := time.Since(began); took < time.Minute || took > 90*time.Second {
			t.Errorf("Run took %v, want 60s to 90s", took)
		}
		must(t, m.Close())
		h.drop()
		h.wg.Wait()
	})
}

// A slowConn delivers 16 bytes at a time, each after a delay in nanoseconds. A
// negative delay lasts until the connection is closed.
type slowConn struct {
	net.Conn

	delay  *atomic.Int64
	once   sync.Once
	closed chan struct{}
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.delay.Load() > 0 {
		p = p[:min(len(p), 16)]
	}
	n, err := c.Conn.Read(p)
	var over <-chan time.Time
	switch delay := time.Duration(c.delay.Load()); {
	case delay == 0:
		return n, err
	case delay > 0:
		over = time.After(delay)
	}
	select {
	case <-over:
		return n, err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *slowConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestCancelOnSlowConnection cancels a command. On a silent connection Run returns
// within the liveness timeout; on a slow one the command is still killed.
func TestCancelOnSlowConnection(t *testing.T) {
	for _, test := range []struct {
		name  string
		delay time.Duration
		most  time.Duration
	}{
		{"silent", -1, 5 * time.Second},
		{"slow", 1200 * time.Millisecond, 17 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var delay atomic.Int64
				m := sandboxMachineWith(t, sandbox.Options{}, func(cfg *sshmachine.Config) {
					// Concurrent requests would block on a mutex, which stops synctest's clock.
					cfg.KeepAliveInterval = -1
					dial := cfg.Dial
					cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						conn, err := dial(ctx, network, addr)
						return &slowConn{Conn: conn, delay: &delay, closed: make(chan struct{})}, err
					}
				})

				time.Sleep(time.Second) // until the round-trip time is measured
				ctx, cancel := context.WithCancel(t.Context())
				var canceled time.Time
				up := writerFunc(func(p []byte) (int, error) {
					canceled = time.Now()
					delay.Store(int64(test.delay))
					cancel()
					return len(p), nil
				})
				err := m.Run(ctx, &bake.Cmd{Line: "trap '' HUP; echo up; sleep 60; touch /tmp/survived", Stdout: up})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v, want Canceled", err)
				}
				if took := time.Since(canceled); took > test.most {
					t.Errorf("Run returned after %v, want at most %v", took, test.most)
				}
				delay.Store(0)
				if test.delay > 0 {
					time.Sleep(2 * time.Minute)
					if err := m.Run(t.Context(), bake.Sh("test ! -e /tmp/survived")); err != nil {
						t.Errorf("the command was not killed: %v", err)
					}
				}
			})
		})
	}
}
