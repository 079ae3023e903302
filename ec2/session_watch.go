package ec2

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// An InstanceStateError reports that the instance stopped running while the build
// needed it. It matches [bake.ErrMachineEnded].
type InstanceStateError struct {
	ID     string
	State  string // EC2's instance state: "terminated", "stopped"
	Code   string // EC2's reason code: "Server.SpotInstanceTermination"; empty if unknown
	Reason string // EC2's text
}

// Error returns the state and its reason.
func (e *InstanceStateError) Error() string {
	if strings.Contains(e.Reason, e.Code) {
		return fmt.Sprintf("instance %s is %s: %s", e.ID, e.State, e.Reason)
	}
	return fmt.Sprintf("instance %s is %s: %s (%s)", e.ID, e.State, e.Reason, e.Code)
}

// Is reports whether target is bake.ErrMachineEnded.
func (e *InstanceStateError) Is(target error) bool { return target == bake.ErrMachineEnded }

// notRunning returns an error if the state of an instance is not pending or running.
func notRunning(i ec2types.Instance) error {
	if i.State == nil || i.State.Name == ec2types.InstanceStateNamePending || i.State.Name == ec2types.InstanceStateNameRunning {
		return nil
	}
	err := &InstanceStateError{ID: aws.ToString(i.InstanceId), State: string(i.State.Name), Reason: stateReason(i)}
	if i.StateReason != nil {
		err.Code = aws.ToString(i.StateReason.Code)
	}
	return err
}

// watchEvery is the longest time between two requests for the state of an instance
// that a build is connected to, in multiples of CloudOptions.PollInterval.
const watchEvery = 2.5

// lookTimeout bounds the request for the state after a connection was lost.
const lookTimeout = 20 * time.Second

// A watch observes an instance through the EC2 API while a build uses a connection to
// it: the connection may stay silent after the instance has ended. It shares the
// requests of the builds that wait for instances.
type watch struct {
	region *region
	id     string
}

// during calls f with a context that ends when the instance no longer runs. The error
// is then its state and wraps bake.ErrDisconnected. A lost connection may be the first
// sign of this, so during asks EC2 before it returns one. Between two calls the
// instance may be stopped and started.
func (w watch) during(ctx context.Context, f func(ctx context.Context) error) error {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	missing := w.region.absence("instance", w.id)
	stop := w.region.instances.Watch(ctx, w.id, w.region.pollIntervals(watchEvery), func(i ec2types.Instance, found bool) {
		if ended := notRunning(i); ended != nil { // it is nil if EC2 does not show the instance
			cancel(ended)
		}
		if missing.check(found, true) != nil {
			cancel(w.forgotten())
		}
	})
	defer stop()
	err := f(limited)
	cause := context.Cause(limited)
	if err == nil || ctx.Err() != nil {
		return err
	}
	lost := errors.Is(err, bake.ErrDisconnected)
	if ended, ok := errors.AsType[*InstanceStateError](cause); ok {
		if !lost {
			err = bake.ErrDisconnected
		}
		return fmt.Errorf("%w: %w", ended, err)
	}
	if !lost {
		return err
	}
	if ended, ok := errors.AsType[*InstanceStateError](w.look(ctx)); ok {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err // it says more than a failed request
}

// forgotten returns the error of an instance that EC2 shows no longer, as about an hour
// after it was terminated.
func (w watch) forgotten() error {
	return &InstanceStateError{
		ID: w.id, State: string(ec2types.InstanceStateNameTerminated),
		Reason: fmt.Sprintf("EC2 has not shown it for CloudOptions.SettleTime (%v)", w.region.settle),
	}
}

// look returns the error of an instance that does not run.
func (w watch) look(ctx context.Context) error {
	limited, stop := clock.WithTimeout(ctx, w.region.clock, lookTimeout)
	defer stop()
	return w.region.instances.Wait(limited, w.id, func(i ec2types.Instance, _ bool) (bool, error) { return true, notRunning(i) })
}

// relaunches reports whether the instance ended by a fault of EC2's, or its guest was
// cleaned by a process that ended, which another launch may help with.
func relaunches(cause error) bool {
	ended, ok := errors.AsType[*InstanceStateError](cause)
	return errors.Is(cause, errCleaned) || ok && strings.HasPrefix(ended.Code, "Server.") && !strings.HasPrefix(ended.Code, "Server.SpotInstance")
}
