package ec2

import (
	"context"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// EC2 is eventually consistent: what one call has created another may not see
// for some seconds. The three ways of living with that are here.

// retryEvery is the time between two looks.
const retryEvery = time.Second

// settled looks until found says true, but no longer than EC2 takes to show
// what it created. That nothing was found is no error.
func (r *region) settled(ctx context.Context, found func(context.Context) (bool, error)) error {
	until := r.clock.Now().Add(r.settle)
	return clock.WaitFor(ctx, r.clock, r.lookEvery(), func(ctx context.Context) (bool, error) {
		over := !r.clock.Now().Before(until) // the last look begins when all has settled
		ok, err := found(ctx)
		return ok || over, err
	})
}

// onceVisible repeats call while EC2 says that something does not exist which
// was created before.
func (r *region) onceVisible(ctx context.Context, call func(context.Context) error) error {
	var last error
	err := r.settled(ctx, func(ctx context.Context) (bool, error) {
		last = call(ctx)
		if isNotFound(last) {
			return false, nil
		}
		return true, last
	})
	if err != nil {
		return err
	}
	return last
}

// gone calls what removes something that exists, or existed. If EC2 still says
// that it does not when everything has settled, it is gone.
func (r *region) gone(ctx context.Context, remove func(context.Context) error) error {
	err := r.onceVisible(ctx, remove)
	if isNotFound(err) {
		return nil
	}
	return err
}

func (r *region) lookEvery() time.Duration { return min(retryEvery, max(r.settle, time.Millisecond)) }

// isNotFound reports whether EC2 says that a thing does not exist, now or any
// more.
func isNotFound(err error) bool {
	code := awsapi.Code(err)
	return strings.HasSuffix(code, ".NotFound") || code == "InvalidAMIID.Unavailable" || code == "NoSuchEntity"
}
