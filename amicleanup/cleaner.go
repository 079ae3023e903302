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

// A Cleaner retires the images of its targets by a policy. It holds no state;
// its methods may be called concurrently.
type Cleaner struct {
	// Targets are the regions and accounts to clean up. At least one is
	// required.
	Targets []Target

	// Policy decides what stays. The zero value keeps everything.
	Policy Policy

	// Parallel is the number of images of a target that are changed at the same
	// time. Zero means 4. Call limits apply regardless.
	Parallel int

	// SettleTime is how long EC2 may take to show new resources and tags. Apply
	// does not decide earlier than this after the plan was made, so it sees
	// everything that existed then; Undo waits as long after the run that it
	// takes back. Zero means 30 seconds.
	SettleTime time.Duration

	// Details adds the sizes of the snapshots to remove and stale references to
	// each plan, for reports.
	Details bool

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock

	// Log receives every change. If nil, changes are not logged.
	Log *slog.Logger
}

// Validate returns the joined errors of the targets and the policy.
func (c *Cleaner) Validate() error {
	errs := []error{validateTargets(c.Targets), c.Policy.Validate()}
	if c.Parallel < 0 {
		errs = append(errs, bake.Invalid("Cleaner.Parallel", "must not be negative"))
	}
	if c.SettleTime < 0 {
		errs = append(errs, bake.Invalid("Cleaner.SettleTime", "must not be negative"))
	}
	return errors.Join(errs...)
}

// Plan reads all targets and decides about every selected image. It changes
// nothing.
//
// Besides a plan it may return an error: one [*TargetError] for each target or
// source of references that could not be read, wrapping [ErrUsageUnknown] for a
// source, and [ErrNothingSelected] if there are images and the policy selects
// none. The plan then keeps everything that the missing facts could protect.
func (c *Cleaner) Plan(ctx context.Context) (*Plan, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	inv := c.read(ctx, nil)
	plan := c.Policy.evaluate(inv, nil, 0)
	if c.Details {
		readDetails(ctx, inv, plan)
	}
	var errs []error
	for i := range inv.targets {
		errs = append(errs, inv.targets[i].errs...)
	}
	if len(c.Policy.Keep)+len(c.Policy.Remove) > 0 {
		errs = append(errs, plan.nothingSelected())
	}
	return plan, errors.Join(errs...)
}

func (c *Cleaner) clock() clock.Clock { return clock.OrSystem(c.Clock) }

const defaultSettleTime = 30 * time.Second

// settled waits until EC2 shows everything that existed at a time. The error is
// ctx's cause.
func (c *Cleaner) settled(ctx context.Context, at time.Time) error {
	most := cmp.Or(c.SettleTime, defaultSettleTime)
	left := min(at.Add(most).Sub(c.clock().Now()), most)
	if left <= 0 {
		return nil
	}
	c.log().LogAttrs(ctx, slog.LevelInfo, "amicleanup waits for EC2 to show recent changes", slog.Duration("wait", left))
	return c.clock().Sleep(ctx, left)
}

func (c *Cleaner) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func (c *Cleaner) target(account, region string) (Target, bool) {
	for _, t := range c.Targets {
		if t.Account == account && t.region() == region {
			return t, true
		}
	}
	return Target{}, false
}
