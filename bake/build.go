package bake

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// A build bakes one image. It holds the stages, the sessions whose state they
// share, and the record of their progress. One goroutine runs it.
type build struct {
	*settings
	img      *Image
	run      *Run
	checkRun *Run // of the check session
	session  Session
	check    Session
	stages   []*stage
	launchAt int // index of the first stage of session.Launch
	checkAt  int // index of the first stage of check.Launch
	record   Record

	created resourceList
	place   *machinePlace // nil while it has none
	hold    *hold         // of the record; nil without a Store
	undoing bool          // Undo works from the record
	events  int64         // the number of the last event

	machine     Machine  // while connected
	connection  Machine  // of machine; once that is nil, for Run.TakeMachine
	found       Artifact // an artifact that makes the build unnecessary
	good        bool     // the artifact is promoted and stays
	source      Artifact // of Image.From; valid once the build has started
	resumed     bool     // another process started it
	restarted   bool     // with a machine that this process launched
	change      string   // how the definition differs from that of the record to resume
	begunAgain  string   // the same, once the build has been undone
	left        bool     // the record is left to another process
	digest      string   // of the definition; see definition
	firstStage  int      // index of the stage to start with
	currentStep atomic.Pointer[string]
	kept        *KeptMachine

	deliverOnce sync.Once // of deliver
	delivered   chan struct{}
	output      Artifact // valid once delivered is closed
}

// newBuild plans a build of img, the first or a later attempt. It does no I/O.
func newBuild(set *settings, img *Image, id string, again int) (*build, error) {
	b := &build{settings: set, img: img, delivered: make(chan struct{})}
	b.record = Record{Version: RecordVersion, Build: id, Image: img.Name, Labels: set.Labels, Caller: set.Caller, Created: set.Clock.Now().UTC(), Again: again}
	return b, b.begin()
}

func (b *build) newRun(id string) *Run {
	return &Run{
		ID: id, Image: b.img.Name, Tags: b.img.Tags, Clock: b.Clock, mask: b.mask, KeepMachine: b.OnFailure == KeepMachine,
		Log:  slog.New(maskHandler{b.Log.Handler(), b.mask}).With(slog.String("image", b.img.Name), slog.String("build", b.record.Build)),
		emit: func(e Event) { b.event(e) },
		step: b.stepName, left: b.leftStep,
		lease: func(ctx context.Context) error { return b.hold.current(ctx) },
		save:  b.save,
		taken: b.takeOver,
	}
}

// stepName returns the name of the step at work, or "".
func (b *build) stepName() string {
	if step := b.currentStep.Load(); step != nil {
		return *step
	}
	return ""
}

// leftStep returns the name of the step that an ended process had begun, or "".
func (b *build) leftStep() string {
	if !b.resumed || b.firstStage == len(b.stages) || b.restarted || b.stages[b.firstStage].record.State == StepDone {
		return ""
	}
	return b.stages[b.firstStage].Name
}

// event adds image, build, step and time to e and emits it.
func (b *build) event(e Event) {
	e.Image, e.Build = b.img.Name, b.record.Build
	if e.Step == "" {
		e.Step = b.stepName()
	}
	if e.Time.IsZero() {
		e.Time = b.Clock.Now()
	}
	b.created.see(&e)
	b.emitNumbered(e, &b.events)
}

// bake runs the build and cleans up.
func (b *build) bake(ctx context.Context, source Artifact) *Result {
	if result := b.replace(ctx, source); result != nil {
		return result
	}
	b.start(source)
	err := b.resumeError()
	if err == nil {
		err = b.advance(ctx)
	}
	if err == nil {
		b.deliver(b.finalArtifact())
	}
	return b.finish(ctx, b.status(ctx, err), err)
}

// untilChange returns a context that also ends when the lease is lost or another process
// requests a cancellation.
func (b *build) untilChange(ctx context.Context) (changing context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := b.hold.watch(func() {
		if err := cmp.Or(b.hold.lostError(), b.hold.canceledError()); err != nil {
			cancel(err)
		}
	})
	return ctx, func() {
		unwatch()
		cancel(nil)
	}
}

// leaving returns why the build is to be left as it is, for another process, or nil.
func (b *build) leaving() error {
	if err := b.hold.lostError(); err != nil {
		return err
	}
	if b.suspending() {
		return ErrSuspended
	}
	return nil
}

// start starts the build, or resumes it.
func (b *build) start(source Artifact) {
	begun := Event{Kind: BuildStarted}
	if b.resumed && !b.record.Started.IsZero() {
		begun.Kind = BuildResumed
		if b.firstStage < len(b.stages) {
			begun.Step = b.stages[b.firstStage].Name
		}
	} else {
		b.record.Started = b.Clock.Now()
		begun.Delay = b.record.Started.Sub(b.begun)
		b.record.Expires = b.record.Started.Add(b.Lifetime)
	}
	b.run.Expires, b.checkRun.Expires = b.record.Expires, b.record.Expires
	b.run.Source, b.source = source, source
	if source != nil {
		b.record.Source = source.ID()
	}
	b.run.Fingerprint = fingerprint(b.img, source)
	b.event(begun)
}

// status returns the status of a build whose stages ended with err.
func (b *build) status(ctx context.Context, err error) Status {
	switch {
	case b.hold.lostError() != nil:
		return StatusLost
	case err == nil && b.found != nil:
		return StatusReused
	case err == nil && b.img.ProvisionOnly:
		return StatusProvisioned
	case err == nil:
		return StatusBaked
	case errors.Is(err, ErrSuspended) && b.suspending():
		return StatusSuspended
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), ErrStopped):
		return StatusSkipped
	case ctx.Err() != nil:
		return StatusCanceled
	default:
		return StatusFailed
	}
}

// finish cleans up and returns the result.
func (b *build) finish(ctx context.Context, status Status, err error) *Result {
	if status == StatusFailed && b.OnFailure == KeepMachine && b.machine != nil {
		b.keep()
	}
	if reason := b.leaving(); reason != nil {
		return b.leave(ctx, reason, err)
	}
	// Record that the artifact is good before deleting anything a rollback would
	// need.
	b.record.Error = b.recordText(err)
	saveErr := b.saveNamed(ctx)
	undoErr := b.undo(ctx, b.outcome(status), func(s *stage) bool { return s.record.State != StepKept })
	b.leaveMachine()
	if reason := b.leaving(); reason != nil && !b.undone() {
		return b.leave(ctx, reason, errors.Join(err, undoErr))
	}
	if undoErr != nil {
		undoErr = errors.Join(undoErr, b.leftError())
	}
	b.record.Status = status
	result := b.result()
	result.Err = errors.Join(err, saveErr, undoErr, b.releaseNamed(ctx))
	if lost := b.hold.lostError(); lost != nil {
		result.Status = StatusLost
	}
	return b.ending(result)
}

// undone reports whether nothing is left to undo.
func (b *build) undone() bool {
	return !slices.ContainsFunc(b.stages, func(s *stage) bool { return !s.record.gone() && s.record.State != StepKept && !s.record.Skipped })
}

// leave ends the work on a build that another process has or shall continue. The reason
// is ErrLeaseLost or ErrSuspended.
func (b *build) leave(ctx context.Context, reason, err error) *Result {
	b.left = true
	b.leaveMachine()
	_ = b.disconnect(ctx, Canceled) // it never fails
	if !errors.Is(err, reason) {
		err = errors.Join(err, b.named(reason))
	}
	status := StatusLost
	if errors.Is(reason, ErrSuspended) {
		status = StatusSuspended
		err = errors.Join(err, b.releaseNamed(ctx))
	} else {
		b.hold.stop()
	}
	result := b.result()
	result.Status, result.Err, result.Artifact = status, err, nil
	return b.ending(result)
}

// ending reports the end of the build.
func (b *build) ending(result *Result) *Result {
	result.Finished = b.Clock.Now()
	finished := Event{Kind: BuildFinished, Status: result.Status, Err: errorText(result.Err)}
	if !result.Started.IsZero() {
		finished.Elapsed = result.Finished.Sub(result.Started)
	}
	if result.Artifact != nil {
		finished.Text, finished.Artifact = result.Artifact.String(), result.Artifact.ID()
	}
	b.event(finished)
	return result
}

// outcome returns the outcome for the undos at the end of the build.
func (b *build) outcome(status Status) Outcome {
	switch {
	case b.good || status == StatusReused:
		return Succeeded
	case status == StatusFailed:
		return Failed
	default:
		return Canceled
	}
}

// result returns the result of a build that has ended.
func (b *build) result() *Result {
	r := &Result{
		Image: b.img, Build: b.record.Build, BegunAgain: b.begunAgain, Status: b.record.Status, Artifact: b.finalArtifact(),
		Kept: b.kept, Started: b.record.Started, Finished: b.record.Updated,
	}
	for _, s := range b.stages {
		if s.record.State != "" {
			step := s.result
			step.Name = b.run.Redact(step.Name)
			r.Steps = append(r.Steps, step)
		}
	}
	return r
}

// finalArtifact returns the artifact that stays, or nil.
func (b *build) finalArtifact() Artifact {
	switch {
	case b.found != nil:
		return b.found
	case b.good:
		return b.session.Artifact()
	}
	return nil
}

// runStages runs the stages in order, starting at from, until one fails.
func (b *build) runStages(ctx context.Context, from int) error {
	in := launching
	if from > 0 {
		in = b.stages[from-1].phase
	}
	if err := b.reconnect(ctx, from); err != nil {
		return err
	}
	for _, s := range b.stages[from:] {
		if b.suspending() {
			return b.named(ErrSuspended)
		}
		if err := b.transition(ctx, in, s.phase); err != nil {
			return err
		}
		in = s.phase
		if err := b.takeMachine(ctx, s); err != nil {
			return err
		}
		if err := b.do(ctx, s); err != nil {
			if _, partial := errors.AsType[*PartialError](err); partial && s.phase == promoting && ctx.Err() == nil {
				b.good, b.record.Good = true, true
			}
			return err
		}
		b.machineLaunched(s)
		if b.found != nil {
			return b.publishFound(ctx)
		}
	}
	return b.transition(ctx, in, finished)
}

// transition does what must happen between two phases.
func (b *build) transition(ctx context.Context, from, to phase) error {
	switch {
	case from <= provisioning && to == capturing:
		b.machine = nil
	case from <= capturing && to > capturing, from == checking && to > checking:
		if err := b.disconnect(ctx, Succeeded); err != nil {
			return err
		}
	}
	if from < checking && to == checking {
		b.checkRun.Source = b.session.Artifact()
	}
	if to > releasing && to < finished {
		b.leaveMachine()
	}
	if to >= publishing && !b.img.ProvisionOnly {
		b.good, b.record.Good = true, true
	}
	return nil
}

// keep marks the stages whose machine stays and reports how to reach it. The
// machine is the one being provisioned, or the check machine if a check failed; it
// stays although its artifact is removed.
func (b *build) keep() {
	session, launched := b.session, launching
	if b.lastPhase() == checking {
		session, launched = b.check, checking
	}
	keeper, ok := As[MachineKeeper](session)
	if !ok {
		b.run.Say("the builder does not support keeping a machine")
		return
	}
	for _, s := range b.stages {
		if s.phase == launched && s.record.State != "" && s.Undo != nil && !s.connects {
			s.record.State = StepKept
		}
	}
	kept := keeper.KeptMachine()
	b.kept = &kept
	b.event(Event{Kind: MachineKept, Text: kept.String()})
}

// lastPhase returns the phase of the last stage that was started.
func (b *build) lastPhase() phase {
	last := launching
	for _, s := range b.stages {
		if s.record.State != "" {
			last = s.phase
		}
	}
	return last
}
