package provision

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// ownDirPrefix begins the name of every directory made here; baketest knows
// them by it.
const ownDirPrefix = "bakestone-"

const (
	// removeLimit bounds the removal of a directory after the build's end.
	removeLimit = 2 * time.Minute

	// failedLimit bounds it when the provisioner failed already: the machine may
	// be out of reach, and will hardly be used.
	failedLimit = 15 * time.Second

	// returnLimit bounds it for a machine that left as expected and may be
	// booting.
	returnLimit = 10 * time.Minute

	// removeTries is how often a connection may be lost during the removal, and
	// removePause the wait before the next try: a machine that goes down takes
	// new connections, too, for a while.
	removeTries = 5
	removePause = time.Second
)

// An ownDir is a directory on the machine that only its user can enter, for
// the length of one provisioner.
type ownDir struct {
	path string
	sudo bool
	lost bool // the connection was lost as expected
}

// inOwnDir makes a directory in parent, calls use and removes it again,
// whatever came, also after the end of ctx.
func inOwnDir(ctx context.Context, m bake.Machine, parent string, sudo bool, use func(*ownDir) error) (err error) {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// The name cannot be guessed, so that nobody on the machine can be there
	// first.
	dir := &ownDir{path: path.Join(parent, ownDirPrefix+rand.Text()), sudo: sudo}
	err = m.Run(ctx, &bake.Cmd{Args: []string{"mkdir", "-m", "0700", dir.path}, Sudo: sudo})
	if _, exited := errors.AsType[*bake.ExitError](err); exited {
		return fmt.Errorf("make a directory for the script: %w", err)
	}
	// Without an exit status the directory may be there.
	defer func() {
		removeErr := dir.remove(ctx, m, err != nil)
		switch {
		case removeErr == nil:
		case err == nil:
			err = fmt.Errorf("remove %s: %w", dir.path, removeErr)
		case errors.Is(err, bake.ErrDisconnected) && errors.Is(removeErr, bake.ErrDisconnected):
			// The machine is gone: once is enough to say it.
		default:
			err = errors.Join(err, fmt.Errorf("remove %s: %w", dir.path, removeErr))
		}
	}()
	if err != nil {
		return fmt.Errorf("make a directory for the script: %w", err)
	}
	return use(dir)
}

func (d *ownDir) remove(ctx context.Context, m bake.Machine, failed bool) error {
	limit := removeLimit
	switch {
	case failed:
		limit = failedLimit
	case d.lost:
		limit = returnLimit
	}
	c := bake.RunFromContext(ctx).Clock
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), c, limit)
	defer stop()
	for try := 1; ; try++ {
		err := m.Run(ctx, &bake.Cmd{Args: []string{"rm", "-rf", d.path}, Sudo: d.sudo})
		if try == removeTries || !errors.Is(err, bake.ErrDisconnected) {
			return err
		}
		if c.Sleep(ctx, removePause) != nil {
			return err
		}
	}
}
