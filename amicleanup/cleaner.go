package amicleanup

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/bakestone-go/bakestone/bake"
)

// A Cleaner retires the images of some targets by a policy. It holds no state;
// its methods may be called at the same time.
type Cleaner struct {
	// Targets are where to look. At least one is required.
	Targets []Target

	// Policy says what stays. The zero value keeps everything.
	Policy Policy

	// Clock is the time that images have their age by, and that Apply waits
	// on. Nil is the real time.
	Clock bake.Clock

	// Log is told of every image that is removed or not. Nil discards it.
	Log *slog.Logger
}

// Validate reports, joined, what is wrong with the targets and the policy.
func (c *Cleaner) Validate() error {
	return errors.Join(validateTargets(c.Targets), c.Policy.Validate())
}

// Plan reads all targets and decides. It changes nothing. When some targets
// cannot be read, there is a plan for the others besides the error.
func (c *Cleaner) Plan(ctx context.Context) (*Plan, error) {
	inv, err := Read(ctx, c.Targets, &c.Policy, c.clock())
	if inv == nil {
		return nil, err
	}
	plan, evalErr := c.Policy.Evaluate(inv)
	return plan, errors.Join(err, evalErr)
}

// Apply carries plan out; targets are worked on at the same time, the images
// of one target one after the other. There is a result besides an error,
// unless the plan as a whole cannot be applied. The policy of the cleaner is
// not asked again, but if it has sources of references they are read again,
// and an image that is in use now is skipped. The sources that the plan was
// made with must be among them.
func (c *Cleaner) Apply(ctx context.Context, plan *Plan) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if plan.Version != planVersion {
		return nil, bake.Invalid("Plan.Version", "is %d; this version reads %d", plan.Version, planVersion)
	}
	result := &Result{Started: c.clock().Now().UTC()}
	runs := make([]*targetRun, len(plan.Targets))
	var wg sync.WaitGroup
	for i := range plan.Targets {
		runs[i] = c.newRun(&plan.Targets[i])
		wg.Go(func() { runs[i].apply(ctx) })
	}
	wg.Wait()
	var errs []error
	for _, run := range runs {
		result.Images = append(result.Images, run.results...)
		errs = append(errs, run.errs...)
	}
	if result.Count(NotTried) > 0 && ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	result.Finished = c.clock().Now().UTC()
	return result, errors.Join(errs...)
}

func (c *Cleaner) clock() bake.Clock {
	if c.Clock == nil {
		return bake.RealTime()
	}
	return c.Clock
}

func (c *Cleaner) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func (c *Cleaner) target(account, region string) (Target, bool) {
	for _, t := range c.Targets {
		if t.Account == account && t.Region == region {
			return t, true
		}
	}
	return Target{}, false
}
