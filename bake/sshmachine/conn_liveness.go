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

// measuredBy is how many answers the round-trip time is the least of.
const measuredBy = 3

// keepAlive asks the machine for signs of life until the connection is lost,
// and drops it when too many stay unanswered. The first answers also measure
// the round-trip time.
func (l *link) keepAlive(ctx context.Context) {
	answered := make(chan struct{}, 1)
	ask := func() {
		l.begin(func() {
			// Any answer is a sign of life, a refusal too.
			if _, _, err := l.client.SendRequest("keepalive@bakestone", true, nil); err == nil {
				answered <- struct{}{}
			}
		})
	}
	var tick <-chan time.Time
	if l.cfg.KeepAlive > 0 {
		ticker := time.NewTicker(l.cfg.KeepAlive)
		defer ticker.Stop()
		tick = ticker.C
	}
	// The first answer can come late from a server that still sets up the login.
	began, measures := time.Now(), 0
	ask()
	for missed, waiting := 0, true; ; {
		select {
		case <-l.dead:
			if measures < measuredBy {
				close(l.rttKnown)
			}
			return
		case <-answered:
			missed, waiting = 0, false
			if measures < measuredBy {
				measures++
				if rtt := time.Since(began); measures == 1 || rtt < l.rtt {
					l.rtt = rtt
				}
				if measures == measuredBy {
					close(l.rttKnown)
					continue
				}
				began, waiting = time.Now(), true
				ask()
			}
		case <-tick:
			if !waiting {
				waiting = true
				ask()
				continue
			}
			missed++
			if missed < l.cfg.MaxMissed {
				continue
			}
			l.cfg.Logger.WarnContext(ctx, "the machine is silent", slog.String("addr", l.cfg.Addr))
			l.drop(fmt.Errorf("no sign of life for %v", time.Duration(missed)*l.cfg.KeepAlive))
			missed = 0
		}
	}
}

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

// answers reports whether the machine gives a sign of life within the limit.
func (l *link) answers(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answered := make(chan bool, 1)
	if !l.begin(func() {
		_, _, err := l.client.SendRequest("keepalive@bakestone", true, nil)
		answered <- err == nil
	}) {
		return false
	}
	select {
	case yes := <-answered:
		return yes
	case <-ctx.Done():
		return false
	}
}
