package amicleanup

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
	"strings"
)

// limit holds back what exceeds the limits. Images of one release are held back
// together.
func (e *evaluation) limit() {
	units := e.units()
	held := map[*TargetPlan]string{}
	for i := range e.plan.Targets {
		t := &e.plan.Targets[i]
		n := 0
		for j := range t.Items {
			if t.Items[j].Action.retires() {
				n++
			}
		}
		fraction := e.policy.Limits.Fraction
		if e.room == 0 && fraction > 0 && float64(n) > fraction*float64(len(t.Items)) {
			held[t] = fmt.Sprintf("is one of %d to go of %d in %s, which is more than the limit of %g %%", n, len(t.Items), place(t.Account, t.Region), percent*fraction)
		}
	}
	for _, u := range units {
		for _, m := range u {
			if text := held[m.target]; text != "" && m.item.Action.retires() {
				hold(u, Reason{Rule: byLimits, Text: text, Blocked: true})
				break
			}
		}
	}
	e.choose(units)
}

const percent = 100

// choose lets the oldest units go, as many as the limits allow, and holds the
// others. If parents are kept, an image takes no step before those that were
// made from it: they may be held back, or restored.
func (e *evaluation) choose(units [][]member) {
	budget := e.budget()
	l := e.lineage(units)
	free := &oldestFirst{} // units that wait for no other
	for i, u := range units {
		if costOf(u) != (steps{}) && l.blockers[i] == 0 {
			heap.Push(free, i)
		}
	}
	chosen := make([]bool, len(units))
	for free.Len() > 0 {
		i := heap.Pop(free).(int) //nolint:forcetypeassert // container/heap returns what was pushed
		e.work++
		cost := costOf(units[i])
		if chosen[i] = budget.spend(cost); chosen[i] {
			l.goes(units[i], func(unit int) { heap.Push(free, unit) })
		}
	}
	children := l.waitedFor()
	for i, u := range units {
		switch {
		case chosen[i] || costOf(u) == steps{}:
		case l.blockers[i] > 0:
			hold(u, Reason{Rule: e.policy.parentRule(), Text: "waits for what was made from it", Evidence: []string{"image " + children[i]}})
		default:
			hold(u, Reason{Rule: byLimits, Blocked: true, Text: "waits for a later run: this one is limited to " + e.limitText(u)})
		}
	}
}

// steps counts steps by the limit that they count for.
type steps [3]int

// limited returns the actions that have limits, in the order of steps.
func limited() [3]Action { return [3]Action{Remove, Disable, Deprecate} }

// budget returns how many steps of each kind the limits allow.
func (e *evaluation) budget() *steps {
	var left steps
	for i, a := range limited() {
		left[i] = math.MaxInt
		if n := e.policy.Limits.of(a); n > 0 {
			left[i] = n * max(e.room, 1)
		}
	}
	return &left
}

// spend takes cost off what is left, and reports whether that was enough.
func (left *steps) spend(cost steps) bool {
	for i, n := range cost {
		if n > left[i] {
			return false
		}
	}
	for i, n := range cost {
		left[i] -= n
	}
	return true
}

// costOf counts the steps that a unit takes.
func costOf(unit []member) steps {
	var cost steps
	for _, m := range unit {
		switch m.item.Action {
		case Remove, Unprotect:
			cost[0]++
		case Disable:
			cost[1]++
		case Deprecate:
			cost[2]++
		}
	}
	return cost
}

// limitText names the limits for what a unit does.
func (e *evaluation) limitText(unit []member) string {
	var texts []string
	cost := costOf(unit)
	names := [3]string{"removal", "disabled image", "deprecated image"}
	for i, a := range limited() {
		if n := e.policy.Limits.of(a); n > 0 && cost[i] > 0 {
			texts = append(texts, counted(n, names[i]))
		}
	}
	return strings.Join(texts, " and ")
}

func hold(unit []member, reason Reason) {
	for _, m := range unit {
		if m.item.Action != Restore {
			m.item.hold(reason)
		}
	}
}

// A member is an image of a unit.
type member struct {
	target *TargetPlan
	item   *Item
}

// units returns the images that go together: those of one release, or single
// ones. The unit with the oldest image is first.
func (e *evaluation) units() [][]member {
	n := 0
	for i := range e.plan.Targets {
		n += len(e.plan.Targets[i].Items)
	}
	members := make([]member, 0, n)
	for i := range e.plan.Targets {
		t := &e.plan.Targets[i]
		for j := range t.Items {
			members = append(members, member{t, &t.Items[j]})
		}
	}
	if !e.policy.Release.IsZero() {
		slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.item.Release, b.item.Release) })
	}
	units := make([][]member, 0, n)
	for from := 0; from < n; {
		to := from + 1
		for release := members[from].item.Release; to < n && release != "" && members[to].item.Release == release; {
			to++
		}
		units = append(units, oldestToFront(members[from:to:to]))
		from = to
	}
	slices.SortStableFunc(units, func(a, b []member) int {
		x, y := a[0].item.Image, b[0].item.Image
		return cmp.Or(x.Timestamp.Compare(y.Timestamp), cmp.Compare(x.ID, y.ID))
	})
	return units
}

// oldestToFront swaps the oldest image of a unit to its front.
func oldestToFront(unit []member) []member {
	for i := range unit {
		if unit[i].item.Image.Timestamp.Before(unit[0].item.Image.Timestamp) {
			unit[0], unit[i] = unit[i], unit[0]
		}
	}
	return unit
}
