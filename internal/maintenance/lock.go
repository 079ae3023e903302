package maintenance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// ErrLocked is wrapped by the error of taking a lock that another process holds.
var ErrLocked = errors.New("lock held by another process")

// A Lock is the Lock of a service.
type Lock interface {
	Acquire(ctx context.Context) (release func(context.Context) error, err error)
}

// releaseTimeout limits releasing a lock, also after the context has ended.
const releaseTimeout = time.Minute

// Acquire takes a lock, or nothing if it is nil. The result releases it.
func Acquire(ctx context.Context, c clock.Clock, l Lock) (release func() error, err error) {
	if l == nil {
		return func() error { return nil }, nil
	}
	taken, err := l.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return func() error {
		ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), c, releaseTimeout)
		defer stop()
		if err := taken(ctx); err != nil {
			return fmt.Errorf("release lock: %w", err)
		}
		return nil
	}, nil
}
