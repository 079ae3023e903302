package guest

import (
	"context"

	"github.com/bakestone-go/bakestone/bake"
)

// Watch returns m with each call made by during, which may end the context of the call
// when the machine has ended, and explain its error. Close is called directly.
func Watch(m bake.Machine, during func(ctx context.Context, call func(context.Context) error) error) bake.Machine {
	return watched{m, during}
}

type watched struct {
	machine bake.Machine
	during  func(ctx context.Context, call func(context.Context) error) error
}

var (
	_ bake.Machine    = watched{}
	_ bake.SSHReacher = watched{}
)

// Unwrap returns the machine.
func (m watched) Unwrap() bake.Machine { return m.machine }

func (m watched) ReachSSH(ctx context.Context, use func(context.Context, bake.SSHAccess) error) error {
	return m.during(ctx, func(ctx context.Context) error { return bake.ReachSSH(ctx, m.machine, use) })
}

func (m watched) Run(ctx context.Context, cmd *bake.Cmd) error {
	return m.during(ctx, func(ctx context.Context) error { return m.machine.Run(ctx, cmd) })
}

func (m watched) Put(ctx context.Context, up *bake.Upload) error {
	return m.during(ctx, func(ctx context.Context) error { return m.machine.Put(ctx, up) })
}

func (m watched) Get(ctx context.Context, down *bake.Download) error {
	return m.during(ctx, func(ctx context.Context) error { return m.machine.Get(ctx, down) })
}

func (m watched) Reboot(ctx context.Context, cmd *bake.Cmd) error {
	return m.during(ctx, func(ctx context.Context) error { return m.machine.Reboot(ctx, cmd) })
}

func (m watched) Facts(ctx context.Context) (facts bake.Facts, err error) {
	err = m.during(ctx, func(ctx context.Context) error {
		facts, err = m.machine.Facts(ctx)
		return err
	})
	return facts, err
}

func (m watched) Close() error { return m.machine.Close() }
