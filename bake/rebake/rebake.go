// Package rebake bakes images again before they grow stale, by a schedule:
//
//	s := &rebake.Service{
//		Images:   func(ctx context.Context) ([]*bake.Image, error) { return definitions() },
//		Options:  bake.Options{Store: store},
//		Schedule: "17 3 * * *",
//		MaxAge:   7 * 24 * time.Hour,
//		Lock:     lock,
//	}
//	err := s.Serve(ctx)
//
// An image is stale if it has no artifact, if its newest one is older than MaxAge, if it
// was made from another source than the definition selects now, if the definition has
// changed, if a [Reason] of the caller says so, or if the image that it is made from is
// stale. A round bakes the stale images in one call of [bake.Bake], so a chain of layers
// is built once, from the lowest stale one up. The publishers of the images run as in
// any bake, so ec2.InstanceRefresh rolls new artifacts out.
//
// [Service.Plan] tells what is stale and why, and changes nothing.
//
// An image that fails is tried again after a pause, which doubles each time, and after
// MaxFailures only when its definition has changed. The failures are counted in the
// records of the store, so all processes that share it agree.
package rebake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/maintenance"
)

// A Service bakes stale images by a schedule.
type Service struct {
	// Images returns the definitions, anew for each round. Each needs a Fingerprint,
	// and a Builder that is a [bake.Inspector]. It is required.
	Images func(ctx context.Context) ([]*bake.Image, error)

	// Options are those of the bakes. Their Store is required. Resume, Fresh and
	// Labels are set by the Service.
	Options bake.Options

	// Schedule is a cron expression of five fields: minute, hour, day of the month,
	// month, day of the week. Serve requires it.
	Schedule string

	// In is the time zone of Schedule and Window. If nil, UTC is used.
	In *time.Location

	// Jitter delays each round by a random time up to it. Zero means no delay.
	Jitter time.Duration

	// Window is when bakes may begin. A round outside of it only plans and reports;
	// a bake that has begun is not stopped at its end. If nil, they always may.
	Window *maintenance.Window

	// Lock prevents concurrent rounds of several processes. A round that does not
	// get it is skipped. If nil, there is no lock.
	Lock Lock

	// MaxAge is the age at which an artifact is stale, and MaxAges that of images by
	// name. Zero means at no age.
	MaxAge  time.Duration
	MaxAges map[string]time.Duration

	// Reasons are other reasons to bake an image again, such as a finding of a
	// vulnerability scanner.
	Reasons []Reason

	// Backoff is the pause after an image has failed; it doubles with each further
	// failure, up to a week. Zero means six hours.
	Backoff time.Duration

	// MaxFailures is how often an image may fail in a row before it is only reported,
	// until its definition changes. Zero means five.
	MaxFailures int

	// Report receives every finished round. If nil, rounds are only logged.
	Report func(ctx context.Context, r *Round)
}

// A Reason is a reason of the caller to bake an image again.
type Reason struct {
	// Name names the reason in errors: "scanner".
	Name string

	// Ask returns why an image is stale whose newest artifact is described, or "".
	Ask func(ctx context.Context, img *bake.Image, newest *bake.Inspection) (why string, err error)
}

// A Lock excludes other processes from the same work. The ParameterLock of package
// amicleanup/service is one.
type Lock interface {
	// Acquire takes the lock. The error wraps that of a held lock, ErrLocked, if
	// another process holds it. Release releases the lock and is called once.
	Acquire(ctx context.Context) (release func(ctx context.Context) error, err error)
}

// ErrLocked is wrapped by the error of Lock.Acquire if another process holds the lock.
var ErrLocked = maintenance.ErrLocked

// A Window is a span of each day, on some days of the week.
type Window = maintenance.Window

// A Round describes one round of a Service.
type Round struct {
	Started time.Time
	Plan    *Plan          // nil if the round was skipped
	Results []*bake.Result // of the images that were baked, and of those they are made from
	Held    string         // why nothing was baked; empty if nothing was stale
	Err     error          // everything that went wrong, joined
	Next    time.Time      // of the next round; zero outside of Serve
}

const (
	defaultBackoff     = 6 * time.Hour
	longestBackoff     = 7 * 24 * time.Hour
	defaultMaxFailures = 5
)

// Validate returns the joined errors of the service.
func (s *Service) Validate() error {
	var errs []error
	if s.Images == nil {
		errs = append(errs, bake.Invalid("Service.Images", "is required"))
	}
	if s.Options.Store == nil {
		errs = append(errs, bake.Invalid("Service.Options.Store", "is required: failures are counted in it, and interrupted bakes continue from it"))
	}
	errs = append(errs, s.schedule().Validate())
	for field, d := range map[string]time.Duration{"Jitter": s.Jitter, "MaxAge": s.MaxAge, "Backoff": s.Backoff} {
		if d < 0 {
			errs = append(errs, bake.Invalid("Service."+field, "must not be negative"))
		}
	}
	if s.MaxFailures < 0 {
		errs = append(errs, bake.Invalid("Service.MaxFailures", "must not be negative"))
	}
	if s.Window != nil {
		errs = append(errs, s.Window.Validate())
	}
	for i, r := range s.Reasons {
		if r.Ask == nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Service.Reasons[%d].Ask", i), "is required"))
		}
	}
	return errors.Join(errs...)
}

// Serve runs rounds by the schedule until ctx ends, and returns ctx's cause. An error
// ends only its round: it is logged, and in the Round that Report receives.
func (s *Service) Serve(ctx context.Context) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Schedule == "" {
		return bake.Invalid("Service.Schedule", "is required")
	}
	next, err := s.schedule().Next(s.clock().Now())
	for err == nil {
		if err = s.clock().Sleep(ctx, next.Sub(s.clock().Now())); err != nil {
			return err
		}
		r := s.round(ctx)
		if next, err = s.schedule().Next(s.clock().Now()); err == nil {
			r.Next = next
		}
		s.report(ctx, r)
	}
	return err
}

func (s *Service) clock() clock.Clock { return clock.OrSystem(s.Options.Clock) }

func (s *Service) schedule() maintenance.Schedule {
	return maintenance.Schedule{Cron: s.Schedule, In: s.In, Jitter: s.Jitter}
}

// Once runs a round, now, for jobs that something else starts, such as CI.
func (s *Service) Once(ctx context.Context) *Round {
	r := s.round(ctx)
	s.report(ctx, r)
	return r
}

func (s *Service) report(ctx context.Context, r *Round) {
	if r.Err != nil && s.Options.Log != nil {
		s.Options.Log.LogAttrs(ctx, slog.LevelError, "rebake", slog.String("error", r.Err.Error()))
	}
	if s.Report != nil {
		s.Report(ctx, r)
	}
}

// round runs a round under the lock.
func (s *Service) round(ctx context.Context) *Round {
	r := &Round{Started: s.clock().Now().UTC()}
	if r.Err = s.Validate(); r.Err != nil {
		return r
	}
	release, err := maintenance.Acquire(ctx, s.clock(), s.Lock)
	switch {
	case errors.Is(err, ErrLocked):
		r.Held = err.Error()
		return r
	case err != nil:
		r.Err = fmt.Errorf("lock: %w", err)
		return r
	}
	defer func() {
		if err := release(); err != nil {
			r.Err = errors.Join(r.Err, err)
		}
	}()
	r.Err = s.run(ctx, r)
	return r
}

// run bakes what is stale and may be baked now.
func (s *Service) run(ctx context.Context, r *Round) error {
	images, err := s.Images(ctx)
	if err != nil {
		return fmt.Errorf("definitions: %w", err)
	}
	var past history
	if r.Plan, past, err = s.plan(ctx, images); r.Plan == nil {
		return err
	}
	now := s.schedule().Local(s.clock().Now())
	chosen, fresh := r.Plan.chosen(images, past)
	switch {
	case len(chosen) == 0:
		return err
	case s.Window != nil && s.Window.Left(now) <= 0:
		r.Held = fmt.Sprintf("%s is outside of the maintenance window", now.Format("Monday 15:04"))
		return err
	}
	options := s.Options
	options.Fresh, options.Labels, options.Resume = fresh, labels(s.Options.Labels, images), past.resume(chosen)
	results, failed := bake.Bake(ctx, &options, chosen...)
	r.Results = results
	if errors.Is(failed, bake.ErrLeased) {
		r.Held, failed = "another process bakes: "+failed.Error(), nil
	}
	return errors.Join(err, failed)
}
