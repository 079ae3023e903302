package sshmachine

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// silence is how long a machine may say nothing at all, although it is asked
// for a sign of life, before somebody who waits for it gives the connection up.
// Keepalives find out by themselves, but take a minute.
const silence = 5 * time.Second

// A heardConn counts how often something arrived.
type heardConn struct {
	net.Conn

	times atomic.Int64
}

// Read is that of the connection.
func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.times.Add(1)
	}
	return n, err
}

// expectLife drops the connection when the machine falls silent, until stop is
// called. A machine that is only slow, behind a long transfer say, is not: it
// takes what it is sent, and says so.
func (l *link) expectLife(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	var asking atomic.Bool
	watching.Go(func() {
		for {
			before := l.route.heard.times.Load()
			if asking.CompareAndSwap(false, true) {
				l.begin(func() {
					// Any answer will do, and is counted as it arrives.
					_, _, _ = l.client.SendRequest("keepalive@bakestone", true, nil)
					asking.Store(false)
				})
			}
			if l.cfg.Clock.Sleep(ctx, silence) != nil {
				return
			}
			if l.route.heard.times.Load() == before {
				l.drop(errSilent)
				return
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}
