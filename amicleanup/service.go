package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/adhocore/gronx"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Service is a Cleaner that runs by itself: at the times of its schedule it
// reads, plans, asks, applies and reports. Several processes may run the same
// service with one Lock; one of them does each run.
type Service struct {
	// Cleaner does the work, with its clock and its log. It is required.
	Cleaner *Cleaner

	// Schedule is when to run, as a cron expression of five fields: minute,
	// hour, day of the month, month, day of the week. "17 3 * * *" is every
	// night at 3:17; "@daily", "@hourly" and the like are known. It is required
	// by Serve.
	Schedule string

	// In is the time zone of Schedule and Hours. Nil is UTC.
	In *time.Location

	// Jitter delays each run by a random time up to it, so that many services
	// do not ask EC2 at the same moment. Zero is none.
	Jitter time.Duration

	// Hours are when images may be changed: when someone is there to see what
	// breaks. A run outside of them plans and reports only; one that is at work
	// when they end stops between two images. Nil is always.
	Hours *Hours

	// Lock keeps two runs from being at the same time. A run that does not get
	// it is left out. Nil is no lock.
	Lock Lock

	// Review looks at each plan before it is applied; false leaves it at the
	// plan. Nil applies.
	Review func(ctx context.Context, plan *Plan) (apply bool, err error)

	// Orphans, when set, also deletes snapshots that nothing has a use for,
	// after the images. Review is not asked about them.
	Orphans *OrphanPolicy

	// Report is told of every run when it is over. Nil leaves it at the log.
	Report func(ctx context.Context, round *Round)

	// Price is what a GiB of snapshots costs in a month, for the report. Zero
	// is DefaultPrice.
	Price float64
}

// A Round is one run of a Service.
type Round struct {
	Started time.Time
	Plan    *Plan         // nil if the targets could not be asked at all
	Result  *Result       // nil if nothing was to be applied
	Orphans *OrphanResult // nil without Service.Orphans, and if nothing was to be applied
	Report  *Report       // nil without a plan
	Held    string        // why nothing was applied though there was a plan; empty if it was
	Err     error         // all that went wrong, joined
}

// Validate reports, joined, what is wrong with the service and its cleaner.
func (s *Service) Validate() error {
	var errs []error
	if s.Cleaner == nil {
		errs = append(errs, bake.Invalid("Service.Cleaner", "is required"))
	} else {
		errs = append(errs, s.Cleaner.Validate())
	}
	if s.Schedule != "" && !gronx.IsValid(s.Schedule) {
		errs = append(errs, bake.Invalid("Service.Schedule", "%q is no cron expression", s.Schedule))
	}
	if s.Jitter < 0 {
		errs = append(errs, bake.Invalid("Service.Jitter", "must not be negative"))
	}
	if s.Hours != nil {
		errs = append(errs, s.Hours.Validate())
	}
	if s.Orphans != nil {
		errs = append(errs, s.Orphans.Validate())
	}
	return errors.Join(errs...)
}

// Serve runs by the schedule until ctx ends, and returns why it did. What goes
// wrong in a run ends that run only: it is in the log and in the Round that
// Report gets. A run that is due while another is at work is left out.
func (s *Service) Serve(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Schedule == "" {
		return bake.Invalid("Service.Schedule", "is required")
	}
	for {
		next, err := s.next(s.Cleaner.clock().Now())
		if err != nil {
			return err
		}
		if err := s.Cleaner.clock().Sleep(ctx, next.Sub(s.Cleaner.clock().Now())); err != nil {
			return err
		}
		if round := s.Once(ctx); ctx.Err() == nil && round.Err != nil {
			s.Cleaner.log().LogAttrs(ctx, slog.LevelError, "amicleanup service", slog.String("error", round.Err.Error()))
		}
	}
}

// next is when to run after now.
func (s *Service) next(now time.Time) (time.Time, error) {
	next, err := gronx.NextTickAfter(s.Schedule, now.In(s.location()), false)
	if err != nil {
		return time.Time{}, bake.Invalid("Service.Schedule", "%q: %w", s.Schedule, err)
	}
	if s.Jitter > 0 {
		next = next.Add(rand.N(s.Jitter)) //nolint:gosec // any spread will do
	}
	return next, nil
}

func (s *Service) location() *time.Location {
	if s.In == nil {
		return time.UTC
	}
	return s.In
}

// Once runs once, now. Besides Serve it is for jobs that something else starts,
// such as CI.
func (s *Service) Once(ctx context.Context) *Round {
	round := &Round{}
	if err := s.Validate(); err != nil {
		round.Err = err
		return round
	}
	round.Started = s.Cleaner.clock().Now().UTC()
	round.Err = s.locked(ctx, func() error { return s.round(ctx, round) })
	if errors.Is(round.Err, ErrLocked) {
		round.Held = round.Err.Error()
		round.Err = nil
	}
	if s.Report != nil {
		s.Report(ctx, round)
	}
	return round
}

// releaseTimeout bounds giving the lock back, also when the context has ended.
const releaseTimeout = time.Minute

func (s *Service) locked(ctx context.Context, do func() error) (err error) {
	if s.Lock == nil {
		return do()
	}
	release, err := s.Lock.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() {
		ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), s.Cleaner.Clock, releaseTimeout)
		defer stop()
		if released := release(ctx); released != nil {
			err = errors.Join(err, fmt.Errorf("give the lock back: %w", released))
		}
	}()
	return do()
}

func (s *Service) round(ctx context.Context, round *Round) error {
	c := s.Cleaner
	inv, err := Read(ctx, c.Targets, &c.Policy, c.clock())
	if inv == nil {
		return err
	}
	errs := []error{err}
	if round.Plan, err = c.Policy.Evaluate(inv); err != nil {
		return errors.Join(append(errs, err)...)
	}
	pins, err := StalePins(ctx, c.Targets, inv)
	errs = append(errs, err, ReadSizes(ctx, c.Targets, round.Plan))
	round.Held, err = s.held(ctx, round.Plan)
	errs = append(errs, err)
	if round.Held == "" && err == nil {
		errs = append(errs, s.apply(ctx, round))
	}
	round.Report = round.Plan.Report(round.Result, s.Price)
	round.Report.Pins = pins
	return errors.Join(errs...)
}

// held is why the plan is not to be applied.
func (s *Service) held(ctx context.Context, plan *Plan) (string, error) {
	if s.Hours != nil {
		if now := s.Cleaner.clock().Now().In(s.location()); s.Hours.left(now) <= 0 {
			return fmt.Sprintf("it is %s, outside of the hours in which images may be changed", now.Format("Monday 15:04")), nil
		}
	}
	if s.Review == nil {
		return "", nil
	}
	ok, err := s.Review(ctx, plan)
	if err != nil {
		return "", fmt.Errorf("review: %w", err)
	}
	if !ok {
		return "the review held it", nil
	}
	return "", nil
}

// apply changes images and deletes orphans, as long as the hours last.
func (s *Service) apply(ctx context.Context, round *Round) error {
	c := s.Cleaner
	if s.Hours != nil {
		limited, stop := clock.WithTimeout(ctx, c.Clock, s.Hours.left(c.clock().Now().In(s.location())))
		defer stop()
		ctx = limited
	}
	var err, orphanErr error
	round.Result, err = c.Apply(ctx, round.Plan)
	if s.Orphans != nil && ctx.Err() == nil {
		var plan *OrphanPlan
		if plan, orphanErr = c.PlanOrphans(ctx, s.Orphans); plan != nil {
			var applied error
			round.Orphans, applied = c.ApplyOrphans(ctx, s.Orphans, plan)
			orphanErr = errors.Join(orphanErr, applied)
		}
	}
	return errors.Join(err, orphanErr)
}
