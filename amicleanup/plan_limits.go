package amicleanup

import (
	"cmp"
	"fmt"
	"maps"
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
	budget := map[Action]int{}
	for _, a := range []Action{Remove, Disable, Deprecate} {
		budget[a] = math.MaxInt
		if n := e.policy.Limits.of(a); n > 0 {
			budget[a] = n * max(e.room, 1)
		}
	}
	children := e.children()
	chosen := map[string]Action{} // what images do in this run, or did before
	for _, u := range units {
		for _, m := range u {
			if m.item.ended {
				chosen[m.item.Image.ID] = cmp.Or(e.policy.Lifecycle.End, Remove)
			}
		}
	}
	open := slices.DeleteFunc(units, func(u []member) bool {
		return !slices.ContainsFunc(u, func(m member) bool { return m.item.Action.steps() > 0 })
	})
	for before := -1; before != len(open); {
		before = len(open)
		open = slices.DeleteFunc(open, func(u []member) bool {
			cost := costOf(u)
			for a, n := range cost {
				if n > budget[a] {
					return false
				}
			}
			if children.behind(u, chosen) != "" {
				return false
			}
			for a, n := range cost {
				budget[a] -= n
			}
			for _, m := range u {
				chosen[m.item.Image.ID] = m.item.Action
			}
			return true
		})
		if children == nil {
			break // no unit depends on another
		}
	}
	for _, u := range open {
		if child := children.behind(u, chosen); child != "" {
			hold(u, Reason{Rule: e.policy.parentRule(), Text: "waits for what was made from it", Evidence: []string{"image " + child}})
		} else {
			hold(u, Reason{Rule: byLimits, Blocked: true, Text: "waits for a later run: this one is limited to " + e.limitText(u)})
		}
	}
}

// costOf counts the steps that a unit takes, by the limit that they count for.
func costOf(unit []member) map[Action]int {
	cost := map[Action]int{}
	for _, m := range unit {
		switch a := m.item.Action; a {
		case Remove, Unprotect:
			cost[Remove]++
		case Disable, Deprecate:
			cost[a]++
		}
	}
	return cost
}

// limitText names the limits for what a unit does.
func (e *evaluation) limitText(unit []member) string {
	var texts []string
	cost := costOf(unit)
	for _, a := range []Action{Remove, Disable, Deprecate} {
		if n := e.policy.Limits.of(a); n > 0 && cost[a] > 0 {
			texts = append(texts, counted(n, map[Action]string{Remove: "removal", Disable: "disabled image", Deprecate: "deprecated image"}[a]))
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

// lineage maps image ids to the images that were made from them.
type lineage map[string][]string

// children returns the lineage, or nil if no rule keeps parents.
func (e *evaluation) children() lineage {
	if !e.needs.Parents {
		return nil
	}
	all := lineage{}
	for i := range e.inv.targets {
		images := e.inv.targets[i].images
		for j := range images {
			for _, parent := range images[j].parents() {
				all[parent] = append(all[parent], images[j].ID)
			}
		}
	}
	return all
}

// behind returns an image outside of the unit that was made from one in it and
// goes less far in this run, or "".
func (l lineage) behind(unit []member, chosen map[string]Action) string {
	if l == nil {
		return ""
	}
	var inside map[string]bool
	if len(unit) > 1 {
		inside = make(map[string]bool, len(unit))
		for _, m := range unit {
			inside[m.item.Image.ID] = true
		}
	}
	for _, m := range unit {
		for _, child := range l[m.item.Image.ID] {
			if !inside[child] && chosen[child].steps() < m.item.Action.steps() {
				return child
			}
		}
	}
	return ""
}

// A member is an image of a unit.
type member struct {
	target *TargetPlan
	item   *Item
}

// units returns the images that go together: those of one release, or single
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
	type aged struct {
		unit   []member
		oldest *Image
	}
	sorted := make([]aged, len(units))
	for i, u := range units {
		sorted[i] = aged{u, &oldestOf(u).Image}
	}
	slices.SortStableFunc(sorted, func(a, b aged) int {
		return cmp.Or(a.oldest.Timestamp.Compare(b.oldest.Timestamp), cmp.Compare(a.oldest.ID, b.oldest.ID))
	})
	for i := range sorted {
		units[i] = sorted[i].unit
	}
	return units
}

func oldestOf(unit []member) *Item {
	first := unit[0].item
	for _, m := range unit[1:] {
		if m.item.Image.Timestamp.Before(first.Image.Timestamp) {
			first = m.item
		}
	}
	return first
}
