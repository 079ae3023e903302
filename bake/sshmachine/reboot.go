package sshmachine

import (
	"context"
	"errors"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Reboot implements [bake.Machine]. If cmd is nil, it runs shutdown as root. It
// returns once the machine is reachable with a new boot id or, on a machine without
// boot ids, once it is reachable after dropping the connection. The wait is limited
// by [Config.ConnectTimeout].
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
		cmd = &bake.Cmd{Line: "PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; shutdown -r now || reboot", Sudo: true}
	}
	var exit *bake.ExitError
	switch err := m.Run(ctx, cmd); {
	case errors.As(err, &exit) && exit.Signal != "":
		// The shutdown killed the command that began it.
	case err != nil && !errors.Is(err, bake.ErrDisconnected):
		return fmt.Errorf("reboot: %w", err)
	}
	for {
		if err := m.awaitLoss(ctx, last); err != nil {
			return fmt.Errorf("reboot: wait for shutdown: %w", err)
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
		// While shutting down the machine may still accept a connection.
	}
}

// awaitLoss waits until the connection is lost. It pings the machine meanwhile,
// since a machine that vanishes may not close the connection.
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
