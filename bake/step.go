package bake

import (
	"context"
	"time"
)

// A Step is one stage of a build: the unit that is timed, retried, recorded
// and undone.
type Step struct {
	// Name says what the step does, in the imperative: "launch instance". It
	// is unique in its build.
	Name string

	// Do does it. It must be fit to run again after it failed: when Retry asks
	// for that, and when another process resumes the build.
	Do func(ctx context.Context) error

	// Undo removes what Do left, on a context of its own that the build's end
	// does not cut. It is called after every Do that was begun, also one that
	// failed or never returned its answer, and it is called again, three times
	// in all, while it returns an error: it finds
	// what to remove in the session's recorded state or by tag, never in a
	// variable of Do's. Nil when Do leaves nothing.
	Undo func(ctx context.Context, outcome Outcome) error

	// Timeout bounds each attempt of Do. Zero is Options.StepTimeout.
	Timeout time.Duration

	// Retry says how often Do may be tried. The zero value is once.
	Retry Retry

	// At places a step of Image.Steps. The steps of a Session ignore it.
	At Phase
}

// An Outcome is how a build ended, as an Undo sees it: Failed, Canceled or
// Succeeded. Temporary things are removed whatever the outcome; the artifact
// only when it is not Succeeded.
type Outcome int

// The outcomes of a build.
const (
	Failed Outcome = iota
	Canceled
	Succeeded
)

// String is "failed", "canceled" or "succeeded".
func (o Outcome) String() string {
	switch o {
	case Succeeded:
		return "succeeded"
	case Canceled:
		return "canceled"
	default:
		return "failed"
	}
}

// Retry says how often a step is tried, and how long it waits between.
type Retry struct {
	// Attempts is how often the step is tried in all. Zero is once.
	Attempts int

	// Delay is the wait before the second attempt; it doubles for each further
	// one. Zero is one second.
	Delay time.Duration

	// MaxDelay bounds the wait. Zero is one minute.
	MaxDelay time.Duration
}

// Wait is the pause after the given failed attempt, counted from 1.
func (r Retry) Wait(attempt int) time.Duration {
	delay, most := r.Delay, r.MaxDelay
	if delay <= 0 {
		delay = time.Second
	}
	if most <= 0 {
		most = time.Minute
	}
	for range attempt - 1 {
		if delay >= most {
			break
		}
		delay *= 2
	}
	return min(delay, most)
}

// A Phase is a place in a build for a step of the user's own: BeforeLaunch,
// BeforeProvision, BeforeCapture, AfterCapture or AfterPromote.
type Phase int

// The places for the steps of Image.Steps.
const (
	BeforeLaunch    Phase = iota // before anything of the platform is made
	BeforeProvision              // the machine can be reached
	BeforeCapture                // all provisioners are done, the machine still runs
	AfterCapture                 // the artifact exists and was not checked yet
	AfterPromote                 // the artifact is good; the publishers come next
)

// An Undoer is a Provisioner that leaves something outside of the machine, such
// as a registration at a server, which must go when the build ends. Undo is
// called without a machine, as Step.Undo is.
type Undoer interface {
	Undo(ctx context.Context, outcome Outcome) error
}
