package awsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/bakestone-go/bakestone/bake"
)

// attempts is how often a call is tried, the first time included.
const attempts = 8

// A Schedule says how calls are made.
type Schedule struct {
	Limiter     *Limiter // nil is no limit
	Clock       bake.Clock
	CallTimeout time.Duration // of one attempt
	MaxBackoff  time.Duration // between two attempts
}

// Apply returns a copy of cfg whose clients take a token for every attempt,
// give up an attempt that takes too long, and retry what is worth it. Clients
// made from configs of the same Limiter share it.
func (s Schedule) Apply(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.MaxBackoff = s.MaxBackoff
			o.RateLimiter = ratelimit.None // the buckets are here
		})
	}
	attempt := &attemptMiddleware{limiter: s.Limiter, clock: s.Clock, timeout: s.CallTimeout}
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(attempt, "Retry", middleware.After)
	})
	return cfg
}

// attemptMiddleware runs around every single attempt of a call.
type attemptMiddleware struct {
	limiter *Limiter
	clock   bake.Clock
	timeout time.Duration
}

func (*attemptMiddleware) ID() string { return "BakestoneAttempt" }

func (a *attemptMiddleware) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	action := middleware.GetOperationName(ctx)
	if a.limiter != nil {
		if err := a.limiter.Wait(ctx, action); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
	}
	limited, stop := bake.WithTimeout(ctx, a.clock, a.timeout)
	defer stop()
	out, meta, err := next.HandleFinalize(limited, in)
	if err == nil {
		return out, meta, nil
	}
	if a.limiter != nil && IsThrottle(err) {
		a.limiter.Throttled(action)
	}
	if ctx.Err() == nil && limited.Err() != nil {
		err = &TimeoutError{Action: action, After: a.timeout}
	}
	return out, meta, err
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
// failed otherwise may have taken effect.
func Rejected(err error) bool {
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
