package awsapi

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go/middleware"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// maxAttempts is the number of attempts per call, including the first.
const maxAttempts = 8

// firstBackoff is the longest pause after the first failed attempt. It doubles
// with each further attempt.
const firstBackoff = 500 * time.Millisecond

// A Schedule controls the rate, timeouts and retries of API calls.
type Schedule struct {
	Limiter     *Limiter // if nil, the rate is not limited
	Clock       clock.Clock
	CallTimeout time.Duration // for each attempt
	MaxBackoff  time.Duration // between two attempts; zero means no pause

	// Allow, if not nil, is called immediately before each attempt that may change
	// something, with the call's context. If it fails, nothing is sent, and its error
	// is that of the call.
	Allow func(context.Context) error

	// Report, if not nil, is called after each attempt of a call, with the call's
	// context.
	Report func(context.Context, Attempt)
}

// An Attempt describes an attempt of a call that has ended.
type Attempt struct {
	Call

	Number  int // from 1
	Elapsed time.Duration
	Err     error
}

// Apply returns a copy of cfg whose clients, for any service, take a token for
// each attempt, time out slow attempts and retry transient failures. Clients
// made from configs with the same Limiter share its buckets.
func (s Schedule) Apply(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = maxAttempts
			o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(retryNoCapacity), retry.IsErrorRetryableFunc(retrySnapshotRate)}, o.Retryables...)
			o.RateLimiter = ratelimit.None // the Limiter replaces it
			// The SDK would sleep in real time; attemptMiddleware sleeps on the Clock.
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	}
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *middleware.Stack) error {
		if err := stack.Initialize.Add(callMiddleware{}, middleware.Before); err != nil {
			return err
		}
		if err := stack.Initialize.Add(idMiddleware{}, middleware.Before); err != nil {
			return err
		}
		if err := stack.Deserialize.Add(responseMiddleware{}, middleware.After); err != nil { // before decoding
			return err
		}
		if s.Allow != nil {
			// The last of all: it precedes the request, not the signing, which may wait
			// for credentials.
			if err := stack.Deserialize.Add(allowMiddleware{s.Allow}, middleware.After); err != nil {
				return err
			}
		}
		return stack.Finalize.Insert(&attemptMiddleware{s}, "Retry", middleware.After)
	})
	return cfg
}

// A call holds the state shared by the sequential attempts of one API call.
type call struct {
	resources int
	attempts  int
	foreign   int  // attempts that ended with a response that is not of AWS
	uncertain bool // an attempt may have taken effect
	refused   bool // by Schedule.Allow
}

type callKey struct{}

// callMiddleware runs once for each call.
type callMiddleware struct{}

func (callMiddleware) ID() string { return "BakestoneCall" }

func (callMiddleware) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	c := &call{resources: resourcesOf(in.Parameters)}
	out, meta, err := next.HandleInitialize(middleware.WithStackValue(ctx, callKey{}, c), in)
	if c.uncertain && Rejected(err) {
		err = &uncertainError{err}
	}
	return out, meta, err
}

// attemptMiddleware runs once for each attempt of a call.
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
	started := a.Clock.Now()
	out, meta, err := next.HandleFinalize(limited, in)
	if ok && c.refused {
		return out, meta, err
	}
	if a.Report != nil {
		done := Attempt{Call: what, Number: 1, Elapsed: a.Clock.Now().Sub(started), Err: err}
		if ok {
			done.Number = c.attempts
		}
		a.Report(ctx, done)
	}
	if err == nil {
		return out, meta, nil
	}
	if a.Limiter != nil && isThrottle(err) {
		a.Limiter.Throttled(what)
	}
	if ctx.Err() == nil && limited.Err() != nil {
		err = &TimeoutError{Action: what.Action, After: a.CallTimeout}
	}
	if ok && !Rejected(err) && !isThrottle(err) {
		c.uncertain = true
	}
	return out, meta, err
}

// allowMiddleware runs immediately before each request.
type allowMiddleware struct{ allow func(context.Context) error }

func (allowMiddleware) ID() string { return "BakestoneAllow" }

func (a allowMiddleware) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (out middleware.DeserializeOutput, meta middleware.Metadata, err error) {
	what := Call{Service: awsmiddleware.GetServiceID(ctx), Action: middleware.GetOperationName(ctx)}
	if !what.Reads() {
		if err := a.allow(ctx); err != nil {
			if c, ok := middleware.GetStackValue(ctx, callKey{}).(*call); ok {
				c.refused = true
			}
			return out, meta, err
		}
	}
	return next.HandleDeserialize(ctx, in)
}

// backoff returns the pause after the given number of failed attempts, with a
// random part so that calls that failed together are not retried together.
func (s Schedule) backoff(failed int) time.Duration {
	if failed == 0 || s.MaxBackoff <= 0 {
		return 0
	}
	longest := min(s.MaxBackoff, firstBackoff<<(failed-1))
	return longest/2 + rand.N(longest/2+1) //nolint:gosec // G404: not a secret
}
