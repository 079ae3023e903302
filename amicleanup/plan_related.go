package amicleanup

import (
	"fmt"
	"slices"

	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// ParentOfKept keeps the images that a kept image was made from, as far as EC2
// or the tags of this library know, and those that they were made from in turn.
// All images of all targets count, including images that the policy does not
// select. An image goes after the images made from it. If a target cannot be
// read, nothing goes, since it may hold a layer.
func ParentOfKept() Rule { return parentOfKept{} }

type parentOfKept struct{}

var _ Rule = parentOfKept{}

func (parentOfKept) String() string       { return "ParentOfKept()" }
func (parentOfKept) Validate() error      { return nil }
func (parentOfKept) Needs() Needs         { return Needs{Parents: true} }
func (parentOfKept) Keep(*Group) []Reason { return nil }

// parents returns the ids of the images that the image was made from. A copy has none.
func (img *Image) parents() []string {
	if img.isCopy() {
		return nil
	}
	return slices.Compact(slices.DeleteFunc([]string{img.Source, img.Tags[tagnames.Source]}, func(id string) bool { return id == "" || id == img.ID }))
}

// relations connect decisions about one image with others.
type relations struct {
	items    map[string]*Item   // by image id
	releases map[string][]*Item // by Item.Release
	parents  string             // the rule that keeps parents
}

// keepRelated adds the reasons that follow from other images' reasons, until
// there are no more.
func (e *evaluation) keepRelated() {
	r := &relations{items: map[string]*Item{}, releases: map[string][]*Item{}, parents: e.policy.parentRule()}
	if r.parents == "" && e.policy.Release.IsZero() {
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
	// Every image of the inventory may be made from another, selected or not.
	var kept []*Image
	for i := range e.inv.targets {
		images := e.inv.targets[i].images
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

// because adds reasons to the images that stay because img stays, and returns those
// that had none before.
func (r *relations) because(img *Image) []*Image {
	cause := r.items[img.ID]
	var fresh []*Image
	keep := func(item *Item, rule, text string) {
		if item == nil || item.wanted() {
			return
		}
		reason := Reason{Rule: rule, Text: text, Evidence: []string{"image " + img.ID}}
		if cause != nil {
			reason.Blocked, reason.passive = cause.blocked(), cause.passive()
		}
		item.because(reason)
		fresh = append(fresh, &item.Image)
	}
	if r.parents != "" {
		for _, parent := range img.parents() {
			keep(r.items[parent], r.parents, "is what a kept image was made from")
		}
	}
	if cause != nil && cause.Release != "" {
		for _, other := range r.releases[cause.Release] {
			keep(other, byRelease, "is of one release with a kept image")
		}
		delete(r.releases, cause.Release) // all of them have a reason now
	}
	return fresh
}

// setReleases sets Item.Release where more than one image has the same.
func (e *evaluation) setReleases(r *relations) {
	if e.policy.Release.IsZero() {
		return
	}
	images := map[string]*Image{}
	for i := range e.inv.targets {
		all := e.inv.targets[i].images
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

// longestChain limits chains of copies of copies, as EC2 does.
const longestChain = 50

// releaseOf returns the release of an image. Copies belong to that of their
// source.
func (e *evaluation) releaseOf(img *Image, images map[string]*Image) string {
	for range longestChain {
		if key, ok := e.policy.Release.Of(img); ok {
			return key
		}
		if !img.isCopy() {
			return img.ID
		}
		source := images[img.Source]
		if source == nil {
			return img.Source // shared by all copies of a source that is gone
		}
		img = source
	}
	return img.ID
}

// holdForUnread keeps everything that may be related to an image of a target
// that could not be read.
func (e *evaluation) holdForUnread() {
	for i := range e.inv.targets {
		unread := &e.inv.targets[i]
		if unread.err == nil {
			continue
		}
		for j := range e.plan.Targets {
			items := e.plan.Targets[j].Items
			for k := range items {
				if !items[k].wanted() {
					items[k].because(Reason{
						Rule: byRelease, Blocked: true,
						Text: fmt.Sprintf("may be related to an image in %s, which was not read", unread.target),
					})
				}
			}
		}
	}
}

// alignReleases lets the images of a release take a step only together: those
// that are ahead wait for the others.
func (e *evaluation) alignReleases() {
	if e.policy.Release.IsZero() {
		return
	}
	for _, unit := range e.units() {
		if len(unit) < 2 {
			continue
		}
		least, waits := Remove.steps(), map[int]bool{}
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
				m.item.because(Reason{Rule: byRelease, Text: "waits for the other images of its release"})
			}
		}
	}
}
