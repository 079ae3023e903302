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

// TestKeepAlive lets a machine fall silent without a word.
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
		time.Sleep(10 * time.Minute) // a healthy one is kept
		if len(ends) != 1 {
			t.Errorf("%d connections", len(ends))
		}
		ends[0].write.freeze()
		began := time.Now()
		must(t, m.Run(t.Context(), bake.Sh("true"))) // over a new connection
		if took := time.Since(began); took < time.Minute || took > 90*time.Second {
			t.Errorf("noticed after %v", took)
		}
		must(t, m.Close())
		h.drop()
		h.wg.Wait()
	})
}

// A lameConn lets 16 bytes arrive at a time, each time after a delay in
// nanoseconds; a negative one is for ever.
type lameConn struct {
	net.Conn

	delay  *atomic.Int64
	once   sync.Once
	closed chan struct{}
}

func (c *lameConn) Read(p []byte) (int, error) {
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

func (c *lameConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestCancelOnALameLink cancels a command: on a silent connection that takes no
// longer than the machine has to answer, and on one that is only slow the
// command is killed all the same.
func TestCancelOnALameLink(t *testing.T) {
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
				m := embeddedAs(t, sandbox.Options{}, func(cfg *sshmachine.Config) {
					// Two requests at once meet in a mutex, at which synctest's time stops.
					cfg.KeepAliveInterval = -1
					dial := cfg.Dial
					cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						conn, err := dial(ctx, network, addr)
						return &lameConn{Conn: conn, delay: &delay, closed: make(chan struct{})}, err
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
					t.Errorf("error %v, want the cancellation", err)
				}
				if took := time.Since(canceled); took > test.most {
					t.Errorf("took %v to end, want %v at most", took, test.most)
				}
				delay.Store(0)
				if test.delay > 0 {
					time.Sleep(2 * time.Minute)
					if err := m.Run(t.Context(), bake.Sh("test ! -e /tmp/survived")); err != nil {
						t.Errorf("the command went on: %v", err)
					}
				}
			})
		})
	}
}
