package amicleanup

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Limits bound what one plan may do, for the case that a policy or what it
// rests on is wrong. What a limit holds back is kept, and the plan says so.
type Limits struct {
	// Removals is the most images that one plan disables or deregisters, over
	// all targets together; the oldest go first, the others wait for the next
	// run. Zero is no limit.
	Removals int

	// Fraction is the largest part of a target's selected images that one plan
	// disables or deregisters, above zero and up to one. When the policy wants
	// more to go, nothing goes there. Zero is no limit.
	Fraction float64

	// Left is how many usable images stay in each group at least, whatever the
	// keepers say. Zero is one; the newest usable one always stays.
	Left int

	// UnusableNewest lets images go also from groups whose newest image cannot
	// be launched: failed, disabled, or still being made. Without it such a
	// group is left alone, since the last good image may be needed.
	UnusableNewest bool

	// Recoverable lets only go what the Recycle Bin keeps for so long, and the
	// snapshots at least as long as their image, so that Undo can take it
	// back. Each Target then needs its RecycleBin. A rule takes up to half an
	// hour to work. Zero asks for nothing.
	Recoverable time.Duration
}

// Validate reports what is wrong with the limits.
func (l *Limits) Validate() error {
	var errs []error
	if l.Removals < 0 {
		errs = append(errs, bake.Invalid("Limits.Removals", "must not be negative"))
	}
	if l.Fraction < 0 || l.Fraction > 1 {
		errs = append(errs, bake.Invalid("Limits.Fraction", "is %v, not between 0 and 1", l.Fraction))
	}
	if l.Recoverable < 0 {
		errs = append(errs, bake.Invalid("Limits.Recoverable", "must not be negative"))
	}
	if l.Left < 0 {
		errs = append(errs, bake.Invalid("Limits.Left", "must not be negative"))
	}
	return errors.Join(errs...)
}

// retires reports whether an action takes an image away from its users.
func (a Action) retires() bool { return a == Disable || a == Deregister }

// steps is how far down an action takes an image; zero is nowhere.
func (a Action) steps() int {
	switch a {
	case Deprecate:
		return 1
	case Disable:
		return 2
	case Deregister:
		return 3
	default:
		return 0
	}
}

// limit holds back what goes beyond the limits. Images of one release are
// held back together.
func (e *evaluation) limit() {
	l := &e.policy.Limits
	units := e.units()
	for i := range e.plan.Targets {
		t := &e.plan.Targets[i]
		n := 0
		for j := range t.Items {
			if t.Items[j].Action.retires() {
				n++
			}
		}
		if l.Fraction == 0 || float64(n) <= l.Fraction*float64(len(t.Items)) {
			continue
		}
		text := fmt.Sprintf("is one of %d to go of %d in %s, which is more than the limit of %g %%", n, len(t.Items), place(t.Account, t.Region), percent*l.Fraction)
		for _, u := range units {
			if slices.ContainsFunc(u, func(m member) bool { return m.target == t && m.item.Action.retires() }) {
				hold(u, Reason{Keeper: byLimits, Text: text, Blocked: true})
			}
		}
	}
	e.choose(units)
}

// choose lets the oldest units go, as many as the limit allows, and holds the
// others. With ParentOfKept, an image takes no step before those that were
// made from it: they may be held back, or restored.
func (e *evaluation) choose(units [][]member) {
	left := cmp.Or(e.policy.Limits.Removals, math.MaxInt)
	children := e.children()
	chosen := map[string]Action{} // what images do in this run, by id
	open := slices.DeleteFunc(units, func(u []member) bool {
		return !slices.ContainsFunc(u, func(m member) bool { return m.item.Action.steps() > 0 })
	})
	for before := -1; before != len(open); {
		before = len(open)
		open = slices.DeleteFunc(open, func(u []member) bool {
			n := retiring(u)
			if n > left || children.behind(u, chosen) != "" {
				return false
			}
			left -= n
			for _, m := range u {
				chosen[m.item.Image.ID] = m.item.Action
			}
			return true
		})
	}
	for _, u := range open {
		if child := children.behind(u, chosen); child != "" {
			hold(u, Reason{Keeper: parentOfKept{}.String(), Text: "waits for what was made from it", Evidence: []string{"image " + child}})
		} else {
			hold(u, Reason{Keeper: byLimits, Blocked: true, Text: fmt.Sprintf("waits for a later run: this one is limited to %d removals", e.policy.Limits.Removals)})
		}
	}
}

func retiring(unit []member) int {
	n := 0
	for _, m := range unit {
		if m.item.Action.retires() {
			n++
		}
	}
	return n
}

const percent = 100

func hold(unit []member, reason Reason) {
	for _, m := range unit {
		if m.item.Action.steps() > 0 || m.item.Action == Wait {
			m.item.Action = Keep
			reason.ImageID = m.item.Image.ID
			m.item.Reasons = append(m.item.Reasons, reason)
		}
	}
}

// A member is an image of a unit.
type member struct {
	target *TargetPlan
	item   *Item
}

// units are the images that go together: those of one release, or single
// ones. The unit with the oldest image is first.
func (e *evaluation) units() [][]member {
	byRelease := map[string][]member{}
	var units [][]member
	for i := range e.plan.Targets {
		t := &e.plan.Targets[i]
		for j := range t.Items {
			m := member{t, &t.Items[j]}
			if m.item.Release == "" {
				units = append(units, []member{m})
				continue
			}
			byRelease[m.item.Release] = append(byRelease[m.item.Release], m)
		}
	}
	for _, release := range slices.Sorted(maps.Keys(byRelease)) {
		units = append(units, byRelease[release])
	}
	slices.SortStableFunc(units, func(a, b []member) int {
		x, y := oldest(a), oldest(b)
		return cmp.Or(x.Stamp.Compare(y.Stamp), cmp.Compare(x.Image.ID, y.Image.ID))
	})
	return units
}

func oldest(unit []member) *Item {
	first := unit[0].item
	for _, m := range unit[1:] {
		if m.item.Stamp.Before(first.Stamp) {
			first = m.item
		}
	}
	return first
}
