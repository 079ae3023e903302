package sandbox

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// power calls OnPower, once per boot.
func (h *Host) power(ctx context.Context, kind Power) {
	bootOf(ctx).power.Do(func() {
		h.o.Logger.LogAttrs(ctx, slog.LevelDebug, "guest requested power change", slog.String("power", kind.String()))
		ctx := context.WithoutCancel(ctx)
		go func() { // not waited for by Close, since the callback may call it
			switch {
			case h.o.OnPower != nil:
				h.o.OnPower(kind)
			case kind == Reboot:
				_ = h.Reboot(ctx) // fails only when the host was closed
			default:
				_ = h.Close()
			}
		}()
	})
}

// schedulePower calls power with kind after delay. It replaces an earlier
// schedule.
func (h *Host) schedulePower(ctx context.Context, kind Power, delay time.Duration) {
	ctx, cancel := h.detach(ctx)
	h.mu.Lock()
	before := h.scheduled
	h.scheduled = func(cause error) { cancel(cause) }
	h.mu.Unlock()
	if before != nil {
		before(nil)
	}
	h.outlive(ctx, func() {
		if h.o.Clock.Sleep(ctx, delay) == nil && ctx.Err() == nil {
			h.power(ctx, kind)
		}
		cancel(nil)
	})
}

// cancelPower cancels a scheduled shutdown or reboot.
func (h *Host) cancelPower() {
	h.mu.Lock()
	before := h.scheduled
	h.scheduled = nil
	h.mu.Unlock()
	if before != nil {
		before(nil)
	}
}

// shutdown implements shutdown(8) with -P, -h, -r, -H, -c and a time of now,
// +minutes or hh:mm.
func shutdown(ctx context.Context, p *Process) int {
	o, rest, bad := p.options("PhHrc", "poweroff=P", "reboot=r", "halt=H")
	if bad != 0 {
		return bad
	}
	if p.UID != 0 {
		return p.fail(1, "Call to Shutdown failed: Interactive authentication required.")
	}
	if o.on("c") {
		p.Host.cancelPower()
		return 0
	}
	kind := PowerOff
	if o.on("r") {
		kind = Reboot
	}
	when := "+1"
	if len(rest) > 0 {
		when = rest[0]
	}
	delay, ok := p.parseShutdownTime(when)
	if !ok {
		return p.fail(1, "Failed to parse time specification: %s", when)
	}
	if delay == 0 {
		p.Host.power(ctx, kind)
		return 0
	}
	p.Host.schedulePower(ctx, kind, delay)
	at := p.Host.o.Clock.Now().Add(delay).UTC().Format("Mon 2006-01-02 15:04:05 MST")
	fprintf(p.Stderr, "Shutdown scheduled for %s, use 'shutdown -c' to cancel.\n", at)
	return 0
}

func (p *Process) parseShutdownTime(when string) (time.Duration, bool) {
	if when == "now" {
		return 0, true
	}
	if minutes, ok := number(strings.TrimPrefix(when, "+")); ok {
		return time.Duration(minutes) * time.Minute, true
	}
	clock, err := time.Parse("15:04", when)
	if err != nil {
		return 0, false
	}
	now := p.Host.o.Clock.Now().UTC()
	at := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, time.UTC)
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at.Sub(now), true
}

func powerOff(ctx context.Context, p *Process) int { return p.powerNow(ctx, PowerOff) }

func reboot(ctx context.Context, p *Process) int { return p.powerNow(ctx, Reboot) }

func (p *Process) powerNow(ctx context.Context, kind Power) int {
	if _, _, bad := p.options("f", "force=f"); bad != 0 {
		return bad
	}
	if p.UID != 0 {
		return p.fail(1, "Call to %s failed: Interactive authentication required.", p.name())
	}
	p.Host.power(ctx, kind)
	return 0
}
