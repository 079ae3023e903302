package amicleanup

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Cleaner retires the images of some targets by a policy. It holds no state;
// its methods may be called at the same time.
type Cleaner struct {
	// Targets are where to look. At least one is required.
	Targets []Target

	// Policy says what stays. The zero value keeps everything.
	Policy Policy

	// Parallel is how many images of a target are worked on at the same time.
	// Zero is 4. The client's own limits hold besides.
	Parallel int

	// SettleTime is how long EC2 may take to show what is new and what was
	// tagged. Nothing is changed by a plan that is younger: Apply waits, and
	// then sees what there was when the plan was made. Undo waits as long after
	// the run that it takes back. Zero is half a minute.
	SettleTime time.Duration

	// Clock is the time that images have their age by, and that Apply waits
	// on. Nil is the real time.
	Clock clock.Clock

	// Log is told of every image that is removed or not. Nil discards it.
	Log *slog.Logger
}

// Validate reports, joined, what is wrong with the targets and the policy.
func (c *Cleaner) Validate() error {
	errs := []error{validateTargets(c.Targets), c.Policy.Validate(), validateSources(c.Targets, &c.Policy)}
	if c.Parallel < 0 {
		errs = append(errs, bake.Invalid("Cleaner.Parallel", "must not be negative"))
	}
	if c.SettleTime < 0 {
		errs = append(errs, bake.Invalid("Cleaner.SettleTime", "must not be negative"))
	}
	return errors.Join(errs...)
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

func (c *Cleaner) clock() clock.Clock {
	if c.Clock == nil {
		return clock.System()
	}
	return c.Clock
}

const defaultSettleTime = 30 * time.Second

// settled waits until EC2 shows what there was at that time. The error is ctx's
// cause.
func (c *Cleaner) settled(ctx context.Context, at time.Time) error {
	if left := at.Add(cmp.Or(c.SettleTime, defaultSettleTime)).Sub(c.clock().Now()); left > 0 {
		return c.clock().Sleep(ctx, left)
	}
	return nil
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
