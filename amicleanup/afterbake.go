package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// AfterBake returns a publisher that retires the older images of the group
// that was baked: after a good bake it plans and applies c, in the regions
// where the artifact is and c has a target. The artifact itself is kept
// whatever the policy says, and images of other groups are left alone, so that
// one Cleaner can serve any number of images. What became of each image that
// was to be changed is among the messages of the build.
//
// It is an error when the new image is not among those that the policy
// selects and groups, or when an image could not be removed.
func AfterBake(c Cleaner) bake.Publisher { return &afterBake{c} }

type afterBake struct{ cleaner Cleaner }

var _ bake.Validator = (*afterBake)(nil)

// String names the step.
func (a *afterBake) String() string { return "retire older images" }

// Validate validates the cleaner.
func (a *afterBake) Validate() error { return a.cleaner.Validate() }

// A new image may be listed a little later than it was made.
const (
	listedEvery   = 2 * time.Second
	listedTimeout = time.Minute
)

// Publish retires what the artifact replaces.
func (a *afterBake) Publish(ctx context.Context, artifact bake.Artifact) error {
	c := a.cleaner
	ids := artifact.IDs()
	c.Targets = slices.DeleteFunc(slices.Clone(c.Targets), func(t Target) bool { return ids[t.Region] == "" })
	if len(c.Targets) == 0 {
		return fmt.Errorf("%s is in no region that has a target", artifact)
	}
	fresh := slices.Collect(maps.Values(ids))
	if len(c.Policy.Keep) > 0 { // without keepers everything is kept anyway
		c.Policy.Keep = append(slices.Clone(c.Policy.Keep), JustBuilt(fresh...))
	}
	plan, missing, err := a.planListed(ctx, &c, ids)
	if plan == nil {
		return err
	}
	plan.keepOthers(ids)
	result, applyErr := c.Apply(ctx, plan)
	var told error
	if result != nil {
		told = result.tell(bake.RunFromContext(ctx))
	}
	return errors.Join(err, missing, applyErr, told)
}

// tell says in the build what became of the images.
func (r *Result) tell(run *bake.Run) error {
	var text strings.Builder
	err := r.WriteText(&text)
	for line := range strings.Lines(text.String()) {
		run.Say("%s", strings.TrimSpace(line))
	}
	return err
}

// planListed plans again until the new images are in the plan, or for so long
// that the policy cannot be about them.
func (a *afterBake) planListed(ctx context.Context, c *Cleaner, ids map[string]string) (plan *Plan, missing, err error) {
	limited, stop := clock.WithTimeout(ctx, c.clock(), listedTimeout)
	defer stop()
	for {
		plan, err = c.Plan(ctx)
		if plan == nil || err != nil {
			return plan, nil, err
		}
		if missing = unlisted(plan, ids); missing == nil {
			return plan, nil, nil
		}
		if c.clock().Sleep(limited, listedEvery) != nil {
			return plan, missing, context.Cause(ctx)
		}
	}
}

// unlisted says in which regions the plan does not have the new image, or not
// in a group: its tags may show later than itself. Of several accounts in a
// region one has it.
func unlisted(plan *Plan, ids map[string]string) error {
	why := map[string]string{}
	for i := range plan.Targets {
		t := &plan.Targets[i]
		item := t.item(ids[t.Region])
		switch before, other := why[t.Region]; {
		case item != nil && item.Newest != "":
			why[t.Region] = ""
		case item != nil:
			why[t.Region] = "has no group to compare it with: it " + item.Reasons[0].Text
		case !other:
			why[t.Region] = "is not among those that the policy selects"
		default:
			why[t.Region] = before
		}
	}
	var errs []error
	for _, region := range slices.Sorted(maps.Keys(why)) {
		if why[region] != "" {
			errs = append(errs, fmt.Errorf("%s: the new image %s %s", region, ids[region], why[region]))
		}
	}
	return errors.Join(errs...)
}

// keepOthers keeps everything that is not in the group of the image of its
// region, and what is of one release with that.
func (p *Plan) keepOthers(ids map[string]string) {
	kept := map[string]bool{}
	for i := range p.Targets {
		t := &p.Targets[i]
		group := ""
		if item := t.item(ids[t.Region]); item != nil {
			group = item.groupID()
		}
		for j := range t.Items {
			if item := &t.Items[j]; item.Action != Keep && item.groupID() != group {
				item.keep("is not in the group that was baked")
				kept[item.Release] = item.Release != ""
			}
		}
	}
	for i := range p.Targets {
		items := p.Targets[i].Items
		for j := range items {
			if item := &items[j]; item.Action != Keep && kept[item.Release] {
				item.keep("is of one release with an image that is not in the group that was baked")
			}
		}
	}
}

func (item *Item) keep(text string) {
	item.Action = Keep
	*item = item.because(text)
}

func (t *TargetPlan) item(id string) *Item {
	for i := range t.Items {
		if t.Items[i].Image.ID == id {
			return &t.Items[i]
		}
	}
	return nil
}
