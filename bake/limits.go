package bake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Limits bounds the machines that exist at once for all calls of Bake which have the
// same *Limits in their Options, as those of a service with one call per request. The
// zero value has no limits. The fields must not change while it is used, and it must
// not be copied.
//
// A build takes part from its launch until its last machine is about to be removed. If
// a limit is reached, it waits in front of its launch, within no timeout but its
// context's: the build's Lifetime begins when it may launch. Of the builds that wait,
// the one with the highest Image.Priority goes first; among equals the one whose
// Options.Caller has the fewest machines, and had its last turn longest ago; then the one
// that has waited longest. A build
// whose limits are not reached does not wait for another whose are. A resumed build
// whose machine exists already does not wait, but counts.
type Limits struct {
	// Machines limits all machines. Zero means no limit.
	Machines int

	// PerPlace limits the machines in one place: for EC2, in a region of an account.
	// Zero means no limit.
	PerPlace int

	// PerType limits the machines of one type in one place. Zero means no limit.
	PerType int

	// Places and Types replace PerPlace and PerType for some places
	// ("123456789012/eu-west-1") and types ("t3.small"). A zero there means no limit.
	Places map[string]int
	Types  map[string]int

	line line
}

// A Demand tells which machine a build needs.
type Demand struct {
	Place string // where, for Limits.PerPlace; for EC2 "123456789012/eu-west-1"
	Type  string // its type, for Limits.PerType; the first one, if there are alternatives
}

// A Demander is a Builder that tells what its builds need, for [Limits]. A build of
// another Builder counts only for Limits.Machines.
type Demander interface {
	// Demand returns what a build of img needs.
	Demand(ctx context.Context, img *Image) (Demand, error)
}

func (l *Limits) validate() error {
	if l == nil {
		return nil
	}
	var errs []error
	check := func(name string, value int) {
		if value < 0 {
			errs = append(errs, Invalid("Options.Limits."+name, "must not be negative"))
		}
	}
	check("Machines", l.Machines)
	check("PerPlace", l.PerPlace)
	check("PerType", l.PerType)
	for _, place := range slices.Sorted(maps.Keys(l.Places)) {
		check(fmt.Sprintf("Places[%q]", place), l.Places[place])
	}
	for _, kind := range slices.Sorted(maps.Keys(l.Types)) {
		check(fmt.Sprintf("Types[%q]", kind), l.Types[kind])
	}
	return errors.Join(errs...)
}

// seats returns what a demand takes of the limits.
func (l *Limits) seats(d Demand) []seat {
	limit := func(usual int, of map[string]int, name string) int {
		if most, ok := of[name]; ok {
			return most
		}
		return usual
	}
	all := []seat{{key: "machines", most: l.Machines, text: "machines"}}
	if d.Place != "" {
		all = append(all, seat{key: "place " + d.Place, most: limit(l.PerPlace, l.Places, d.Place), text: "machines in " + d.Place})
	}
	if d.Type != "" {
		all = append(all, seat{
			key: "type " + d.Place + " " + d.Type, most: limit(l.PerType, l.Types, d.Type), text: d.Type + " in " + d.Place,
		})
	}
	return slices.DeleteFunc(all, func(s seat) bool { return s.most == 0 })
}

// takeMachine waits until the limits permit the machine that the stage needs. It does
// nothing if the build has it already, or needs none.
func (b *build) takeMachine(ctx context.Context, s *stage) error {
	at := slices.Index(b.stages, s)
	if b.Limits == nil || b.leaveLine != nil || at < b.launchAt || s.phase > checking {
		return nil
	}
	var demand Demand
	if d, ok := As[Demander](b.img.Builder); ok {
		var err error
		if demand, err = d.Demand(ctx, b.img); err != nil {
			return &Error{Image: b.img.Name, Err: fmt.Errorf("find out what the build needs: %w", err), mask: b.mask}
		}
	}
	p := &party{priority: b.img.Priority, caller: b.Caller, seats: b.Limits.seats(demand)}
	if at > b.launchAt { // it is resumed, and its machine exists, perhaps
		b.leaveLine = b.Limits.line.force(p)
		return nil
	}
	waited := false
	leave, err := b.Limits.line.enter(ctx, p, b.suspended, func(place int, reached string) {
		waited = true
		b.event(Event{Kind: BuildQueued, Queue: place, Text: reached})
	})
	if err != nil {
		return &Error{Image: b.img.Name, Err: err, mask: b.mask}
	}
	b.leaveLine = leave
	if waited && !b.resumed {
		b.record.Expires = b.Clock.Now().Add(b.Lifetime)
		b.run.Expires, b.checkRun.Expires = b.record.Expires, b.record.Expires
	}
	return nil
}

// leaveMachine lets another build have the machine's place.
func (b *build) leaveMachine() {
	if b.leaveLine != nil {
		b.leaveLine()
		b.leaveLine = nil
	}
}
