package amicleanup

import (
	"fmt"
	"math"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// ParentOfKept keeps the images that a kept image was made from, as far as EC2
// or the tags of this library know, and those that they were made from in turn.
// All images of all targets count, including images that the policy does not
// select. An image goes after the images made from it. If a target cannot be
// read, nothing goes, since it may hold a layer.
func ParentOfKept() Rule { return parentOfKept(AllGenerations) }

// ParentWithin keeps parents as [ParentOfKept] does, up to so many generations
// above an image that is kept for another reason: ParentWithin(1) keeps only what
// such an image was made from itself. Generations is at least 1.
func ParentWithin(generations int) Rule { return parentOfKept(generations) }

// AllGenerations is the value of Needs.Parents without a bound.
const AllGenerations = math.MaxInt

type parentOfKept int

var _ Rule = parentOfKept(0)

func (p parentOfKept) String() string {
	if p == AllGenerations {
		return "ParentOfKept()"
	}
	return fmt.Sprintf("ParentWithin(%d)", int(p))
}

func (p parentOfKept) Validate() error {
	if p < 1 {
		return bake.Invalid("Keep", "%s: must be at least 1", p)
	}
	return nil
}

func (p parentOfKept) Needs() Needs         { return Needs{Parents: int(p)} }
func (p parentOfKept) Keep(*Group) []Reason { return nil }

// eachParent calls do with the id of each image that the image was made from. A
// copy has none.
func (img *Image) eachParent(do func(id string)) {
	if img.isCopy() {
		return
	}
	if img.Source != "" && img.Source != img.ID {
		do(img.Source)
	}
	if id := img.Tags[tagnames.Source]; id != "" && id != img.ID && id != img.Source {
		do(id)
	}
}

// relations connect decisions about one image with others.
type relations struct {
	releases map[string][]*Item // by Item.Release
	parents  map[string]*Item   // of the evaluation
	rule     string             // the rule that keeps parents
	depth    int                // how many generations it keeps
	kept     []keptImage        // images whose relatives are still to be kept
}

// A keptImage is an image that stays. Its item is nil if the policy does not
// select it.
type keptImage struct {
	image      *Image
	item       *Item
	generation int // above an image that is kept for another reason
}

// keepRelated adds the reasons that follow from other images' reasons, until
// there are no more. It takes the images generation by generation.
func (e *evaluation) keepRelated() {
	if e.needs.Parents == 0 && e.policy.Release.IsZero() {
		return
	}
	r := &relations{releases: map[string][]*Item{}, rule: e.policy.parentRule(), depth: e.needs.Parents}
	if r.depth > 0 {
		e.setParents()
		r.parents = e.parents
	}
	e.setReleases(r)
	e.holdForUnread()
	// Every image of the inventory may be made from another, selected or not.
	for _, img := range e.unselected {
		r.add(keptImage{image: img})
	}
	for item := range e.items {
		if item.wanted() && !item.unapproved {
			r.add(keptImage{image: item.Image, item: item})
		}
	}
	e.work += r.keepAll()
	if e.approved == nil {
		return
	}
	// Items that the plan keeps, other than the parents above, stay for their own sake.
	for item := range e.items {
		if item.unapproved && item.generation == 0 {
			r.add(keptImage{image: item.Image, item: item})
		}
	}
	e.work += r.keepAll()
}

// keepAll keeps the relatives of all images added, and of those that stay because
// of them. It returns the number of images.
func (r *relations) keepAll() int {
	n := 0
	for ; n < len(r.kept); n++ {
		r.because(r.kept[n])
	}
	r.kept = r.kept[:0]
	return n
}

// items yields the items of all targets.
func (e *evaluation) items(yield func(*Item) bool) {
	for i := range e.plan.Targets {
		items := e.plan.Targets[i].Items
		for j := range items {
			if !yield(&items[j]) {
				return
			}
		}
	}
}

// setParents finds the items that other images were made from.
func (e *evaluation) setParents() {
	e.parents = map[string]*Item{}
	note := func(id string) { e.parents[id] = nil }
	for i := range e.inv.targets {
		for _, img := range e.inv.targets[i].images {
			img.eachParent(note)
		}
	}
	if len(e.parents) == 0 {
		return
	}
	for item := range e.items {
		if _, is := e.parents[item.Image.ID]; is {
			e.parents[item.Image.ID] = item
		}
	}
}

// add keeps the relatives of an image, if it may have any.
func (r *relations) add(k keptImage) {
	if k.item != nil && k.item.Release != "" || k.image.Source != "" || k.image.Tags[tagnames.Source] != "" {
		r.kept = append(r.kept, k)
	}
}

// because adds reasons to the images that stay because one stays.
func (r *relations) because(kept keptImage) {
	keep := func(item *Item, generation int, rule, text string) {
		switch {
		case item == nil:
			return
		case item.generation > generation: // it may keep more parents than before
			item.generation = generation
			r.add(keptImage{item.Image, item, generation})
			return
		case item.wanted() && (!item.unapproved || item.generation > 0 || generation == 0):
			return
		}
		reason := Reason{Rule: rule, Text: text, Evidence: []string{"image " + kept.image.ID}}
		if kept.item != nil {
			reason.Blocked, reason.passive = kept.item.blocked(), kept.item.passive()
		}
		item.because(reason)
		item.generation = generation
		r.add(keptImage{item.Image, item, generation})
	}
	if kept.generation < r.depth {
		kept.image.eachParent(func(id string) {
			keep(r.parents[id], kept.generation+1, r.rule, "is what a kept image was made from")
		})
	}
	if kept.item != nil && kept.item.Release != "" {
		for _, other := range r.releases[kept.item.Release] {
			keep(other, kept.generation, byRelease, "is of one release with a kept image")
		}
		delete(r.releases, kept.item.Release) // all of them have a reason now
	}
}

// setReleases sets Item.Release where more than one image has the same.
func (e *evaluation) setReleases(r *relations) {
	if e.policy.Release.IsZero() {
		return
	}
	images := map[string]*Image{}
	for i := range e.inv.targets {
		for _, img := range e.inv.targets[i].images {
			images[img.ID] = img
		}
	}
	all := map[string][]*Item{}
	for item := range e.items {
		release := e.releaseOf(item.Image, images)
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
