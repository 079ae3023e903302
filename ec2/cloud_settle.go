package ec2

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// EC2 is eventually consistent: a new resource may be invisible to other calls for
// some seconds. This file has the three ways to handle this.

// retryEvery is the time between two attempts.
const retryEvery = time.Second

// settled polls found until it reports true or SettleTime elapses. Not finding
// anything is not an error.
func (r *region) settled(ctx context.Context, found func(context.Context) (bool, error)) error {
	until := r.clock.Now().Add(r.settle)
	return clock.WaitFor(ctx, r.clock, r.lookEvery(), func(ctx context.Context) (bool, error) {
		over := !r.clock.Now().Before(until) // the last attempt begins after SettleTime
		ok, err := found(ctx)
		return ok || over, err
	})
}

// onceVisible repeats call while EC2 reports that a resource created before does not
// exist.
func (r *region) onceVisible(ctx context.Context, call func(context.Context) error) error {
	var last error
	err := r.settled(ctx, func(ctx context.Context) (bool, error) {
		last = call(ctx)
		if isNotFound(last) {
			return false, nil
		}
		return true, last
	})
	switch {
	case err != nil:
		return err
	case isNotFound(last):
		return fmt.Errorf("not shown within CloudOptions.SettleTime (%v): %w", r.settle, last)
	}
	return last
}

// gone calls remove for a resource that exists or existed. If EC2 still reports
// after SettleTime that it does not exist, it has been removed.
func (r *region) gone(ctx context.Context, remove func(context.Context) error) error {
	err := r.onceVisible(ctx, remove)
	if isNotFound(err) {
		return nil
	}
	return err
}

func (r *region) lookEvery() time.Duration { return min(retryEvery, max(r.settle, time.Millisecond)) }

// isNotFound reports whether err says that a resource does not exist.
func isNotFound(err error) bool {
	code := awsapi.Code(err)
	return strings.HasSuffix(code, ".NotFound") || code == "InvalidAMIID.Unavailable" || code == "NoSuchEntity"
}
