package sshmachine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// rttSamples is the number of keepalive replies timed on a new connection. The
// fastest is taken as the round-trip time.
const rttSamples = 3

// ping sends a keepalive request and waits for the reply. Any reply proves that
// the machine is alive, including a refusal.
func (c *conn) ping() error {
	_, _, err := c.client.SendRequest("keepalive@bakestone", true, nil)
	return err
}

// keepAlive pings the machine at intervals until the connection is lost, and
// drops the connection when Config.MaxMissed pings in a row go unanswered. The
// first replies also measure the round-trip time.
func (c *conn) keepAlive(ctx context.Context) {
	answered := make(chan struct{}, 1)
	ping := func() {
		c.spawn(func() {
			if c.ping() == nil {
				answered <- struct{}{}
			}
		})
	}
	var tick <-chan time.Time
	if c.cfg.KeepAliveInterval > 0 {
		ticker := time.NewTicker(c.cfg.KeepAliveInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	// The first reply may be delayed while the server sets up the login.
	began, measured := time.Now(), 0
	ping()
	for missed, waiting := 0, true; ; {
		select {
		case <-c.lost:
			if measured < rttSamples {
				close(c.rttKnown)
			}
			return
		case <-answered:
			missed, waiting = 0, false
			if measured < rttSamples {
				measured++
				if rtt := time.Since(began); measured == 1 || rtt < c.rtt {
					c.rtt = rtt
				}
				if measured == rttSamples {
					close(c.rttKnown)
					continue
				}
				began, waiting = time.Now(), true
				ping()
			}
		case <-tick:
			if !waiting {
				waiting = true
				ping()
				continue
			}
			missed++
			if missed < c.cfg.KeepAliveCount {
				continue
			}
			c.cfg.Logger.WarnContext(ctx, "machine stopped answering keepalives", slog.String("addr", c.cfg.Addr))
			c.drop(fmt.Errorf("keepalives unanswered for %v", time.Duration(missed)*c.cfg.KeepAliveInterval))
			missed = 0
		}
	}
}

// livenessTimeout is how long a pinged machine may send nothing at all before
// watchLiveness drops the connection. Ordinary keepalives take a minute.
const livenessTimeout = 5 * time.Second

// A countingConn counts the reads that returned data.
type countingConn struct {
	net.Conn

	reads atomic.Int64
}

// Read reads from the underlying connection.
func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.reads.Add(1)
	}
	return n, err
}

// watchLiveness drops the connection if nothing arrives for livenessTimeout,
// until stop is called. A machine that is merely slow, for example behind a
// long transfer, keeps acknowledging data and so is not dropped.
func (c *conn) watchLiveness(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	var pinging atomic.Bool
	watching.Go(func() {
		for {
			before := c.route.network.reads.Load()
			if pinging.CompareAndSwap(false, true) {
				c.spawn(func() {
					_ = c.ping() // countingConn sees the reply
					pinging.Store(false)
				})
			}
			if c.cfg.Clock.Sleep(ctx, livenessTimeout) != nil {
				return
			}
			if c.route.network.reads.Load() == before {
				c.drop(errSilent)
				return
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// responds reports whether the machine answers a ping within the limit.
func (c *conn) responds(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answered := make(chan bool, 1)
	if !c.spawn(func() { answered <- c.ping() == nil }) {
		return false
	}
	select {
	case ok := <-answered:
		return ok
	case <-ctx.Done():
		return false
	}
}
