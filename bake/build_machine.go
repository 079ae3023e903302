package bake

import (
	"context"
	"fmt"
	"slices"
)

// A machinePlace is what a build has of Options.Limits.
type machinePlace struct {
	party  *party
	demand Demand
	typed  bool // it counts only for the type that its machine has, not for all of demand
	leave  func()
}

// takeMachine waits until the limits permit the machine that the stage needs. It does
// nothing if the build has it already, or needs none.
func (b *build) takeMachine(ctx context.Context, s *stage) error {
	at, first := slices.Index(b.stages, s), b.launchAt
	if machineless(b.session) {
		if first = b.checkAt; b.check == nil {
			return nil
		}
	}
	launches := at == first || at == b.checkAt && b.check != nil
	again := b.place != nil && b.place.typed && launches
	if b.Limits == nil || at < first || s.phase > checking || b.place != nil && !again {
		return nil
	}
	b.leaveMachine() // else builds could wait for each other
	place := &machinePlace{}
	if d, ok := As[Demander](b.img.Builder); ok {
		var err error
		if place.demand, err = d.Demand(ctx, b.img); err != nil {
			return &Error{Image: b.img.Name, Err: fmt.Errorf("find out what the build needs: %w", err), mask: b.mask}
		}
	}
	p := &party{priority: b.img.Priority, caller: b.Caller, again: again, seats: b.Limits.seats(place.demand)}
	place.party = p
	if at > first && !again { // it is resumed, and its machine exists, perhaps
		place.leave = b.Limits.line.force(p)
		b.place = place
		b.machineLaunched(s)
		return nil
	}
	waited := false
	b.hold.wait(true)
	leave, err := b.Limits.line.enter(ctx, p, b.suspended, func(place int, reached string) {
		waited = true
		b.event(Event{Kind: BuildQueued, Queue: place, Text: reached})
	})
	b.hold.wait(false)
	if err != nil {
		return &Error{Image: b.img.Name, Err: err, mask: b.mask}
	}
	place.leave = leave
	b.place = place
	if waited && !b.resumed && !again {
		b.record.Expires = b.Clock.Now().Add(b.Lifetime)
		b.run.Expires, b.checkRun.Expires = b.record.Expires, b.record.Expires
	}
	return nil
}

// machineLaunched lets other builds have the types that the machine of the stage, which
// may have launched it, does not have.
func (b *build) machineLaunched(s *stage) {
	if b.place == nil || b.place.typed || len(b.place.demand.Types) < 2 {
		return
	}
	session := b.session
	if s.phase == checking {
		session = b.check
	}
	typer, ok := As[MachineTyper](session)
	if !ok || typer.MachineType() == "" {
		return
	}
	has := b.place.demand
	has.Types = []string{typer.MachineType()}
	b.place.typed = true
	b.Limits.line.change(b.place.party, b.Limits.seats(has))
}

// leaveMachine lets another build have the machine's place.
func (b *build) leaveMachine() {
	if b.place != nil {
		b.place.leave()
		b.place = nil
	}
}
