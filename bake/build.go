package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A build is the baking of one image: its plan, the sessions whose state the
// steps share, and the record of how far it got. One goroutine runs it.
type build struct {
	*settings
	img      *Image
	run      *Run
	checkRun *Run // of the session that checks the artifact
	session  Session
	check    Session
	stages   []*stage
	launchAt int // the index of the first stage of session.Launch
	checkAt  int // and of check.Launch
	record   Record

	machine Machine  // while connected
	found   Artifact // an artifact that makes the build unnecessary
	good    bool     // the artifact is promoted and stays, whatever comes
	resumed bool     // another process had begun it
	from    int      // the index of the stage to begin with
	current atomic.Pointer[string]
	kept    *KeptMachine

	handing  sync.Once // handOn
	handedOn chan struct{}
	artifact Artifact // after handedOn, what the images that are made From this one get
}

// newBuild plans the baking of img. It does no I/O.
func newBuild(set *settings, img *Image, id string) (*build, error) {
	b := &build{settings: set, img: img, handedOn: make(chan struct{})}
	b.run = b.newRun(id)
	b.checkRun = b.newRun(id + "-check")
	b.checkRun.Checks = true
	b.record = Record{Build: id, Image: img.Name}
	return b, b.begin()
}

func (b *build) newRun(id string) *Run {
	return &Run{
		ID: id, Image: b.img.Name, Tags: b.img.Tags, Clock: b.Clock, Log: b.Log, mask: b.mask,
		emit: func(e Event) { b.event(e) },
	}
}

// event completes e with what this build knows and passes it on.
func (b *build) event(e Event) {
	e.Image, e.Build = b.img.Name, b.record.Build
	if step := b.current.Load(); step != nil && e.Step == "" {
		e.Step = *step
	}
	if e.Time.IsZero() {
		e.Time = b.Clock.Now()
	}
	b.emit(e)
}

// bake runs the build to its end and cleans up after it.
func (b *build) bake(ctx context.Context, source Artifact) *Result {
	b.start(source)
	err := b.broken()
	if err == nil {
		err = b.advance(ctx)
	}
	if err == nil {
		b.handOn(b.made())
	}
	return b.finish(ctx, b.status(ctx, err), err)
}

// start begins the build, or goes on with one that another process had begun.
func (b *build) start(source Artifact) {
	begun := Event{Kind: BuildStarted}
	if b.resumed {
		begun.Kind = BuildResumed
		if b.from < len(b.stages) {
			begun.Step = b.stages[b.from].Name
		}
	} else {
		b.record.Started = b.Clock.Now()
		b.record.Expires = b.record.Started.Add(b.Lifetime)
	}
	b.run.Expires, b.checkRun.Expires = b.record.Expires, b.record.Expires
	b.run.Source = source
	b.run.Fingerprint = fingerprint(b.img, source)
	b.event(begun)
}

// status is how a build ends whose steps ended with err.
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

// finish undoes what must not stay, and says how the build ended.
func (b *build) finish(ctx context.Context, status Status, err error) *Result {
	if status == StatusFailed && b.OnFailure == KeepMachine && b.machine != nil {
		b.keep()
	}
	// That the artifact is good must be known to others before anything goes
	// that only an artifact that is not good could need again.
	b.record.Error = b.mask.mask(errorText(err))
	saveErr := b.saved(ctx)
	undoErr := b.undo(ctx, b.outcome(status), func(s *stage) bool { return s.record.State != StepKept })
	b.record.Status = status
	result := b.result()
	result.Err = errors.Join(err, saveErr, undoErr, b.saved(ctx))
	result.Finished = b.Clock.Now()
	finished := Event{Kind: BuildFinished, Status: status, Elapsed: result.Finished.Sub(result.Started), Err: errorText(result.Err)}
	if result.Artifact != nil {
		finished.Text = result.Artifact.String()
	}
	b.event(finished)
	return result
}

// outcome is what an Undo is told at the end of the build.
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

// result is what the record and the steps say of the end.
func (b *build) result() *Result {
	r := &Result{
		Image: b.img, Build: b.record.Build, Status: b.record.Status, Artifact: b.made(),
		Kept: b.kept, Started: b.record.Started, Finished: b.record.Updated,
	}
	for _, s := range b.stages {
		if s.record.State != "" {
			r.Steps = append(r.Steps, s.result)
		}
	}
	return r
}

// made is the artifact of a build that has one to stay.
func (b *build) made() Artifact {
	switch {
	case b.found != nil:
		return b.found
	case b.good:
		return b.session.Artifact()
	}
	return nil
}

// forward does the steps in order, from one on, until one fails.
func (b *build) forward(ctx context.Context, from int) error {
	in := launching
	if from > 0 {
		in = b.stages[from-1].part
	}
	if err := b.reconnect(ctx, from); err != nil {
		return err
	}
	for _, s := range b.stages[from:] {
		if err := b.cross(ctx, in, s.part); err != nil {
			return err
		}
		in = s.part
		if err := b.do(ctx, s); err != nil {
			if _, partial := errors.AsType[*PartialError](err); partial && s.part == promoting && ctx.Err() == nil {
				b.good, b.record.Good = true, true
			}
			return err
		}
		if b.found != nil {
			return nil
		}
	}
	return b.cross(ctx, in, finished)
}

// cross does what must happen between two parts of the build.
func (b *build) cross(ctx context.Context, from, to part) error {
	if from <= provisioning && to > provisioning || from == checking && to > checking {
		if err := b.disconnect(ctx, Succeeded); err != nil {
			return err
		}
	}
	if from < checking && to == checking {
		b.checkRun.Source = b.session.Artifact()
	}
	if to >= publishing && !b.img.ProvisionOnly {
		b.good, b.record.Good = true, true
	}
	return nil
}

// saved saves the record; its error names the image.
func (b *build) saved(ctx context.Context) error {
	if err := b.save(ctx); err != nil {
		return &Error{Image: b.img.Name, Err: err, mask: b.mask}
	}
	return nil
}

// keep marks the steps whose machine stays, and says how to reach it: the
// machine that the provisioners were changing, or the one that a check failed
// on, which stays although its artifact goes.
func (b *build) keep() {
	session, launched := b.session, launching
	if b.reached() == checking {
		session, launched = b.check, checking
	}
	keeper, ok := As[MachineKeeper](session)
	if !ok {
		b.run.Say("this builder cannot keep a machine")
		return
	}
	for _, s := range b.stages {
		if s.part == launched && s.record.State != "" && s.Undo != nil && !s.connects {
			s.record.State = StepKept
		}
	}
	kept := keeper.KeptMachine()
	b.kept = &kept
	b.event(Event{Kind: MachineKept, Text: kept.String()})
}

// reached is the part of the build that was begun last.
func (b *build) reached() part {
	last := launching
	for _, s := range b.stages {
		if s.record.State != "" {
			last = s.part
		}
	}
	return last
}

// save writes the record to the store, if there is one. It works on although
// ctx has ended, since the record is what another process cleans up from.
func (b *build) save(ctx context.Context) error {
	if b.Store == nil {
		return nil
	}
	var err error
	b.record.Updated = b.Clock.Now()
	b.record.Steps = b.record.Steps[:0]
	for _, s := range b.stages {
		if s.record.State != "" {
			b.record.Steps = append(b.record.Steps, s.record)
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

// fingerprint stands for the image and the artifact that it is made from.
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

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
