package amicleanup

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Evaluate decides what is to happen with every image in inv that the policy
// selects. It does no I/O; its only error is that of Validate.
func (p *Policy) Evaluate(inv *Inventory) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p.evaluate(inv, false), nil
}

// An evaluation is one call of Evaluate.
type evaluation struct {
	policy *Policy
	inv    *Inventory
	name   *pattern
	usage  map[string]*usage // by region
	plan   *Plan

	// probing leaves out the reasons that only say that something was not read.
	probing bool
}

// usage is what is known about the use of images in a region.
type usage struct {
	references map[string][]Reference
	coverage   []Coverage
}

func (p *Policy) evaluate(inv *Inventory, probing bool) *Plan {
	e := &evaluation{
		policy: p, inv: inv, usage: map[string]*usage{}, probing: probing,
		plan: &Plan{
			Version: planVersion, Policy: p.Fingerprint(),
			Made: inv.Time, Expires: inv.Time.Add(cmp.Or(p.PlanAge, defaultPlanAge)),
		},
	}
	e.name, _ = compile(p.Select.Name) // Validate has compiled it
	for i := range inv.Targets {
		e.addUsage(&inv.Targets[i])
	}
	for i := range inv.Targets {
		e.plan.Targets = append(e.plan.Targets, e.target(&inv.Targets[i]))
	}
	e.keepRelated()
	for i := range e.plan.Targets {
		items := e.plan.Targets[i].Items
		for j := range items {
			e.decide(&inv.Targets[i], &items[j])
		}
	}
	e.alignReleases()
	e.limit()
	return e.plan
}

func (e *evaluation) addUsage(t *TargetInventory) {
	u := e.usage[t.Region]
	if u == nil {
		u = &usage{references: map[string][]Reference{}}
		e.usage[t.Region] = u
	}
	for _, ref := range t.References {
		u.references[ref.ImageID] = append(u.references[ref.ImageID], ref)
	}
	u.coverage = append(u.coverage, t.Coverage...)
}

// target collects the images of a target in groups, and what there is to say
// about each.
func (e *evaluation) target(t *TargetInventory) TargetPlan {
	out := TargetPlan{Account: t.Account, Region: t.Region, Error: t.Error, Coverage: t.Coverage}
	out.Items = make([]Item, 0, len(t.Images))
	groups := map[string]*gathered{}
	for i := range t.Images {
		img := &t.Images[i]
		out.Owner = img.Owner
		_, _, matches := e.name.match(img.Name)
		if !matches || !e.policy.Select.tagged(img) {
			out.Unselected++
			continue
		}
		item, why := e.item(img)
		if why != "" {
			out.Items = append(out.Items, item.because(why))
			continue
		}
		key := item.groupID()
		if groups[key] == nil {
			u := e.usage[t.Region]
			groups[key] = &gathered{group: Group{
				Account: t.Account, Region: t.Region, Key: item.Group, Architecture: img.Architecture,
				Now: e.inv.Time, References: u.references, Coverage: u.coverage, Opinions: t.Opinions,
			}}
		}
		groups[key].images = append(groups[key].images, dated{img, item.Stamp})
	}
	for _, g := range groups {
		out.Items = append(out.Items, e.group(g.fill())...)
	}
	out.sort()
	return out
}

// gathered are the images of a group. They are copied into it when its turn
// comes: not a hundred thousand at a time.
type gathered struct {
	group  Group
	images []dated
}

type dated struct {
	img   *Image
	stamp time.Time
}

func (g *gathered) fill() *Group {
	full := g.group
	full.Images = make([]Stamped, len(g.images))
	for i, d := range g.images {
		full.Images[i] = Stamped{*d.img, d.stamp}
	}
	return &full
}

// item groups and dates an image, or says why it can not be compared with
// others.
func (e *evaluation) item(img *Image) (item Item, why string) {
	item = Item{Image: *img, Action: Keep}
	if until, is := unfinished(img.Tags); is && until.After(e.inv.Time) {
		return item, "belongs to a build that may run until " + stampText(until)
	}
	var ok bool
	if item.Group, ok = e.groupOf(img); !ok {
		return item, "has no group"
	}
	var err error
	if item.Stamp, err = e.stampOf(img); err != nil {
		return item, err.Error()
	}
	return item, ""
}

func (e *evaluation) groupOf(img *Image) (string, bool) {
	switch {
	case e.policy.Group != nil:
		return e.policy.Group(img)
	case e.policy.Select.Name != "":
		group, _, _ := e.name.match(img.Name)
		return group, true
	case e.policy.Select.Baked:
		return ByFamily(img)
	default:
		return "", false
	}
}

func (e *evaluation) stampOf(img *Image) (time.Time, error) {
	switch {
	case e.policy.Stamp != nil:
		return e.policy.Stamp(img)
	case e.name.stamped:
		_, stamp, _ := e.name.match(img.Name)
		return e.name.parse(stamp)
	case e.policy.Select.Baked:
		return BakeTime(img)
	default:
		return CreationDate(img)
	}
}

// group is the heart of the matter: it collects the reasons to stay.
func (e *evaluation) group(g *Group) []Item {
	g.sort()
	reasons := map[string][]Reason{}
	add := func(img *Stamped, r Reason) {
		r.ImageID, r.Keeper = img.ID, always
		reasons[img.ID] = append(reasons[img.ID], r)
	}
	guard := e.guard(g, add)
	for i := range g.Images {
		img := &g.Images[i]
		for _, text := range e.untouchable(&img.Image) {
			add(img, Reason{Text: text, passive: true})
		}
	}
	for _, k := range e.policy.Keep {
		name := keeperName(k)
		for _, r := range k.Keep(g) {
			r.Keeper = name
			if !r.unread || !e.probing {
				reasons[r.ImageID] = append(reasons[r.ImageID], r)
			}
		}
	}
	items := make([]Item, 0, len(g.Images))
	for _, img := range g.Images {
		items = append(items, Item{
			Image: img.Image, Group: g.Key, Stamp: img.Stamp, Newest: guard,
			Action: Keep, Reasons: strongest(reasons[img.ID]),
		})
	}
	return items
}

// Whose reason it is, when it is not a keeper's.
const (
	always    = "always"
	byRelease = "Release"
	byLadder  = "Ladder"
	byLimits  = "Limits"
)

// guard keeps what a group must not be without, and returns the image that has
// to be there while others go.
func (e *evaluation) guard(g *Group, add func(*Stamped, Reason)) (id string) {
	newest, usable := g.newest(), g.newestUsable()
	if newest != nil {
		add(newest, Reason{Text: "is the newest of its group"})
		id = newest.ID
	}
	if usable != nil {
		if usable.ID != newest.ID {
			add(usable, Reason{Text: "is the newest usable of its group"})
		}
		id = usable.ID
	}
	limits, left := &e.policy.Limits, 0
	for i := range g.Images {
		img := &g.Images[i]
		if img.Usable() && left < limits.Left {
			left++
			if img.ID != id {
				add(img, Reason{Text: fmt.Sprintf("is one of the %d usable ones that must be left", limits.Left)})
			}
		}
		if newest != nil && !newest.Usable() && !limits.UnusableNewest && img.ID != newest.ID {
			add(img, Reason{Blocked: true, Text: fmt.Sprintf("is older than %s, the newest, which is %s", newest.ID, newest.State)})
		}
	}
	return id
}

// untouchable are the reasons why an image is left as it is.
func (e *evaluation) untouchable(img *Image) []string {
	var texts []string
	if len(e.policy.Keep) == 0 {
		texts = append(texts, "is under a policy without keepers")
	}
	if !img.settled() {
		texts = append(texts, "is "+img.State)
	}
	if img.protected() {
		texts = append(texts, "is protected from deregistration")
	}
	service := managedBy(img.Tags)
	if img.OwnerAlias == "aws-backup-vault" {
		service = "AWS Backup"
	}
	if service != "" {
		texts = append(texts, "is managed by "+service)
	}
	return texts
}

// strongest leaves out the reasons that only say what is not known when there
// is one that says more.
func strongest(reasons []Reason) []Reason {
	if slices.ContainsFunc(reasons, func(r Reason) bool { return !r.Blocked }) {
		return slices.DeleteFunc(reasons, func(r Reason) bool { return r.Blocked })
	}
	return reasons
}

// decide turns reasons into an action.
func (e *evaluation) decide(t *TargetInventory, item *Item) {
	if item.wanted() {
		if rungOf(&item.Image).action != "" && !item.blocked() && !item.passive() {
			item.Action = Restore
		}
		return
	}
	var until time.Time
	item.Action, until = e.policy.Ladder.next(&item.Image, e.inv.Time)
	item.next = item.Action
	if !until.IsZero() {
		item.Reasons = []Reason{{ImageID: item.Image.ID, Keeper: byLadder, Text: stepText(rungOf(&item.Image), item.Action, until)}}
		item.Action = Wait
	}
	if enough := e.policy.Limits.Recoverable; item.Action == Deregister && enough > 0 {
		if why := t.recoverable(&item.Image, enough); why != "" {
			item.Action, item.Reasons = Wait, []Reason{{ImageID: item.Image.ID, Keeper: byLimits, Text: why, Blocked: true}}
		}
	}
}
