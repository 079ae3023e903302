package sshmachine

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// keepAlive asks the machine for signs of life until the connection is lost,
// and drops it when too many stay unanswered. The first answer also measures
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
	began, measured := time.Now(), false
	ask()
	for missed, waiting := 0, true; ; {
		select {
		case <-l.dead:
			if !measured {
				close(l.rttKnown)
			}
			return
		case <-answered:
			missed, waiting = 0, false
			if !measured {
				measured = true
				l.rtt = time.Since(began)
				close(l.rttKnown)
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
