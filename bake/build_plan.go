package bake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	connects bool // opens the connection; its Undo closes it
	finds    bool // may find an artifact, which ends the build
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
	b.connection(launching, "connect", s)
	b.userSteps(provisioning, BeforeProvision)
	for i, p := range img.Provisioners {
		b.stage(provisioning, b.provision(i, p))
	}
	b.userSteps(provisioning, BeforeCapture)
	if img.ProvisionOnly {
		return b.uniqueNames()
	}
	b.stage(capturing, s.Capture()...)
	b.userSteps(capturing, AfterCapture)
	if len(img.Checks) > 0 {
		b.planChecks()
	}
	b.stage(promoting, s.Promote()...)
	b.userSteps(promoting, AfterPromote)
	for i, p := range img.Publishers {
		b.stage(publishing, Step{
			Name: stepName("publish", i, p),
			Do:   func(ctx context.Context) error { return p.Publish(ctx, s.Artifact()) },
		})
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
	b.connection(checking, prefix+"connect", b.check)
	for i, c := range b.img.Checks {
		b.stage(checking, Step{
			Name: stepName("check", i, c),
			Do:   func(ctx context.Context) error { return c.Check(ctx, b.machine) },
		})
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
			record: StepRecord{Name: step.Name, Check: in == checking || in == releasing},
			result: StepResult{Name: step.Name},
		})
	}
}

// connection adds the stage that connects to the machine of s.
func (b *build) connection(in phase, name string, s Session) {
	b.stage(in, Step{Name: name, Do: b.connect(s), Undo: b.disconnect})
	b.stages[len(b.stages)-1].connects = true
}

func (b *build) userSteps(in phase, at Point) {
	for _, step := range b.img.Steps {
		if step.At == at {
			b.stage(in, step)
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

func (b *build) connect(s Session) func(context.Context) error {
	return func(ctx context.Context) error {
		m, err := s.Connect(ctx)
		if err != nil {
			return err
		}
		b.machine = &observed{machine: m, run: b.run}
		return nil
	}
}

// closeTimeout bounds the wait for a connection to close.
const closeTimeout = 2 * time.Second

// disconnect closes the connection, if any.
func (b *build) disconnect(ctx context.Context, _ Outcome) error {
	if b.machine == nil {
		return nil
	}
	m := b.machine
	b.machine = nil
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

// begin starts the sessions and plans the stages.
func (b *build) begin() error {
	var err error
	if b.session, err = b.img.Builder.Begin(b.img, b.run); err != nil {
		return &Error{Image: b.img.Name, Err: fmt.Errorf("begin: %w", err), mask: b.mask}
	}
	if len(b.img.Checks) > 0 && !b.img.ProvisionOnly {
		if b.check, err = b.img.Builder.Begin(b.img, b.checkRun); err != nil {
			return &Error{Image: b.img.Name, Err: fmt.Errorf("begin check: %w", err), mask: b.mask}
		}
	}
	return b.plan()
}
