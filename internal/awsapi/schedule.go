package awsapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// attempts is how often a call is tried, the first time included.
const attempts = 8

// firstBackoff is the longest pause after the first failed attempt; it doubles
// for each further one.
const firstBackoff = 500 * time.Millisecond

// A Schedule says how calls are made.
type Schedule struct {
	Limiter     *Limiter // nil is no limit
	Clock       clock.Clock
	CallTimeout time.Duration // of one attempt
	MaxBackoff  time.Duration // between two attempts
}

// Apply returns a copy of cfg whose clients, of whichever service, take a token
// for every attempt, give up an attempt that takes too long, and retry what is
// worth it. Clients made from configs of the same Limiter share it.
func (s Schedule) Apply(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(notCapacity), retry.IsErrorRetryableFunc(tooSoon)}, o.Retryables...)
			o.RateLimiter = ratelimit.None // the buckets are here
			// The SDK would pause in real time; ours is before the next attempt.
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *middleware.Stack) error {
		if err := stack.Initialize.Add(callMiddleware{}, middleware.Before); err != nil {
			return err
		}
		return stack.Finalize.Insert(&attemptMiddleware{s}, "Retry", middleware.After)
	})
	return cfg
}

// A call is what its attempts have in common. They follow each other.
type call struct {
	resources int
	attempts  int
	doubtful  bool // an attempt may have taken effect
}

type callKey struct{}

// callMiddleware runs once for each call.
type callMiddleware struct{}

func (callMiddleware) ID() string { return "BakestoneCall" }

func (callMiddleware) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	c := &call{resources: resourcesOf(in.Parameters)}
	out, meta, err := next.HandleInitialize(middleware.WithStackValue(ctx, callKey{}, c), in)
	if c.doubtful && Rejected(err) {
		err = &doubtfulError{err}
	}
	return out, meta, err
}

// attemptMiddleware runs around every single attempt of a call.
type attemptMiddleware struct{ Schedule }

func (*attemptMiddleware) ID() string { return "BakestoneAttempt" }

func (a *attemptMiddleware) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	what := Call{
		Region: awsmiddleware.GetRegion(ctx), Service: awsmiddleware.GetServiceID(ctx), Action: middleware.GetOperationName(ctx),
	}
	c, ok := middleware.GetStackValue(ctx, callKey{}).(*call)
	if ok {
		what.Resources = c.resources
		if err := a.Clock.Sleep(ctx, a.backoff(c.attempts)); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
		c.attempts++
	}
	if a.Limiter != nil {
		if err := a.Limiter.Wait(ctx, what); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
	}
	limited, stop := clock.WithTimeout(ctx, a.Clock, a.CallTimeout)
	defer stop()
	out, meta, err := next.HandleFinalize(limited, in)
	if err == nil {
		return out, meta, nil
	}
	if a.Limiter != nil && IsThrottle(err) {
		a.Limiter.Throttled(what)
	}
	if ctx.Err() == nil && limited.Err() != nil {
		err = &TimeoutError{Action: what.Action, After: a.CallTimeout}
	}
	if ok && !Rejected(err) && !IsThrottle(err) {
		c.doubtful = true
	}
	return out, meta, err
}

// backoff is the pause after so many failed attempts: between half of it and
// the whole, so that a crowd that failed together does not return together.
func (s Schedule) backoff(failed int) time.Duration {
	if failed == 0 || s.MaxBackoff <= 0 {
		return 0
	}
	longest := min(s.MaxBackoff, firstBackoff<<(failed-1))
	return longest/2 + rand.N(longest/2+1) //nolint:gosec // G404: nothing secret about it
}

// A TimeoutError is an attempt of a call that was not answered in time. The
// call may have taken effect.
type TimeoutError struct {
	Action string
	After  time.Duration
}

// Error says which call was not answered for how long.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s was not answered within %v", e.Action, e.After)
}

// RetryableError makes the SDK's retryer try again.
func (e *TimeoutError) RetryableError() bool { return true }

// A doubtfulError is a call whose last attempt AWS refused, after one that was
// not answered and may have taken effect.
type doubtfulError struct{ error }

func (e *doubtfulError) Error() string {
	return e.error.Error() + " (an attempt before was not answered, and may have taken effect)"
}

func (e *doubtfulError) Unwrap() error { return e.error }

// Code returns the API error code of err, empty when AWS did not answer with
// one.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// IsThrottle reports whether AWS refused a call for its rate.
func IsThrottle(err error) bool {
	_, throttle := retry.DefaultThrottleErrorCodes[Code(err)]
	return throttle
}

// Rejected reports whether AWS answered that it did not do what was asked: an
// error of the caller's, not of the service or of the network. A call that
// failed otherwise, in any of its attempts, may have taken effect.
func Rejected(err error) bool {
	if _, doubtful := errors.AsType[*doubtfulError](err); doubtful {
		return false
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorFault() != smithy.FaultServer && !IsThrottle(err) &&
		api.ErrorCode() != "" && !serverCodes(api.ErrorCode())
}

// serverCodes are the codes of EC2's own failures; the query protocol does not
// tell the SDK whose fault an error is.
func serverCodes(code string) bool {
	switch code {
	case "InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable", "ServerInternal", "RequestTimeout":
		return true
	}
	return false
}

// NoCapacity reports whether code is that of a launch for which EC2 has no
// capacity. Another type or zone may have some; the same call again would not.
func NoCapacity(code string) bool {
	switch code {
	case "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
		"InsufficientCapacityOnHost", "ReservationCapacityExceeded", "UnfulfillableCapacity",
		"Unsupported", "SpotMaxPriceTooLow":
		return true
	}
	return false
}

// notCapacity keeps the SDK from repeating a call for which there is no
// capacity, because EC2 answers some of those with status 500.
func notCapacity(err error) aws.Ternary {
	if NoCapacity(Code(err)) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// tooSoon has the SDK repeat the snapshot of a volume of which there was one in
// the last 15 seconds, such as by an attempt whose answer was lost.
func tooSoon(err error) aws.Ternary {
	if Code(err) == "SnapshotCreationPerVolumeRateExceeded" {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}
