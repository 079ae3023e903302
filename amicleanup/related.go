package amicleanup

import (
	"context"
	"fmt"
	"slices"
)

// SameBuild is a Policy.Release: images are one release when this library
// baked them in one build, or when one is a copy of the other, in whatever
// region or account.
func SameBuild(img *Image) (key string, ok bool) { return GroupByTag(tagBuild)(img) }

// ParentOfKept keeps the images that a kept image was made from, as far as EC2
// or the tags of this library know, and those that they were made from in
// turn. All images of all targets count, also those that the policy does not
// select. What goes, goes after what was made from it. When a target cannot be
// read, nothing goes: it may hold a layer.
func ParentOfKept() Keeper { return parentOfKept{} }

type parentOfKept struct{}

func (parentOfKept) Keep(*Group) []Reason { return nil }
func (parentOfKept) String() string       { return "ParentOfKept()" }

func (p *Policy) keepsParents() bool {
	for _, k := range p.Keep {
		if _, ok := k.(parentOfKept); ok {
			return true
		}
	}
	return false
}

// parents are the ids of what the image was made from. A copy has none.
func (img *Image) parents() []string {
	if img.isCopy() {
		return nil
	}
	return slices.Compact(slices.DeleteFunc([]string{img.Source, img.Tags[tagSource]}, func(id string) bool { return id == "" || id == img.ID }))
}

// childrenOf are the images that were made from others, as a Source: what was
// made since the plan, or was not seen by it, keeps its parents. What goes by
// the same plan goes before them.
type childrenOf struct{ going map[string]bool }

func (childrenOf) Name() string { return "images made from it" }

func (c childrenOf) References(ctx context.Context, t Target) ([]Reference, error) {
	images, err := readImages(ctx, t.Client)
	if err != nil {
		return nil, err
	}
	var refs []Reference
	for i := range images {
		if c.going[images[i].ID] {
			continue
		}
		for _, parent := range images[i].parents() {
			refs = append(refs, Reference{ImageID: parent, By: "image " + images[i].ID})
		}
	}
	return refs, nil
}

// lineage is which images were made from each, by id.
type lineage map[string][]string

// children is the lineage where it matters.
func (e *evaluation) children() lineage {
	all := lineage{}
	if !e.policy.keepsParents() {
		return all
	}
	for i := range e.inv.Targets {
		images := e.inv.Targets[i].Images
		for j := range images {
			for _, parent := range images[j].parents() {
				all[parent] = append(all[parent], images[j].ID)
			}
		}
	}
	return all
}

// behind is an image outside of the unit that was made from one in it and goes
// less far in this run; empty is none.
func (l lineage) behind(unit []member, chosen map[string]Action) string {
	for _, m := range unit {
		for _, child := range l[m.item.Image.ID] {
			inside := slices.ContainsFunc(unit, func(other member) bool { return other.item.Image.ID == child })
			if !inside && chosen[child].steps() < m.item.Action.steps() {
				return child
			}
		}
	}
	return ""
}

// relations connect what is decided about one image with others.
type relations struct {
	items    map[string]*Item   // by image id
	releases map[string][]*Item // by Item.Release
	parents  bool
}

// keepRelated gives the reasons to stay that an image has because others stay,
// until there are no more.
func (e *evaluation) keepRelated() {
	r := &relations{items: map[string]*Item{}, releases: map[string][]*Item{}, parents: e.policy.keepsParents()}
	if !r.parents && e.policy.Release == nil {
		return
	}
	for i := range e.plan.Targets {
		items := e.plan.Targets[i].Items
		for j := range items {
			r.items[items[j].Image.ID] = &items[j]
		}
	}
	e.setReleases(r)
	e.holdForUnread()
	// Every image of the inventory may be a layer's child, selected or not.
	var kept []*Image
	for i := range e.inv.Targets {
		images := e.inv.Targets[i].Images
		for j := range images {
			if item := r.items[images[j].ID]; item == nil || item.wanted() {
				kept = append(kept, &images[j])
			}
		}
	}
	for len(kept) > 0 {
		img := kept[len(kept)-1]
		kept = append(kept[:len(kept)-1], r.because(img)...)
	}
}

// because gives reasons to what stays because img stays, and returns what had
// none before.
func (r *relations) because(img *Image) []*Image {
	cause := r.items[img.ID]
	var fresh []*Image
	keep := func(item *Item, keeper, text string) {
		if item == nil || item.wanted() {
			return
		}
		reason := Reason{ImageID: item.Image.ID, Keeper: keeper, Text: text, Evidence: []string{"image " + img.ID}}
		if cause != nil {
			reason.Blocked, reason.passive = cause.blocked(), cause.passive()
		}
		item.Reasons = append(item.Reasons, reason)
		fresh = append(fresh, &item.Image)
	}
	if r.parents {
		for _, parent := range img.parents() {
			keep(r.items[parent], parentOfKept{}.String(), "is what a kept image was made from")
		}
	}
	if cause != nil && cause.Release != "" {
		for _, other := range r.releases[cause.Release] {
			keep(other, byRelease, "is of one release with a kept image")
		}
	}
	return fresh
}

// setReleases fills in Item.Release where more than one image has it.
func (e *evaluation) setReleases(r *relations) {
	if e.policy.Release == nil {
		return
	}
	images := map[string]*Image{}
	for i := range e.inv.Targets {
		all := e.inv.Targets[i].Images
		for j := range all {
			images[all[j].ID] = &all[j]
		}
	}
	all := map[string][]*Item{}
	for _, item := range r.items {
		release := e.releaseOf(&item.Image, images)
		all[release] = append(all[release], item)
	}
	for release, items := range all {
		if len(items) < 2 {
			continue
		}
		r.releases[release] = items
		for _, item := range items {
			item.Release = release
		}
	}
}

// longestChain bounds a chain of copies of copies, as EC2 does.
const longestChain = 50

func (e *evaluation) releaseOf(img *Image, images map[string]*Image) string {
	for range longestChain {
		if key, ok := e.policy.Release(img); ok {
			return key
		}
		if !img.isCopy() {
			return img.ID
		}
		source := images[img.Source]
		if source == nil {
			return img.Source // two copies of one that is gone
		}
		img = source
	}
	return img.ID
}

// holdForUnread keeps everything that may be related to an image of a target
// that could not be read.
func (e *evaluation) holdForUnread() {
	for i := range e.inv.Targets {
		unread := &e.inv.Targets[i]
		if unread.Error == "" {
			continue
		}
		for j := range e.plan.Targets {
			items := e.plan.Targets[j].Items
			for k := range items {
				if !items[k].wanted() {
					items[k].Reasons = append(items[k].Reasons, Reason{
						ImageID: items[k].Image.ID, Keeper: byRelease, Blocked: true,
						Text: fmt.Sprintf("may be related to an image in %s, which was not read", place(unread.Account, unread.Region)),
					})
				}
			}
		}
	}
}

// alignReleases lets the images of a release take a step only together: those
// that are ahead wait until the others have caught up.
func (e *evaluation) alignReleases() {
	for _, unit := range e.units() {
		least, waits := Deregister.steps(), map[int]bool{}
		for _, m := range unit {
			if at := m.item.next.steps(); at > 0 {
				least = min(least, at)
				waits[at] = waits[at] || m.item.Action == Wait
			}
		}
		for _, m := range unit {
			at := m.item.next.steps()
			if at > 0 && m.item.Action != Wait && (at > least || waits[at]) {
				m.item.Action = Wait
				m.item.Reasons = append(m.item.Reasons, Reason{ImageID: m.item.Image.ID, Keeper: byRelease, Text: "waits for the other images of its release"})
			}
		}
	}
}
