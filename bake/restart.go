package bake

import (
	"context"
	"errors"
)

// A Restarter is a Session whose machine the platform may take away, as EC2
// reclaims a spot instance.
type Restarter interface {
	// Restart is asked when a step failed with cause after the first of Launch,
	// and before there is an artifact; or, for the session that checks one,
	// after the first of its Launch. True undoes what was begun since then and
	// begins there again: the steps, the provisioners and the checks all run
	// once more, each Undo with outcome Failed. It must become false in the end.
	Restart(ctx context.Context, cause error) bool
}

// advance does the steps, and those from a launch on again for as long as the
// platform takes machines away.
func (b *build) advance(ctx context.Context) error {
	for from := b.from; ; {
		err := b.forward(ctx, from)
		if err == nil || ctx.Err() != nil {
			return err
		}
		session, launch := b.losing()
		restarter, ok := As[Restarter](session)
		if !ok || !restarter.Restart(withRun(ctx, b.run), err) {
			return err
		}
		from = launch
		b.event(Event{Kind: BuildRestarted, Step: b.stages[from].Name, Err: causeText(err)})
		if undoErr := b.rewind(ctx, from); undoErr != nil {
			return errors.Join(err, undoErr)
		}
	}
}

// losing is the session that may have lost its machine, and where its launch
// begins; a nil session when there is none to lose.
func (b *build) losing() (session Session, launch int) {
	switch reached := b.reached(); {
	case reached <= capturing && b.session.Artifact() == nil:
		return b.session, b.launchAt
	case reached == checking:
		return b.check, b.checkAt
	}
	return nil, 0
}

// rewind undoes the stages from one on, and makes them such as were never
// begun.
func (b *build) rewind(ctx context.Context, from int) error {
	again := map[*stage]bool{}
	for _, s := range b.stages[from:] {
		again[s] = true
	}
	if err := b.undo(ctx, Failed, func(s *stage) bool { return again[s] }); err != nil {
		return err
	}
	for s := range again {
		s.record = StepRecord{Name: s.record.Name, Check: s.record.Check}
	}
	return nil
}
