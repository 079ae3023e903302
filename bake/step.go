package bake

import (
	"context"
	"time"
)

// A Step is the unit of a build that is timed, retried, recorded and undone.
type Step struct {
	// Name says what the step does, in the imperative: "launch instance". It must be
	// unique in its build.
	Name string

	// Do does the work. It must tolerate running again after a failure, when Retry
	// says so and when another process resumes the build.
	Do func(ctx context.Context) error

	// Undo removes what Do left behind. Its context is not canceled with the build's.
	// It is called if Do was started, even if Do failed or never returned, and up to
	// three times while it returns an error. It must find the resources to remove
	// through the session's recorded state or by tag, since another process may call
	// it. If nil, Do leaves nothing behind.
	Undo func(ctx context.Context, outcome Outcome) error

	// Timeout bounds each attempt of Do. Zero means Options.StepTimeout.
	Timeout time.Duration

	// Retry configures further attempts of Do. The zero value means one attempt. A
	// *PermanentError ends them.
	Retry Retry

	// Version identifies Do in records, since a func has no digest: change it whenever
	// Do changes, so that a build that ran the old one is not resumed with the new one.
	// Steps of a Session ignore it.
	Version string

	// At is the place of a step of Image.Steps. Steps of a Session ignore it.
	At Point
}

// An Outcome tells an Undo how the build ended. Temporary resources are removed for
// every outcome, the artifact unless the outcome is Succeeded.
type Outcome int

// The outcomes of a build.
const (
	Failed Outcome = iota
	Canceled
	Succeeded
)

// String returns "failed", "canceled" or "succeeded".
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

// A Retry configures the attempts at a step. The wait doubles after each attempt.
type Retry struct {
	// Attempts is the total number of attempts. Zero means one.
	Attempts int

	// Delay is the wait before the second attempt. Zero means one second.
	Delay time.Duration

	// MaxDelay limits the wait. Zero means one minute.
	MaxDelay time.Duration
}

// Wait returns the wait after the given failed attempt, counted from 1.
func (r Retry) Wait(attempt int) time.Duration {
	delay, longest := r.Delay, r.MaxDelay
	if delay <= 0 {
		delay = time.Second
	}
	if longest <= 0 {
		longest = time.Minute
	}
	for range attempt - 1 {
		if delay >= longest {
			break
		}
		delay *= 2
	}
	return min(delay, longest)
}

// A Point is a place in a build where a step of Image.Steps can run.
type Point int

// The points of a build, in order.
const (
	BeforeLaunch    Point = iota // before the platform creates anything
	BeforeProvision              // the machine is reachable
	BeforeCapture                // all provisioners are done; the machine is still running
	AfterCapture                 // the artifact exists but is not checked yet
	AfterPromote                 // the artifact is good; publishers run next
)

// An Undoer is a Provisioner that leaves something outside of the machine that must
// be removed when the build ends, such as a registration at a server. Undo is called
// like Step.Undo.
type Undoer interface {
	Undo(ctx context.Context, outcome Outcome) error
}
