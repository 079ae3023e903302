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
// again. The zero value works.
type WindowsReboot struct {
	// Timeout limits the restart, by the build's clock. Zero means 15 minutes.
	Timeout time.Duration
}

var (
	_ bake.Provisioner   = WindowsReboot{}
	_ bake.Validator     = WindowsReboot{}
	_ bake.InputDeclarer = WindowsReboot{}
)

const (
	defaultWindowsReboot = 15 * time.Minute
	windowsPollInterval  = 5 * time.Second
)

// String returns "reboot".
func (r WindowsReboot) String() string { return "reboot" }

// Validate reports a negative Timeout.
func (r WindowsReboot) Validate() error {
	if r.Timeout < 0 {
		return bake.Invalid("WindowsReboot.Timeout", "is negative")
	}
	return nil
}

// DeclareInputs declares nothing, since Timeout does not change the image.
func (r WindowsReboot) DeclareInputs(*bake.Inputs) error { return nil }

// Provision restarts the machine and waits for it. The error wraps
// [context.DeadlineExceeded] if the machine does not return in time.
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
	if _, err := runPowerShell(limited, m, "shutdown", windowsRun{Code: rebootCode}); err != nil && !errors.Is(err, bake.ErrDisconnected) {
		return fmt.Errorf("reboot: %w", err)
	}
	var last error
	err = clock.WaitFor(limited, c, windowsPollInterval, func(ctx context.Context) (bool, error) {
		now, err := uptime(ctx, m)
		if cause := context.Cause(ctx); cause != nil {
			return false, cause
		}
		if last = err; err != nil {
			return false, nil //nolint:nilerr // a machine that is restarting does not respond
		}
		// Without a restart, the uptime would be before plus the time since.
		return now < before/2+c.Now().Sub(start), nil
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("machine did not return within %v: %w", r.Timeout, errors.Join(context.Cause(limited), last))
	}
	return err
}

// uptime returns the uptime of a Windows machine.
func uptime(ctx context.Context, m bake.Machine) (time.Duration, error) {
	out, err := runPowerShell(ctx, m, "uptime", windowsRun{Code: uptimeCode})
	if err != nil {
		return 0, err
	}
	_, number, found := strings.Cut(out, "up ")
	ms, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("parse uptime: %.200q", out)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
