package bake

import (
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// Options say how images are baked. A nil *Options and the zero value are the
// same, and work.
type Options struct {
	// Parallel is how many images are baked at once. Zero is 50.
	Parallel int

	// StopOnFailure ends the other builds when one fails: those that run are
	// cancelled and cleaned up, those that wait are skipped. By default only
	// the images made from a failed one are skipped.
	StopOnFailure bool

	// OnFailure says what becomes of the machine that a provisioner or a check
	// failed on. The zero value, CleanUp, removes it.
	OnFailure OnFailure

	// StepTimeout bounds each attempt of a step that has no Timeout of its
	// own. Zero is two hours.
	StepTimeout time.Duration

	// UndoTimeout bounds each Undo. Zero is ten minutes. Undo runs although
	// the context of Bake has ended; nothing cuts it but this bound.
	UndoTimeout time.Duration

	// Lifetime is how long anything temporary may exist: what is created says
	// so in its tags, and a guest ends itself then. Zero is six hours.
	Lifetime time.Duration

	// Store, when set, is given the record of a build before and after every
	// step, from which another process can go on or clean up. A record that
	// cannot be saved fails the build. Delete the records of builds that have
	// ended when nobody needs them any more.
	Store Store

	// Resume is the records of images whose builds another process had begun
	// and could not end: at most one of each image. Such a build goes on where
	// its record ends; the step that had begun is done again. One that had failed
	// or expired is cleaned up, and fails as it would have. One that had ended is
	// not done again: give it if others are made From its image. The images must
	// have the same steps as before. A record does not know whether its process
	// still runs; the caller must. This is what a service does when it starts, as
	// the only one that uses its Store:
	//
	//	builds, err := store.List(ctx)
	//	…
	//	for _, id := range builds {
	//		rec, err := store.Load(ctx, id)
	//		…
	//		opts.Resume, images = append(opts.Resume, rec), append(images, definitions[rec.Image])
	//	}
	//	results, err := bake.Bake(ctx, opts, images...)
	Resume []*Record

	// Observe, when set, is told every event of every build, one at a time in
	// the order they happened. It must not block: the builds wait for it.
	Observe func(Event)

	// Log receives every event as a structured record: output and progress at
	// debug level, failures as warnings. Nil discards.
	Log *slog.Logger

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock
}

// OnFailure says what becomes of the machine of a build that failed: CleanUp or
// KeepMachine.
type OnFailure int

// What becomes of a machine that a provisioner or a check failed on. A cancelled
// build is always cleaned up, and so is the artifact of a failed check.
const (
	CleanUp     OnFailure = iota // remove everything the build created
	KeepMachine                  // keep the machine until it expires; Result.Kept says how to reach it
)

const (
	defaultParallel    = 50
	defaultStepTimeout = 2 * time.Hour
	defaultUndoTimeout = 10 * time.Minute
	defaultLifetime    = 6 * time.Hour
)

// A settings is a copy of the Options with the defaults filled in, and what
// all builds of one Bake share.
type settings struct {
	Options
	mask *masker

	observing sync.Mutex
}

func newSettings(o *Options) *settings {
	s := &settings{mask: &masker{}}
	if o != nil {
		s.Options = *o
	}
	orDefault(&s.Parallel, defaultParallel)
	orDefault(&s.StepTimeout, defaultStepTimeout)
	orDefault(&s.UndoTimeout, defaultUndoTimeout)
	orDefault(&s.Lifetime, defaultLifetime)
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
	} {
		if f.value < 0 {
			errs = append(errs, Invalid(f.name, "must not be negative"))
		}
	}
	if o.OnFailure != CleanUp && o.OnFailure != KeepMachine {
		errs = append(errs, Invalid("Options.OnFailure", "%d is none of the choices", o.OnFailure))
	}
	return errs
}

// newBuildID is unique, sorts by time, and fits into names and tags.
func newBuildID(now time.Time) string {
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	return now.UTC().Format("20060102t150405") + "-" +
		strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
}
