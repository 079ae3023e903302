package sshmachine

import (
	"context"
	"errors"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Reboot restarts the machine with cmd, or with shutdown as root when cmd is
// nil, and returns when it can be reached under a new boot id. A machine that
// has no boot id must have dropped the connection. ConnectTimeout bounds the
// wait.
func (m *Machine) Reboot(ctx context.Context, cmd *bake.Cmd) error {
	before, err := m.Facts(ctx)
	if err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	if m.cfg.ConnectTimeout > 0 {
		limited, stop := clock.WithTimeout(ctx, m.cfg.Clock, m.cfg.ConnectTimeout)
		defer stop()
		ctx = limited
	}
	last, err := m.conn(ctx)
	if err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	if cmd == nil {
		cmd = &bake.Cmd{Line: "shutdown -r now || reboot", Sudo: true}
	}
	var exit *bake.ExitError
	switch err := m.Run(ctx, cmd); {
	case errors.As(err, &exit) && exit.Signal != "":
		// The machine ends the command that ends the machine.
	case err != nil && !errors.Is(err, bake.ErrDisconnected):
		return fmt.Errorf("reboot: %w", err)
	}
	for {
		if err := m.awaitLoss(ctx, last); err != nil {
			return fmt.Errorf("reboot: the machine does not go down: %w", err)
		}
		if last, err = m.conn(ctx); err != nil {
			return fmt.Errorf("reboot: %w", err)
		}
		now, err := m.Facts(ctx)
		switch {
		case err == nil && (now.BootID != before.BootID || before.BootID == ""):
			return nil
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("reboot: %w", err)
		}
		// A machine that still goes down can answer once more, or break off.
	}
}

// awaitLoss waits until the connection is lost, and asks after it now and then:
// a machine that vanishes says no goodbye.
func (m *Machine) awaitLoss(ctx context.Context, c *conn) error {
	for c.alive() {
		if !c.responds(ctx, m.cfg.AttemptTimeout) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			c.drop(errSilent)
			return nil
		}
		if err := m.cfg.Clock.Sleep(ctx, m.cfg.RetryInterval); err != nil {
			return err
		}
	}
	return nil
}
