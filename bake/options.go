package bake

import (
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/mask"
)

// Options configures Bake and Undo. A nil *Options is the same as the zero value,
// which is ready to use.
type Options struct {
	// Parallel limits the number of images that this call bakes concurrently; those
	// with the highest Image.Priority go first. Zero means 50.
	Parallel int

	// Limits limits the machines of all calls that share it. If nil, there are no
	// limits but Parallel.
	Limits *Limits

	// Caller names for whom the images are baked, such as a team or a user: callers
	// take turns when builds wait for Limits. All calls without a name are one caller. It is
	// in the records.
	Caller string

	// Fresh names images that are built even if an artifact with the same Fingerprint
	// exists, with the reason: that it is too old, say.
	Fresh map[string]string

	// StopOnFailure cancels and cleans up running builds and skips waiting ones when
	// a build fails. By default only images made from the failed one are skipped.
	StopOnFailure bool

	// OnFailure decides what happens to the machine when a provisioner or check
	// fails. The zero value, CleanUp, removes it.
	OnFailure OnFailure

	// StepTimeout bounds each attempt of a step without Timeout. Zero means two
	// hours.
	StepTimeout time.Duration

	// UndoTimeout bounds each Undo, which runs even if the context of Bake has ended.
	// Zero means ten minutes.
	UndoTimeout time.Duration

	// Lifetime limits how long temporary resources may exist. Their tags name the time
	// of expiry, and a guest shuts itself down then. Zero means six hours.
	Lifetime time.Duration

	// Store receives the record of every build before the first one starts, and then
	// before and after every step, from which another process can resume the build or
	// clean up. If the first record cannot be saved, nothing is started; if a later one
	// cannot, the build fails. Bake does not delete records. If nil, builds are not
	// recorded.
	Store Store

	// Lease is how long a process owns a record without renewing it. It renews the
	// lease after a third of it. Another process can take the build over when it has
	// seen the record unchanged for that long. If the store is unreachable for longer,
	// the build ends with StatusLost. Leases and SuspendWait are by the system clock.
	// Zero means one minute.
	Lease time.Duration

	// Owner names this process in leases, for people. If empty, it is the name of the
	// host and the process id. A random suffix makes it unique.
	Owner string

	// Labels are added to the records, for the program that owns the store, such as
	// the id of the request that the images are baked for.
	Labels map[string]string

	// SuspendWait limits how long builds continue with their running step after the
	// context was canceled with ErrSuspended. Then the step is canceled, and will be run
	// again. Zero means 20 seconds, since Kubernetes kills a process after 30.
	SuspendWait time.Duration

	// Resume lists records of builds that another process started and did not finish,
	// at most one per image. Such a build continues where its record ends; a step that
	// was running is run again. A build that had failed or has expired is cleaned up
	// and fails. A build that had ended is not repeated; include its record if other
	// images are made From its image.
	//
	// With a Store, Bake takes the leases of the records first. If another process may
	// own one, Bake waits for as long as its lease lasts, and returns an error that
	// wraps ErrLeased if that process renews it. Without a Store the caller must ensure
	// that the other process no longer runs. A [Runner] does all of this for a service.
	Resume []*Record

	// OnChange decides what happens to a build of Resume that has run steps of another
	// definition: one whose builder, tags or provisioners differ. See [InputDeclarer] for
	// how definitions are compared. By default it is undone and begun again.
	OnChange OnChange

	// Observe, if not nil, receives the events of all builds, one at a time and in
	// order. Builds wait for it, so it must not block. A canceled build waits for one
	// second only, and then drops events until Observe returns.
	Observe func(Event)

	// RawOutput leaves control characters and escape sequences in the events of output
	// lines, with their colors, but also with everything else that a machine may do to
	// the terminal they are printed on. By default, they are made visible; see [Event].
	// Secrets are masked in any case.
	RawOutput bool

	// Log receives every event as a log record whose message is the event's kind, as in
	// "step finished": output, commands and progress at debug level, failed builds at
	// error level, other failures at warning level. Durations are texts, as in "1.5s".
	// If nil, the records are discarded.
	Log *slog.Logger

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock
}

// OnFailure decides what happens to the machine when a provisioner or check fails.
// A canceled build is always cleaned up, as is the artifact of a failed check.
type OnFailure int

// The values of OnFailure.
const (
	CleanUp     OnFailure = iota // remove everything the build created
	KeepMachine                  // keep the machine until it expires; Result.Kept tells how to reach it
)

const (
	defaultParallel    = 50
	defaultStepTimeout = 2 * time.Hour
	defaultUndoTimeout = 10 * time.Minute
	defaultLifetime    = 6 * time.Hour
	defaultSuspendWait = 20 * time.Second
)

// settings holds the Options with their defaults and the state shared by all builds
// of one Bake.
type settings struct {
	Options
	mask *mask.Masker

	begun     time.Time // when Bake was called
	observing *queue
	sightings *sightings
	owner     string // of its leases
	covers    *cover
	impatient bool            // leased records are not waited for
	suspended <-chan struct{} // closed when the builds are to end after their running step
	settle    func()          // waits until an end of the caller's context has taken effect
}

func newSettings(o *Options) *settings {
	s := &settings{mask: &mask.Masker{}, observing: newQueue(), sightings: &sightings{}, covers: newCover(), settle: func() {}}
	if o != nil {
		s.Options = *o
	}
	orDefault(&s.Parallel, defaultParallel)
	orDefault(&s.StepTimeout, defaultStepTimeout)
	orDefault(&s.UndoTimeout, defaultUndoTimeout)
	orDefault(&s.Lifetime, defaultLifetime)
	orDefault(&s.Lease, defaultLease)
	orDefault(&s.SuspendWait, defaultSuspendWait)
	s.owner = newOwner(s.Owner)
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Clock == nil {
		s.Clock = clock.System()
	}
	return s
}

func orDefault[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

func (o *Options) validate() []error {
	if o == nil {
		return nil
	}
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Options.Parallel", int64(o.Parallel)},
		{"Options.StepTimeout", int64(o.StepTimeout)},
		{"Options.UndoTimeout", int64(o.UndoTimeout)},
		{"Options.Lifetime", int64(o.Lifetime)},
		{"Options.Lease", int64(o.Lease)},
		{"Options.SuspendWait", int64(o.SuspendWait)},
	} {
		if f.value < 0 {
			errs = append(errs, Invalid(f.name, "must not be negative"))
		}
	}
	if err := o.Limits.validate(); err != nil {
		errs = append(errs, err)
	}
	if o.OnFailure != CleanUp && o.OnFailure != KeepMachine {
		errs = append(errs, Invalid("Options.OnFailure", "unknown value %d", o.OnFailure))
	}
	if o.OnChange != BakeAgain && o.OnChange != RefuseChange {
		errs = append(errs, Invalid("Options.OnChange", "unknown value %d", o.OnChange))
	}
	if o.Lease > longestLease {
		errs = append(errs, Invalid("Options.Lease", "is %v, want at most %v", o.Lease, longestLease))
	}
	return errs
}
