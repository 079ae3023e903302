package bake

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Runner bakes in a service: it works on all records of a Store that no process owns,
// whether Start has just made them or a process has died or was suspended. Any number of
// processes can run one on the same store. The program of a service:
//
//	runner := &bake.Runner{
//		Options: &bake.Options{Store: store, Observe: show},
//		Images: func(ctx context.Context, labels map[string]string) ([]*bake.Image, error) {
//			return definitions(labels["version"])
//		},
//	}
//	http.HandleFunc("POST /bakes", func(w http.ResponseWriter, r *http.Request) {
//		records, err := runner.Start(r.Context(), bake.Request{
//			Images: []string{"web"}, Labels: map[string]string{"version": "7"}, Caller: "alice",
//		})
//		…
//	})
//	err := runner.Serve(ctx) // until ctx is canceled; with ErrSuspended on SIGTERM
//
// [Records] and [Store].Load tell how far the builds are, in any process, package journal
// keeps their events, and [Cancel] cancels one.
type Runner struct {
	// Options configures the bakes. Store is required; Resume and Labels are not used, and
	// Caller is that of requests without one. All bakes share one Observe, which receives
	// one event at a time.
	Options *Options

	// Images returns the definitions for the labels of a Request, at least those of the
	// images that were started; their sources need not be in the list. It is required.
	Images func(ctx context.Context, labels map[string]string) ([]*Image, error)

	// Builder returns the builder, with its credentials, to remove what was made of an
	// image that Images no longer returns. If nil, such records stay, and an event
	// reports them again and again.
	Builder func(ctx context.Context, rec *Record) (Builder, error)

	// Parallel limits how many bakes this process works on at once; an image and those
	// made from it are one bake. Others stay for other processes. Zero means 50.
	Parallel int

	// Poll is how often to look for records. Zero means five seconds.
	Poll time.Duration

	// Keep is how long the records of ended builds stay. Zero means a week.
	Keep time.Duration

	// Archive, if not nil, is called with the record of an ended build before it is
	// deleted. If it fails, the record stays until the next time.
	Archive func(ctx context.Context, rec *Record) error

	once sync.Once
	kick chan struct{} // wakes Serve
}

const (
	defaultPoll = 5 * time.Second
	defaultKeep = 7 * 24 * time.Hour
)

func (r *Runner) validate() error {
	var errs []error
	if r.Options == nil || r.Options.Store == nil {
		errs = append(errs, Invalid("Runner.Options.Store", "is required"))
	} else {
		errs = append(errs, r.Options.validate()...)
		if len(r.Options.Resume) > 0 {
			errs = append(errs, Invalid("Runner.Options.Resume", "must be empty: the Runner resumes all builds"))
		}
	}
	if r.Images == nil {
		errs = append(errs, Invalid("Runner.Images", "is required"))
	}
	if r.Parallel < 0 || r.Poll < 0 || r.Keep < 0 {
		errs = append(errs, Invalid("Runner", "Parallel, Poll and Keep must not be negative"))
	}
	r.once.Do(func() { r.kick = make(chan struct{}, 1) })
	return errors.Join(errs...)
}

// Serve works on the records until ctx ends, and waits for its bakes. They are canceled
// and clean up or, if the cause is ErrSuspended, are left to other processes. Events tell
// what it does; a failure of a bake does not end it. It returns the cause.
func (r *Runner) Serve(ctx context.Context) error {
	if err := r.validate(); err != nil {
		return err
	}
	s := &service{Runner: r, settings: newSettings(r.Options), ended: map[string]*Record{}, running: map[string]bool{}, failures: map[string]failure{}}
	s.observing.canceled = ctx.Done()
	defer s.bakes.Wait()
	for {
		s.round(ctx)
		if err := s.sleep(ctx); err != nil {
			return err
		}
	}
}

// sleep waits for Poll, Start or the end of a bake.
func (s *service) sleep(ctx context.Context) error {
	limited, stop := clock.WithTimeout(ctx, s.time(), cmp.Or(s.Poll, defaultPoll))
	defer stop()
	select {
	case <-s.kick:
	case <-limited.Done():
	}
	return context.Cause(ctx)
}
