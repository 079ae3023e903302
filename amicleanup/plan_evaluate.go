package amicleanup

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// An evaluation decides what happens with every image of an inventory. It does
// no I/O.
type evaluation struct {
	policy *Policy
	inv    *inventory
	name   *pattern
	needs  Needs
	names  []string          // of the rules
	usage  map[string]*usage // by region
	plan   *Plan

	unselected []*Image
	copying    map[string]string // by image id: a copy of it that is being made
	parents    map[string]*Item  // images that others were made from, by id; nil if the policy does not select them
	work       int               // images and units visited because of others, for tests
	approved   *approval         // what may be done; nil means everything

	// room is above zero while facts are still missing: reasons that something
	// was not read are left out, limits are that many times as large, and the
	// fraction is not limited.
	room int
}

// usage holds the references to images in a region.
type usage struct {
	references map[string][]inuse.Reference
	coverage   []inuse.Coverage
}

func (p *Policy) evaluate(inv *inventory, approved *approval, room int) *Plan {
	e := p.evaluation(inv, approved, room)
	e.run()
	return e.plan
}

func (p *Policy) evaluation(inv *inventory, approved *approval, room int) *evaluation {
	e := &evaluation{
		policy: p, inv: inv, usage: map[string]*usage{}, approved: approved, room: room, needs: p.needs(),
		plan: &Plan{Version: planVersion, Made: inv.time, Expires: inv.time.Add(cmp.Or(p.PlanAge, defaultPlanAge))},
	}
	for _, r := range p.Keep {
		e.names = append(e.names, r.String())
	}
	e.name, _ = compile(p.Select.Name) // Validate has compiled it
	return e
}

// run fills the plan.
func (e *evaluation) run() {
	inv := e.inv
	for i := range inv.targets {
		e.addUsage(&inv.targets[i])
	}
	e.copying = inv.copying()
	for i := range inv.targets {
		e.plan.Targets = append(e.plan.Targets, e.target(&inv.targets[i]))
	}
	e.keepRelated()
	for i := range e.plan.Targets {
		items := e.plan.Targets[i].Items
		for j := range items {
			e.decide(&inv.targets[i], &items[j])
		}
	}
	e.alignReleases()
	e.allow()
	e.limit()
	e.planSnapshots()
}

func (e *evaluation) addUsage(t *targetInventory) {
	u := e.usage[t.target.region()]
	if u == nil {
		u = &usage{references: map[string][]inuse.Reference{}}
		e.usage[t.target.region()] = u
	}
	for _, ref := range t.references {
		u.references[ref.Used()] = append(u.references[ref.Used()], ref)
	}
	u.coverage = append(u.coverage, t.coverage...)
}

// versioned reports whether images are ordered by version.
func (e *evaluation) versioned() bool { return e.name.versioned || !e.policy.Version.IsZero() }

// A groupKey identifies the groups of one target.
type groupKey struct{ key, architecture string }

func (k groupKey) compare(other groupKey) int {
	return cmp.Or(cmp.Compare(k.key, other.key), cmp.Compare(k.architecture, other.architecture))
}

// fewExamples is how many unselected images a plan names.
const fewExamples = 10

// target collects the images of a target in groups, with the reasons to keep
// each.
func (e *evaluation) target(t *targetInventory) TargetPlan {
	out := TargetPlan{Account: t.target.Account, Region: t.target.region(), Owner: t.owner, Coverage: t.coverage}
	if t.err != nil {
		out.Error = t.err.Error()
	}
	if t.snapshotErr != nil {
		out.SnapshotError = t.snapshotErr.Error()
	}
	out.Items = make([]Item, 0, len(t.images))
	groups := map[groupKey]*Group{}
	for _, img := range t.images {
		parsed, matches := e.name.match(img.Name)
		if !matches || !e.policy.Select.matches(img) {
			e.unselected = append(e.unselected, img)
			out.Unselected++
			if len(out.Examples) < fewExamples {
				out.Examples = append(out.Examples, fmt.Sprintf("%s (%s)", img.ID, img.Name))
			}
			continue
		}
		item, why := e.item(img, &parsed)
		newGroup := func() *Group {
			u := e.usage[out.Region]
			return &Group{
				Account: out.Account, Region: out.Region, Key: item.Group, Architecture: img.Architecture,
				Now: e.inv.time, References: u.references, coverage: u.coverage, answers: t.answers,
			}
		}
		key := groupKey{item.Group, img.Architecture}
		switch {
		case why == nil:
			if groups[key] == nil {
				groups[key] = newGroup()
			}
			groups[key].Images = append(groups[key].Images, img)
		case e.demands(img) != "": // the other rules decide, as in a group of its own
			alone := newGroup()
			alone.Images = []*Image{img}
			out.Items = e.group(out.Items, alone, *why)
		default:
			item.because(*why)
			out.Items = append(out.Items, item)
		}
	}
	// In the order of the plan, which is then almost sorted.
	for _, key := range slices.SortedFunc(maps.Keys(groups), groupKey.compare) {
		out.Items = e.group(out.Items, groups[key])
	}
	if e.approved != nil {
		for i := range out.Items {
			e.approved.restrict(&out, &out.Items[i])
		}
	}
	out.sort(e.versioned())
	return out
}

// item groups and dates an image, or returns why it cannot be compared with
// others.
func (e *evaluation) item(img *Image, parsed *parsedName) (item Item, why *Reason) {
	item = Item{Image: img, Action: Keep}
	img.Timestamp, img.Version = time.Time{}, ""
	if until, open := unfinished(img.Tags); open && until.After(e.inv.time) {
		return item, &Reason{Rule: always, Text: "belongs to a build that may run until " + timeText(until)}
	}
	keep := func(text string) *Reason { return &Reason{Rule: always, Text: text, Retention: true} }
	var ok bool
	if item.Group, ok = e.groupOf(img, parsed); !ok {
		return item, keep("has no group")
	}
	var err error
	if item.Image.Timestamp, err = e.timestampOf(img, parsed); err != nil {
		return item, keep(err.Error())
	}
	item.Image.Version = parsed.version
	if !e.policy.Version.IsZero() {
		if item.Image.Version, ok = e.policy.Version.Of(img); !ok {
			return item, keep("has no version")
		}
	}
	return item, nil
}

func (e *evaluation) groupOf(img *Image, parsed *parsedName) (string, bool) {
	switch {
	case !e.policy.Group.IsZero():
		return e.policy.Group.Of(img)
	case e.policy.Select.Name != "":
		return parsed.group, true
	case e.policy.Select.Baked:
		return ByDefinition().Of(img)
	default:
		return "", false
	}
}

func (e *evaluation) timestampOf(img *Image, parsed *parsedName) (time.Time, error) {
	switch {
	case e.policy.Timestamp != nil:
		return e.policy.Timestamp(img)
	case e.name.stamped:
		return e.name.parse(parsed.stamp)
	case e.policy.Select.Baked:
		return BakeTime(img)
	default:
		return CreationDate(img)
	}
}

// group appends the items of a group to items, with all reasons to keep them, and
// others.
func (e *evaluation) group(items []Item, g *Group, others ...Reason) []Item {
	g.sort(e.versioned())
	from := len(items)
	at := make(map[string]int, len(g.Images)) // in items, by image id
	for i, img := range g.Images {
		at[img.ID] = from + i
		items = append(items, Item{Image: img, Group: g.Key, Action: Keep, Reasons: slices.Clone(others)})
	}
	add := func(img *Image, r Reason) {
		r.ImageID, r.Rule = img.ID, always
		item := &items[at[img.ID]]
		item.Reasons = append(item.Reasons, r)
	}
	needed := e.guard(g, add)
	for _, img := range g.Images {
		for _, text := range e.untouchable(img) {
			add(img, Reason{Text: text, passive: true})
		}
		for _, m := range e.policy.Remove {
			if m.unclear == nil {
				continue
			}
			if text := m.unclear(img); text != "" {
				add(img, Reason{Text: text, Retention: true})
			}
		}
	}
	for i, rule := range e.policy.Keep {
		for _, r := range rule.Keep(g) {
			r.Rule = e.names[i]
			if j, ok := at[r.ImageID]; ok && (!r.unread || e.room == 0) {
				items[j].Reasons = append(items[j].Reasons, r)
			}
		}
	}
	for i := from; i < len(items); i++ {
		items[i].newest = needed
		e.demand(&items[i])
		items[i].Reasons = strongest(items[i].Reasons)
	}
	return items
}

// Reasons other than rules.
const (
	always      = "always"
	byRelease   = "Release"
	byLifecycle = "Lifecycle"
	byLimits    = "Limits"
	byPlan      = "Plan"
)

// guard keeps what a group needs, and returns the image that must be there while
// others go.
func (e *evaluation) guard(g *Group, add func(*Image, Reason)) (id string) {
	newest, usable := g.newest(), g.newestUsable()
	if newest != nil {
		add(newest, Reason{Text: "is the newest of its group", Retention: true})
		id = newest.ID
	}
	if usable != nil {
		if usable.ID != newest.ID {
			add(usable, Reason{Text: "is the newest usable of its group", Retention: true})
		}
		id = usable.ID
	}
	limits, left := &e.policy.Limits, 0
	for i := range g.Images {
		img := g.Images[i]
		if img.Usable() && left < limits.MinLeft {
			left++
			if img.ID != id {
				add(img, Reason{Text: fmt.Sprintf("is one of the %d usable images that must be left", limits.MinLeft), Retention: true})
			}
		}
		if newest != nil && !newest.Usable() && !limits.AllowUnusableNewest && img.ID != newest.ID {
			add(img, Reason{Blocked: true, Retention: true, Text: fmt.Sprintf("is older than %s, the newest, which is %s", newest.ID, newest.State)})
		}
	}
	return id
}

// decide turns reasons into an action.
func (e *evaluation) decide(t *targetInventory, item *Item) {
	if item.wanted() {
		if stageOf(item.Image).action != "" && !item.blocked() && !item.passive() {
			item.Action = Restore
		}
		return
	}
	next := e.policy.Lifecycle.next(item.Image, e.inv.time)
	item.Action, item.next = next.action, next.action
	switch {
	case next.action == "":
		item.Action, item.ended = Keep, true
		item.because(Reason{Rule: byLifecycle, Text: "is at the last step of the lifecycle"})
	case !next.until.IsZero():
		item.because(Reason{Rule: byLifecycle, Text: waitText(stageOf(item.Image), next)})
		item.Action = Wait
	case next.action == Remove && item.Image.protected():
		item.Action, item.next = Unprotect, Unprotect
		if item.Image.coolingDown() {
			item.Action = Wait
			item.because(Reason{Rule: always, Text: "has deregistration protection that is " + item.Image.Protection})
		}
	}
	if enough := e.policy.Limits.Recoverable; item.Action == Remove && enough > 0 {
		if why := t.unrecoverable(item.Image, enough); why != "" {
			item.Action = Wait
			item.because(Reason{Rule: byLimits, Text: why, Blocked: true})
		}
	}
}

// allow holds back actions that were not approved, together with the rest of the
// release.
func (e *evaluation) allow() {
	if e.approved == nil {
		return
	}
	for _, unit := range e.units() {
		for _, m := range unit {
			item := m.item
			if item.Action != Restore && item.Action.steps() == 0 || e.approved.approves(m.target, item) == item.Action {
				continue
			}
			reason := Reason{Rule: byPlan, Text: fmt.Sprintf("would now be changed by %q", item.Action), Blocked: true, passive: true}
			if item.Action == Restore {
				item.hold(reason)
			} else {
				hold(unit, reason)
			}
		}
	}
}
