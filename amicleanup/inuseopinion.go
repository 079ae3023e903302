package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// An Opinion answers what uses certain images, and can not list what uses any:
// it is asked about those only that would go otherwise.
type Opinion struct {
	// Name tells it apart, in plans as well. It is required, and no name of a
	// Source.
	Name string

	// OwnerOnly has only the owner of an image asked. Otherwise every target
	// of the region is: an image may be used by another account.
	OwnerOnly bool

	// AtPlanOnly has it not asked again when a plan is applied, because its
	// answer takes long, or is old.
	AtPlanOnly bool

	// Ask returns what uses any of the images, which are those of one region.
	// An error means that the answer is not complete; then none of the images
	// is removed. It is required.
	Ask func(ctx context.Context, t Target, images []Image) ([]Reference, error)

	// IAMActions lists what Ask calls, "ec2:DescribeInstances", for
	// Cleaner.IAMPolicy. Nil leaves it out there.
	IAMActions []string

	// statements are what the opinions of this package need.
	statements func(region string) []iampolicy.Statement
}

// OpinionCoverage is how the asking of an opinion about images of one target
// went.
type OpinionCoverage struct {
	Source string   `json:"source"`
	Asked  []string `json:"asked,omitempty"` // image ids, sorted
	Error  string   `json:"error,omitempty"` // why not all are known
}

// SecondOpinion keeps the images that an opinion says to be used, besides what
// InUse knows. Where an opinion could not be had, nothing is removed.
func SecondOpinion(of ...Opinion) Keeper { return secondOpinion(of) }

type secondOpinion []Opinion

func (k secondOpinion) String() string {
	names := make([]string, 0, len(k))
	for _, o := range k {
		names = append(names, o.Name)
	}
	return fmt.Sprintf("SecondOpinion(%s)", strings.Join(names, ", "))
}

func (k secondOpinion) Validate() error {
	for i, o := range k {
		if o.Name == "" || o.Ask == nil {
			return fmt.Errorf("SecondOpinion: opinion %d has no name or no Ask", i+1)
		}
	}
	return nil
}

func (k secondOpinion) Keep(g *Group) []Reason {
	var kept []Reason
	has := func(source string) bool {
		return slices.ContainsFunc(k, func(o Opinion) bool { return o.Name == source })
	}
	for _, img := range g.Images {
		if r, used := usedReason(g, img.ID, has); used {
			kept = append(kept, r)
		}
		for _, o := range k {
			c := opinionOf(g.Opinions, o.Name)
			_, asked := slices.BinarySearch(c.Asked, img.ID)
			switch {
			case c.Error != "":
				kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("may be in use: %s: %s", o.Name, c.Error), Blocked: true})
			case !asked:
				kept = append(kept, Reason{ImageID: img.ID, Text: "may be in use: " + o.Name + " were not asked", Blocked: true, unread: true})
			}
		}
	}
	return kept
}

func opinionOf(all []OpinionCoverage, name string) OpinionCoverage {
	for _, c := range all {
		if c.Source == name {
			return c
		}
	}
	return OpinionCoverage{}
}

// opinions are those of all keepers, each name once.
func (p *Policy) opinions() []Opinion {
	var all []Opinion
	for _, k := range p.Keep {
		if of, ok := k.(secondOpinion); ok {
			for _, o := range of {
				if !slices.ContainsFunc(all, func(have Opinion) bool { return have.Name == o.Name }) {
					all = append(all, o)
				}
			}
		}
	}
	return all
}

// unasked are the images that would go by plan and that the opinion was not
// asked about. After a failure it is asked no more.
func (t *TargetInventory) unasked(o Opinion, plan *TargetPlan) []Image {
	c := opinionOf(t.Opinions, o.Name)
	if c.Error != "" {
		return nil
	}
	var images []Image
	for i := range plan.Items {
		item := &plan.Items[i]
		if _, asked := slices.BinarySearch(c.Asked, item.Image.ID); !asked && item.Action.steps() > 0 {
			images = append(images, item.Image)
		}
	}
	return images
}

// answered adds what an opinion answered about images of the target.
func (t *TargetInventory) answered(o Opinion, images []Image, refs []Reference, err error) {
	t.References = append(t.References, refs...)
	at := slices.IndexFunc(t.Opinions, func(c OpinionCoverage) bool { return c.Source == o.Name })
	if at < 0 {
		at = len(t.Opinions)
		t.Opinions = append(t.Opinions, OpinionCoverage{Source: o.Name})
	}
	c := &t.Opinions[at]
	if err != nil {
		c.Error = err.Error()
		return
	}
	for i := range images {
		c.Asked = append(c.Asked, images[i].ID)
	}
	slices.Sort(c.Asked)
}

// about asks everyone who may know about images of one target.
func (o Opinion) about(ctx context.Context, targets []Target, owner Target, images []Image) ([]Reference, error) {
	var all []Reference
	var errs []error
	for _, t := range targets {
		if t.Region != owner.Region || o.OwnerOnly && t.Account != owner.Account {
			continue
		}
		refs, err := o.Ask(ctx, t, images)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t, err))
		}
		for i := range refs {
			refs[i].Source = o.Name
		}
		all = append(all, refs...)
	}
	return all, errors.Join(errs...)
}

// askOpinions asks about all images that would go by plan and were not asked
// about, and reports whether there were any.
func askOpinions(ctx context.Context, targets []Target, p *Policy, inv *Inventory, plan *Plan) bool {
	asked := false
	for _, o := range p.opinions() {
		refs := make([][]Reference, len(targets))
		errs := make([]error, len(targets))
		about := make([][]Image, len(targets))
		var wg sync.WaitGroup
		for i := range targets {
			if about[i] = inv.Targets[i].unasked(o, &plan.Targets[i]); len(about[i]) > 0 {
				asked = true
				wg.Go(func() { refs[i], errs[i] = o.about(ctx, targets, targets[i], about[i]) })
			}
		}
		wg.Wait()
		for i := range targets {
			if len(about[i]) > 0 {
				inv.Targets[i].answered(o, about[i], refs[i], errs[i])
			}
		}
	}
	return asked
}
