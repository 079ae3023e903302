package bake

import (
	"context"
	"errors"
)

// A Restarter is a Session whose machine the platform may reclaim, as EC2 does
// with spot instances.
type Restarter interface {
	// Restart reports whether the build should launch again after a step failed
	// with cause. It is called for failures after the first step of Launch and
	// before there is an artifact, and, on the check session, after the first step
	// of its Launch. If true, everything since then is undone with outcome Failed,
	// and the launch, the provisioners and the checks run again. Implementations
	// must eventually return false.
	Restart(ctx context.Context, cause error) bool
}

// advance runs the stages, and starts again at a launch whenever the platform
// reclaims the machine.
func (b *build) advance(ctx context.Context) error {
	for from := b.firstStage; ; {
		err := b.runStages(ctx, from)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrSuspended) {
			return err
		}
		session, launch := b.restartable()
		restarter, ok := As[Restarter](session)
		if !ok || !restarter.Restart(withRun(ctx, b.run), err) {
			return err
		}
		from, b.restarted = launch, true
		b.event(Event{Kind: BuildRestarted, Step: b.stages[from].Name, Err: causeText(err)})
		if undoErr := b.rewind(ctx, from); undoErr != nil {
			return errors.Join(err, undoErr)
		}
	}
}

// restartable returns the session whose machine may have been reclaimed and the
// index of its launch, or a nil session.
func (b *build) restartable() (session Session, launch int) {
	switch reached := b.lastPhase(); {
	case reached <= capturing && b.session.Artifact() == nil:
		return b.session, b.launchAt
	case reached == checking:
		return b.check, b.checkAt
	}
	return nil, 0
}

// rewind undoes the stages starting at from and resets their records.
func (b *build) rewind(ctx context.Context, from int) error {
	again := map[*stage]bool{}
	for _, s := range b.stages[from:] {
		again[s] = true
	}
	if err := b.undo(ctx, Failed, func(s *stage) bool { return again[s] }); err != nil {
		return err
	}
	for s := range again {
		s.record = StepRecord{Name: s.record.Name, Check: s.record.Check, Image: s.record.Image, Undo: s.record.Undo}
	}
	return nil
}
