package provision

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A WindowsReboot restarts a Windows machine and waits until it can be reached
// again after it. The zero value works.
type WindowsReboot struct {
	// Timeout bounds the whole, by the build's clock. Zero is 15 minutes.
	Timeout time.Duration
}

const (
	defaultWindowsReboot = 15 * time.Minute
	windowsPause         = 5 * time.Second
)

// String is "reboot".
func (r WindowsReboot) String() string { return "reboot" }

// Validate reports a negative Timeout.
func (r WindowsReboot) Validate() error {
	if r.Timeout < 0 {
		return bake.Invalid("WindowsReboot.Timeout", "is negative")
	}
	return nil
}

// DeclareInputs declares nothing: a restart has no parameters that count.
func (r WindowsReboot) DeclareInputs(*bake.Inputs) error { return nil }

// Provision restarts the machine. The error of a machine that does not come
// back in time is context.DeadlineExceeded.
func (r WindowsReboot) Provision(ctx context.Context, m bake.Machine) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if r.Timeout == 0 {
		r.Timeout = defaultWindowsReboot
	}
	c := bake.RunFromContext(ctx).Clock
	limited, stop := clock.WithTimeout(ctx, c, r.Timeout)
	defer stop()
	before, err := uptime(limited, m)
	if err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	start := c.Now()
	if _, err := onWindows(limited, m, "shutdown", windowsRun{Code: rebootCode}); err != nil && !errors.Is(err, bake.ErrDisconnected) {
		return fmt.Errorf("reboot: %w", err)
	}
	var last error
	err = clock.WaitFor(limited, c, windowsPause, func(ctx context.Context) (bool, error) {
		now, err := uptime(ctx, m)
		if cause := context.Cause(ctx); cause != nil {
			return false, cause
		}
		if last = err; err != nil {
			return false, nil //nolint:nilerr // a machine that goes down or boots cannot answer
		}
		// A machine that was not restarted would be up for before and all the
		// time since then.
		return now < before/2+c.Now().Sub(start), nil
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("the machine was not back after %v: %w", r.Timeout, errors.Join(context.Cause(limited), last))
	}
	return err
}

// uptime is for how long a Windows machine has been up.
func uptime(ctx context.Context, m bake.Machine) (time.Duration, error) {
	out, err := onWindows(ctx, m, "uptime", windowsRun{Code: uptimeCode})
	if err != nil {
		return 0, err
	}
	_, number, found := strings.Cut(out, "up ")
	ms, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("its uptime is not understood: %.200q", out)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
