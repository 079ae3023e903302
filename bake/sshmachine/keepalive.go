package sshmachine

import (
	"context"
	"fmt"
	"log/slog"
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
