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
// the machine is alive, including a refusal. Pings take turns, as all requests of package
// ssh do, but one that waits for its turn is idle for testing/synctest.
func (c *conn) ping() error {
	c.pings <- struct{}{}
	defer func() { <-c.pings }()
	_, _, err := c.client.SendRequest("keepalive@bakestone", true, nil)
	return err
}

// A keepAlive pings the machine at intervals until the connection is lost, and
// drops the connection when Config.KeepAliveCount pings in a row go unanswered. The
// first replies also measure the round-trip time. It needs no goroutine between
// two pings.
type keepAlive struct {
	conn *conn

	mu       sync.Mutex
	timer    *time.Timer // nil without an interval
	stopped  bool
	waiting  bool // for the reply to a ping
	missed   int
	began    time.Time // of the ping that measures the round-trip time
	measured int
}

// start sends the first ping. ctx is used only for logging.
func (k *keepAlive) start(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	if interval := k.conn.cfg.KeepAliveInterval; interval > 0 {
		k.timer = time.AfterFunc(interval, func() {
			k.conn.spawn(func() { k.tick(ctx) })
		})
	}
	// The first reply may be delayed while the server sets up the login.
	k.measure()
}

// stop ends the pings once the connection is lost.
func (k *keepAlive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.timer != nil {
		k.timer.Stop()
	}
	if k.measured < rttSamples {
		close(k.conn.rttKnown)
	}
}

// measure sends a ping whose reply is timed.
func (k *keepAlive) measure() {
	k.began = time.Now()
	k.ping()
}

func (k *keepAlive) ping() {
	k.waiting = true
	k.conn.spawn(func() {
		if k.conn.ping() == nil {
			k.answered()
		}
	})
}

func (k *keepAlive) answered() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.missed, k.waiting = 0, false
	if k.stopped || k.measured == rttSamples {
		return
	}
	c := k.conn
	k.measured++
	if rtt := time.Since(k.began); k.measured == 1 || rtt < c.rtt {
		c.rtt = rtt
	}
	if k.measured == rttSamples {
		close(c.rttKnown)
		return
	}
	k.measure()
}

// tick pings again, or counts a ping that is not answered yet.
func (k *keepAlive) tick(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	cfg := k.conn.cfg
	k.timer.Reset(cfg.KeepAliveInterval)
	if !k.waiting {
		k.ping()
		return
	}
	k.missed++
	if k.missed < cfg.KeepAliveCount {
		return
	}
	cfg.Logger.WarnContext(ctx, "machine stopped answering keepalives", slog.String("addr", cfg.Addr))
	k.conn.drop(fmt.Errorf("keepalives unanswered for %v", time.Duration(k.missed)*cfg.KeepAliveInterval))
	k.missed = 0
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
