package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
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

	created     resourceList
	leaveLine   func()   // gives the machine's place of Options.Limits back; nil while it has none
	machine     Machine  // while connected
	found       Artifact // an artifact that makes the build unnecessary
	good        bool     // the artifact is promoted and stays
	resumed     bool     // another process started it
	restarted   bool     // with a machine that this process launched
	firstStage  int      // index of the stage to start with
	currentStep atomic.Pointer[string]
	kept        *KeptMachine

	deliverOnce sync.Once // of deliver
	delivered   chan struct{}
	output      Artifact // valid once delivered is closed
}

// newBuild plans a build of img. It does no I/O.
func newBuild(set *settings, img *Image, id string) (*build, error) {
	b := &build{settings: set, img: img, delivered: make(chan struct{})}
	b.record = Record{Version: RecordVersion, Build: id, Image: img.Name}
	b.run = b.newRun(id)
	b.checkRun = b.newRun(id + "-check")
	b.checkRun.Checks = true
	return b, b.begin()
}

func (b *build) newRun(id string) *Run {
	return &Run{
		ID: id, Image: b.img.Name, Tags: b.img.Tags, Clock: b.Clock, mask: b.mask,
		Log:  slog.New(maskHandler{b.Log.Handler(), b.mask}).With(slog.String("image", b.img.Name), slog.String("build", b.record.Build)),
		emit: func(e Event) { b.event(e) },
		step: b.stepName, left: b.leftStep,
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
	b.emit(e)
}

// bake runs the build and cleans up.
func (b *build) bake(ctx context.Context, source Artifact) *Result {
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

// start starts the build, or resumes it.
func (b *build) start(source Artifact) {
	begun := Event{Kind: BuildStarted}
	if b.resumed {
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
	b.run.Source = source
	b.run.Fingerprint = fingerprint(b.img, source)
	b.event(begun)
}

// status returns the status of a build whose stages ended with err.
func (b *build) status(ctx context.Context, err error) Status {
	switch {
	case err == nil && b.found != nil:
		return StatusReused
	case err == nil && b.img.ProvisionOnly:
		return StatusProvisioned
	case err == nil:
		return StatusBaked
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
	// Record that the artifact is good before deleting anything a rollback would
	// need.
	b.record.Error = b.recordText(err)
	saveErr := b.saveNamed(ctx)
	undoErr := b.undo(ctx, b.outcome(status), func(s *stage) bool { return s.record.State != StepKept })
	b.leaveMachine()
	if undoErr != nil {
		undoErr = errors.Join(undoErr, b.leftError())
	}
	b.record.Status = status
	result := b.result()
	result.Err = errors.Join(err, saveErr, undoErr, b.saveNamed(ctx))
	result.Finished = b.Clock.Now()
	finished := Event{Kind: BuildFinished, Status: status, Elapsed: result.Finished.Sub(result.Started), Err: errorText(result.Err)}
	if result.Artifact != nil {
		finished.Text = result.Artifact.String()
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
		Image: b.img, Build: b.record.Build, Status: b.record.Status, Artifact: b.finalArtifact(),
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
		if b.found != nil {
			return nil
		}
	}
	return b.transition(ctx, in, finished)
}

// transition does what must happen between two phases.
func (b *build) transition(ctx context.Context, from, to phase) error {
	if from <= provisioning && to > provisioning || from == checking && to > checking {
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

// saveNamed saves the record. Its error names the image.
func (b *build) saveNamed(ctx context.Context) error {
	if err := b.save(ctx); err != nil {
		return &Error{Image: b.img.Name, Err: err, mask: b.mask}
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

// save writes the record to the store, if there is one, even if ctx has ended:
// another process cleans up from it.
func (b *build) save(ctx context.Context) error {
	if b.Store == nil {
		return nil
	}
	var err error
	b.record.Updated = b.Clock.Now()
	b.record.Steps = b.record.Steps[:0]
	for _, s := range b.stages {
		if s.record.State != "" {
			step := s.record
			step.Name = b.run.Redact(step.Name)
			b.record.Steps = append(b.record.Steps, step)
		}
	}
	if b.record.Session, err = json.Marshal(b.session); err != nil {
		return fmt.Errorf("record the session: %w", err)
	}
	if b.check != nil {
		if b.record.Check, err = json.Marshal(b.check); err != nil {
			return fmt.Errorf("record the check session: %w", err)
		}
	}
	const saveTimeout = time.Minute
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), b.Clock, saveTimeout)
	defer stop()
	if err := b.Store.Save(ctx, &b.record); err != nil {
		return fmt.Errorf("save the record: %w", err)
	}
	return nil
}

// fingerprint identifies the image together with its source artifact.
func fingerprint(img *Image, source Artifact) string {
	if img.Fingerprint == "" {
		return ""
	}
	text := img.Fingerprint + "\n"
	if source != nil {
		text += "from " + source.ID() + "\n"
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// recordText returns the text of err for the record.
func (b *build) recordText(err error) string {
	const longest = 64 << 10
	return shorten(b.run.Redact(errorText(err)), longest)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
