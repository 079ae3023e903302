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
//
// A build that may get one of several types counts for each of them until it has its
// machine, and then for that one only. If it launches another machine, for its checks or
// after the first was reclaimed, it gives its place back and waits once more, ahead of
// those that have no machine yet.
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
	Place string   // where, for Limits.PerPlace; for EC2 "123456789012/eu-west-1"
	Types []string // the types that it may have, for Limits.PerType
}

// A Demander is a Builder that tells what its builds need, for [Limits]. A build of
// another Builder counts only for Limits.Machines. If it names several types, its
// sessions should be a [MachineTyper].
type Demander interface {
	// Demand returns what a build of img needs.
	Demand(ctx context.Context, img *Image) (Demand, error)
}

// A MachineTyper is a Session that tells which of the types of its Builder's Demand its
// machine has.
type MachineTyper interface {
	// MachineType returns the type of the session's machine, or "" as long as there is
	// none.
	MachineType() string
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
	for _, kind := range d.Types {
		all = append(all, seat{key: "type " + d.Place + " " + kind, most: limit(l.PerType, l.Types, kind), text: kind + " in " + d.Place})
	}
	return slices.DeleteFunc(all, func(s seat) bool { return s.most == 0 })
}
