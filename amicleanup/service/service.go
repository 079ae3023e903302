// Package service runs an [amicleanup.Cleaner] by a schedule, with a lock, a
// maintenance window, a review and reports:
//
//	job := &service.Service{
//		Cleaner:  cleaner,
//		Schedule: "17 3 * * *",
//		Report: func(ctx context.Context, run *service.Run) {
//			run.Report.WriteText(os.Stdout)
//		},
//	}
//	err := job.Serve(ctx)
//
// [Service.Once] runs once, for jobs that something else starts. Its error is
// everything that went wrong, including a source of references that could not be
// read.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/maintenance"
)

// A Service runs a Cleaner: at the times of its schedule it plans, asks for a
// review, applies and reports. Several processes may run the same service with
// one Lock; one of them does each run.
type Service struct {
	// Cleaner does the work, with its clock and its log. Every plan has its
	// Details. It is required.
	Cleaner *amicleanup.Cleaner

	// Schedule is a cron expression of five fields: minute, hour, day of the
	// month, month, day of the week. "17 3 * * *" is every night at 3:17;
	// "@daily", "@hourly" and similar words are known. Serve requires it.
	Schedule string

	// In is the time zone of Schedule and Window. If nil, UTC is used.
	In *time.Location

	// Jitter delays each run by a random time up to it, so that many services do
	// not call EC2 at the same moment. Zero means no delay.
	Jitter time.Duration

	// Window is when images may be changed. A run outside of it plans and
	// reports only; a run that is at work when it ends stops between two images.
	// If nil, images may always be changed.
	Window *Window

	// Lock prevents concurrent runs. A run that does not get it is skipped. If
	// nil, there is no lock.
	Lock Lock

	// Review decides whether a plan is applied. If nil, every plan is.
	Review func(ctx context.Context, plan *amicleanup.Plan) (apply bool, err error)

	// Report receives every finished run. If nil, runs are only logged.
	Report func(ctx context.Context, run *Run)

	// Also is other work of each run, after that on the images and under the same
	// lock, such as reaping what dead builds left (ec2.Reaper). apply tells whether
	// it may change anything: outside of the Window it may not. ctx ends with the
	// Window. Review is not asked about it, and its error is one of the run. If nil,
	// there is none.
	Also func(ctx context.Context, apply bool) error

	// Price is the price of a GiB of snapshots for a month, for the report. Zero
	// means amicleanup.DefaultPrice.
	Price float64
}

// A Window is a span of each day, on some days of the week.
type Window = maintenance.Window

// A Run describes one run of a Service.
type Run struct {
	Started time.Time
	Plan    *amicleanup.Plan   // nil if nothing could be planned
	Result  *amicleanup.Result // nil if nothing was to be applied
	Report  *amicleanup.Report // nil without a plan
	Held    string             // why the plan was not applied; empty if it was
	Err     error              // everything that went wrong, joined
}

// Validate returns the joined errors of the service and its cleaner.
func (s *Service) Validate() error {
	var errs []error
	if s.Cleaner == nil {
		errs = append(errs, bake.Invalid("Service.Cleaner", "is required"))
	} else {
		errs = append(errs, s.Cleaner.Validate())
	}
	errs = append(errs, s.schedule().Validate())
	if s.Jitter < 0 {
		errs = append(errs, bake.Invalid("Service.Jitter", "must not be negative"))
	}
	if s.Window != nil {
		errs = append(errs, s.Window.Validate())
	}
	return errors.Join(errs...)
}

// Serve runs by the schedule until ctx ends, and returns ctx's cause. An error ends
// only its run: it is logged, and in the Run that Report receives. A run that is
// due while another is at work is skipped.
func (s *Service) Serve(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Schedule == "" {
		return bake.Invalid("Service.Schedule", "is required")
	}
	for {
		next, err := s.schedule().Next(s.clock().Now())
		if err != nil {
			return err
		}
		if err := s.clock().Sleep(ctx, next.Sub(s.clock().Now())); err != nil {
			return err
		}
		if run := s.Once(ctx); ctx.Err() == nil && run.Err != nil && s.Cleaner.Log != nil {
			s.Cleaner.Log.LogAttrs(ctx, slog.LevelError, "amicleanup service", slog.String("error", run.Err.Error()))
		}
	}
}

func (s *Service) clock() clock.Clock { return clock.OrSystem(s.Cleaner.Clock) }

func (s *Service) schedule() maintenance.Schedule {
	return maintenance.Schedule{Cron: s.Schedule, In: s.In, Jitter: s.Jitter}
}

// Once runs once, now. Besides Serve it is for jobs that something else starts,
// such as CI.
func (s *Service) Once(ctx context.Context) *Run {
	run := &Run{}
	if err := s.Validate(); err != nil {
		run.Err = err
		return run
	}
	run.Started = s.clock().Now().UTC()
	run.Err = s.locked(ctx, func() error { return errors.Join(s.run(ctx, run), s.also(ctx)) })
	if errors.Is(run.Err, ErrLocked) {
		run.Held = run.Err.Error()
		run.Err = nil
	}
	if s.Report != nil {
		s.Report(ctx, run)
	}
	return run
}

func (s *Service) locked(ctx context.Context, do func() error) (err error) {
	release, err := maintenance.Acquire(ctx, s.clock(), s.Lock)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() {
		if released := release(); released != nil {
			err = errors.Join(err, released)
		}
	}()
	return do()
}

func (s *Service) run(ctx context.Context, run *Run) error {
	c := *s.Cleaner
	c.Details = true
	var errs []error
	var err error
	if run.Plan, err = c.Plan(ctx); run.Plan == nil {
		return err
	}
	errs = append(errs, err)
	run.Held, err = s.held(ctx, run.Plan)
	errs = append(errs, err)
	if run.Held == "" && err == nil {
		run.Result, err = s.apply(ctx, &c, run.Plan)
		errs = append(errs, err)
	}
	run.Report = run.Plan.Report(run.Result, s.Price)
	return errors.Join(errs...)
}

// held returns why the plan is not to be applied, or "".
func (s *Service) held(ctx context.Context, plan *amicleanup.Plan) (string, error) {
	if now := s.schedule().Local(s.clock().Now()); !s.open(now) {
		return fmt.Sprintf("%s is outside of the maintenance window", now.Format("Monday 15:04")), nil
	}
	if s.Review == nil {
		return "", nil
	}
	ok, err := s.Review(ctx, plan)
	if err != nil {
		return "", fmt.Errorf("review: %w", err)
	}
	if !ok {
		return "not approved by the review", nil
	}
	return "", nil
}

// open reports whether anything may be changed.
func (s *Service) open(now time.Time) bool { return s.Window == nil || s.Window.Left(now) > 0 }

// whileOpen returns a context that ends with the window.
func (s *Service) whileOpen(ctx context.Context) (limited context.Context, stop func()) {
	if s.Window == nil {
		return ctx, func() {}
	}
	return clock.WithTimeout(ctx, s.clock(), s.Window.Left(s.schedule().Local(s.clock().Now())))
}

// apply applies the plan for as long as the window is open.
func (s *Service) apply(ctx context.Context, c *amicleanup.Cleaner, plan *amicleanup.Plan) (*amicleanup.Result, error) {
	limited, stop := s.whileOpen(ctx)
	defer stop()
	return c.Apply(limited, plan)
}

// also does the other work.
func (s *Service) also(ctx context.Context) error {
	if s.Also == nil || ctx.Err() != nil {
		return nil
	}
	if !s.open(s.schedule().Local(s.clock().Now())) {
		return s.Also(ctx, false)
	}
	limited, stop := s.whileOpen(ctx)
	defer stop()
	return s.Also(limited, true)
}

// IAMPolicy returns the least-privilege IAM policy for the service: what its
// Cleaner needs for o, for the reports, and for its Lock. A Service whose Review
// never applies a plan needs only PlanOnly. It does no I/O.
func (s *Service) IAMPolicy(o *amicleanup.IAMPolicyOptions) *iampolicy.Document {
	c := *s.Cleaner
	c.Details = true
	d := c.IAMPolicy(o)
	if s.Lock != nil {
		d = d.With(s.Lock.IAMPolicy())
	}
	return d
}
