package bake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A phase is a group of consecutive stages.
type phase int

const (
	launching phase = iota
	provisioning
	capturing
	checking
	releasing
	promoting
	publishing
	finished
)

// A stage is a step at its position in a build, with its progress.
type stage struct {
	Step
	phase    phase
	connects bool          // opens the connection; its Undo closes it
	finds    bool          // may find an artifact, which ends the build
	skipped  bool          // has an Undo that the definition lacks
	digest   func() string // of what a step of the image is made of; nil for the builder's
	record   StepRecord
	result   StepResult
}

// plan lists the stages of the build in order.
func (b *build) plan() error {
	img, s := b.img, b.session
	if img.Fingerprint != "" && !img.ProvisionOnly {
		b.stage(launching, Step{Name: "find existing artifact", Do: b.find})
		b.stages[0].finds = true
	}
	b.userSteps(launching, BeforeLaunch)
	b.launchAt = len(b.stages)
	b.stage(launching, s.Launch()...)
	if !machineless(s) {
		b.connectStage(launching, "connect", s)
	}
	b.userSteps(provisioning, BeforeProvision)
	for i, p := range img.Provisioners {
		b.imageStage(provisioning, b.provision(i, p), digestOf(p))
	}
	b.userSteps(provisioning, BeforeCapture)
	if img.ProvisionOnly {
		return b.uniqueNames()
	}
	b.stage(capturing, s.Capture()...)
	b.userSteps(capturing, AfterCapture)
	for i, c := range img.Checks {
		if with, ok := As[ArtifactChecker](c); ok {
			b.imageStage(capturing, Step{
				Name: stepName("check", i, c),
				Do:   func(ctx context.Context) error { return with.CheckArtifact(ctx, s.Artifact()) },
			}, digestOf(c))
		}
	}
	if b.check != nil {
		b.planChecks()
	}
	b.stage(promoting, s.Promote()...)
	b.userSteps(promoting, AfterPromote)
	for i, p := range img.Publishers {
		b.imageStage(publishing, Step{
			Name: stepName("publish", i, p),
			Do:   func(ctx context.Context) error { return p.Publish(ctx, b.finalArtifact()) },
		}, digestOf(p))
	}
	return b.uniqueNames()
}

// planChecks adds the stages of the machine that boots from the artifact.
func (b *build) planChecks() {
	const prefix = "check: "
	b.checkAt = len(b.stages)
	for _, step := range b.check.Launch() {
		step.Name = prefix + step.Name
		b.stage(checking, step)
	}
	b.connectStage(checking, prefix+"connect", b.check)
	for i, c := range b.img.Checks {
		if !needsMachine(c) {
			continue
		}
		b.imageStage(checking, Step{
			Name: stepName("check", i, c),
			Do:   func(ctx context.Context) error { return c.Check(ctx, b.machine) },
		}, digestOf(c))
	}
	for _, step := range b.check.EndCheck() {
		step.Name = prefix + step.Name
		b.stage(releasing, step)
	}
}

func (b *build) stage(in phase, steps ...Step) {
	for _, step := range steps {
		b.stages = append(b.stages, &stage{
			Step: step, phase: in,
			record: StepRecord{Name: step.Name, Check: in == checking || in == releasing, Undo: step.Undo != nil},
			result: StepResult{Name: step.Name},
		})
	}
}

// imageStage adds the stage of a step of the image.
func (b *build) imageStage(in phase, step Step, digest func() string) {
	b.stage(in, step)
	s := b.stages[len(b.stages)-1]
	s.record.Image, s.digest = true, digest
}

// connectStage adds the stage that connects to the machine of s.
func (b *build) connectStage(in phase, name string, to Session) {
	b.stage(in, Step{Name: name, Do: b.connect(to), Undo: b.disconnect})
	s := b.stages[len(b.stages)-1]
	s.connects, s.record.Undo = true, false
}

func (b *build) userSteps(in phase, at Point) {
	for _, step := range b.img.Steps {
		if step.At == at {
			b.imageStage(in, step, step.digest)
		}
	}
}

func (b *build) provision(i int, p Provisioner) Step {
	step := Step{
		Name: stepName("provision", i, p),
		Do:   func(ctx context.Context) error { return p.Provision(ctx, b.machine) },
	}
	if u, ok := As[Undoer](p); ok {
		step.Undo = u.Undo
	}
	return step
}

func (b *build) uniqueNames() error {
	var errs []error
	seen := map[string]bool{}
	for _, s := range b.stages {
		if seen[s.Name] {
			errs = append(errs, &Error{Image: b.img.Name, Step: b.run.Redact(s.Name), Err: errors.New("duplicate step name"), mask: b.mask})
		}
		seen[s.Name] = true
	}
	return errors.Join(errs...)
}

// find looks for an artifact with the same fingerprint.
func (b *build) find(ctx context.Context) error {
	finder, ok := As[Finder](b.img.Builder)
	if !ok {
		return errNoFinder
	}
	if why, fresh := b.Fresh[b.img.Name]; fresh {
		b.run.Say("building anew: %s", why)
		return nil
	}
	found, err := finder.Find(ctx, b.img, b.run)
	if errors.Is(err, ErrNoArtifact) {
		return nil
	}
	if err != nil {
		return err
	}
	b.found = found
	b.run.Say("reusing %s: it has the same fingerprint", found)
	return nil
}

// publishFound runs the publishers for the artifact that was found. They are the only
// stages that are left, so that the record has those that run.
func (b *build) publishFound(ctx context.Context) error {
	if !b.img.PublishReused {
		return nil
	}
	b.stages = slices.DeleteFunc(slices.Clone(b.stages), func(s *stage) bool { return !s.finds && s.phase != publishing })
	for _, s := range b.stages[1:] {
		if b.suspending() {
			return b.named(ErrSuspended)
		}
		if err := b.do(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *build) connect(s Session) func(context.Context) error {
	return func(ctx context.Context) error {
		m, err := s.Connect(ctx)
		if err != nil {
			return err
		}
		b.connection = m
		b.machine = &observed{machine: m, run: b.run, hold: b.hold}
		return nil
	}
}

// closeTimeout bounds the wait for a connection to close.
const closeTimeout = 2 * time.Second

// disconnect closes the connection, if any.
func (b *build) disconnect(ctx context.Context, _ Outcome) error {
	m := b.connection
	b.machine, b.connection = nil, nil
	if m == nil {
		return nil
	}
	limited, stop := clock.WithTimeout(context.WithoutCancel(ctx), b.Clock, closeTimeout)
	defer stop()
	closed := make(chan error, 1)
	go func() { closed <- guard(m.Close) }()
	var err error
	select {
	case err = <-closed:
	case <-limited.Done():
		err = fmt.Errorf("no end after %v", closeTimeout)
	}
	if err != nil {
		// Harmless: the machine is about to go, or the connection is already lost.
		b.run.Log.Debug("close connection", slog.String("error", err.Error()))
	}
	return nil
}

// takeOver returns the connection for a step of Session.Capture, once.
func (b *build) takeOver() Machine {
	if b.machine != nil {
		return nil
	}
	m := b.connection
	b.connection = nil
	return m
}

// checks reports whether a second machine checks the artifact.
func (b *build) checks() bool {
	return slices.ContainsFunc(b.img.Checks, needsMachine) && !b.img.ProvisionOnly || b.undoing && len(b.record.Check) > 0
}

// begin starts the sessions and plans the stages.
func (b *build) begin() error {
	id := b.record.Build
	if b.record.Again > 0 {
		id = fmt.Sprintf("%s-%d", id, b.record.Again+1)
	}
	b.stages, b.check = nil, nil
	b.run, b.checkRun = b.newRun(id), b.newRun(id+"-check")
	b.checkRun.Checks = true
	var err error
	if b.session, err = b.img.Builder.Begin(b.img, b.run); err != nil {
		return b.named(fmt.Errorf("begin: %w", err))
	}
	if b.checks() {
		if b.check, err = b.img.Builder.Begin(b.img, b.checkRun); err != nil {
			return b.named(fmt.Errorf("begin check: %w", err))
		}
	}
	return b.plan()
}
