package amicleanup

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Policy says which images there are to judge, how they belong together, and
// which of them stay. The zero value removes nothing.
type Policy struct {
	// Select says which images the policy is about.
	Select Select

	// Group says which images belong together. Nil takes {group} of
	// Select.Name, or all that match it when it has no {group}; without a
	// Select.Name there is then no group, and everything is kept. Images of
	// different architecture are never in one group.
	Group GroupKey

	// Stamp says when an image was made. Nil takes the stamp in Select.Name,
	// or CreationDate when it has none.
	Stamp StampFunc

	// Keep says which images stay. One keeper is enough; without any, all
	// images stay.
	Keep []Keeper
}

// Validate reports, joined, what is wrong with the policy. Read, Evaluate and
// the methods of a Cleaner call it.
func (p *Policy) Validate() error {
	errs := []error{p.Select.Validate()}
	for i, k := range p.Keep {
		if k == nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Keep[%d]", i), "is nil"))
		} else if v, ok := k.(bake.Validator); ok {
			errs = append(errs, v.Validate())
		}
	}
	return errors.Join(errs...)
}

// sources are those of all keepers, each name once.
func (p *Policy) sources() []Source {
	var all []Source
	for _, k := range p.Keep {
		s, ok := k.(interface{ Sources() []Source })
		if !ok {
			continue
		}
		for _, source := range s.Sources() {
			if !slices.ContainsFunc(all, func(have Source) bool { return have.Name() == source.Name() }) {
				all = append(all, source)
			}
		}
	}
	return all
}

// Evaluate decides what is to happen with every image in inv that the policy
// selects. It does no I/O; its only error is that of Validate.
func (p *Policy) Evaluate(inv *Inventory) (*Plan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	plan := &Plan{Version: planVersion, Made: inv.Time}
	for i := range inv.Targets {
		plan.Targets = append(plan.Targets, p.evaluateTarget(inv, &inv.Targets[i]))
	}
	return plan, nil
}

func (p *Policy) evaluateTarget(inv *Inventory, t *TargetInventory) TargetPlan {
	out := TargetPlan{Account: t.Account, Region: t.Region, Error: t.Error, Coverage: t.Coverage}
	name, _ := compile(p.Select.Name) // Validate has compiled it
	groups := map[string]*Group{}
	for i := range t.Images {
		img := &t.Images[i]
		_, _, matches := name.match(img.Name)
		if !matches || !p.Select.tagged(img) {
			out.Unselected++
			continue
		}
		item := Item{Image: *img, Action: Keep}
		var ok bool
		if item.Group, ok = p.groupOf(name, img); !ok {
			out.Items = append(out.Items, item.because("has no group"))
			continue
		}
		var err error
		if item.Stamp, err = p.stampOf(name, img); err != nil {
			out.Items = append(out.Items, item.because(err.Error()))
			continue
		}
		key := item.groupID()
		if groups[key] == nil {
			groups[key] = inv.group(t, item.Group, img.Architecture)
		}
		groups[key].Images = append(groups[key].Images, Stamped{*img, item.Stamp})
	}
	for _, g := range groups {
		out.Items = append(out.Items, p.evaluateGroup(g)...)
	}
	out.sort()
	return out
}

func (p *Policy) groupOf(name *pattern, img *Image) (string, bool) {
	if p.Group != nil {
		return p.Group(img)
	}
	if p.Select.Name == "" {
		return "", false
	}
	group, _, _ := name.match(img.Name)
	return group, true
}

func (p *Policy) stampOf(name *pattern, img *Image) (time.Time, error) {
	switch {
	case p.Stamp != nil:
		return p.Stamp(img)
	case name.stamped:
		_, stamp, _ := name.match(img.Name)
		return name.parse(stamp)
	default:
		return CreationDate(img)
	}
}

// evaluateGroup is the heart of the matter: an image for which there is no
// reason to stay goes.
func (p *Policy) evaluateGroup(g *Group) []Item {
	g.sort()
	reasons := map[string][]Reason{}
	because := func(img *Stamped, text string) {
		reasons[img.ID] = append(reasons[img.ID], Reason{ImageID: img.ID, Text: text})
	}
	guard := &g.Images[0]
	because(guard, "is the newest of its group")
	if usable := g.newestAvailable(); usable != nil && usable != guard {
		guard = usable
		because(guard, "is the newest available of its group")
	}
	for i := range g.Images {
		img := &g.Images[i]
		if len(p.Keep) == 0 {
			because(img, "is under a policy without keepers")
		}
		if !img.settled() {
			because(img, "is "+img.State)
		}
		if img.protected() {
			because(img, "is protected from deregistration")
		}
		if img.OwnerAlias == "aws-backup-vault" {
			because(img, "is managed by AWS Backup")
		}
	}
	for _, k := range p.Keep {
		for _, r := range k.Keep(g) {
			reasons[r.ImageID] = append(reasons[r.ImageID], r)
		}
	}
	items := make([]Item, 0, len(g.Images))
	for _, img := range g.Images {
		item := Item{
			Image: img.Image, Group: g.Key, Stamp: img.Stamp, Newest: guard.ID,
			Action: Keep, Reasons: reasons[img.ID],
		}
		if len(item.Reasons) == 0 {
			item.Action = Deregister
		}
		items = append(items, item)
	}
	return items
}
