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

// AfterBake returns a publisher that retires the older images of the group that
// was baked: after a successful bake it plans and applies c, in the regions where
// the artifact is and c has a target. The artifact is kept whatever the policy
// says, and images of other groups are left alone, so one Cleaner can serve any
// number of images. Messages of the build tell what became of each image. Without a
// Clock, c uses that of the build.
//
// The publisher fails if the policy does not select and group the new image, or
// if an image could not be removed.
func AfterBake(c Cleaner) bake.Publisher { return &afterBake{c} }

type afterBake struct{ cleaner Cleaner }

var _ bake.Validator = (*afterBake)(nil)

// String returns the name of the step.
func (a *afterBake) String() string { return "retire older images" }

// Validate validates the cleaner.
func (a *afterBake) Validate() error { return a.cleaner.Validate() }

// EC2 may list a new image some time after it was made.
const (
	listedEvery   = 2 * time.Second
	listedTimeout = time.Minute
)

// Publish retires what the artifact replaces.
func (a *afterBake) Publish(ctx context.Context, artifact bake.Artifact) error {
	c := a.cleaner
	if c.Clock == nil {
		c.Clock = bake.RunFromContext(ctx).Clock
	}
	ids := artifact.IDs()
	c.Targets = slices.DeleteFunc(slices.Clone(c.Targets), func(t Target) bool { return ids[t.region()] == "" })
	if len(c.Targets) == 0 {
		return fmt.Errorf("no target in a region of %s", artifact)
	}
	fresh := slices.Collect(maps.Values(ids))
	if len(c.Policy.Keep) > 0 { // without rules everything is kept anyway
		c.Policy.Keep = append(slices.Clone(c.Policy.Keep), keepIDs("JustBuilt", fresh, "was just baked"))
	}
	plan, missing, err := a.planListed(ctx, &c, ids)
	if plan == nil {
		return err
	}
	plan.keepOthers(ids)
	result, applyErr := c.Apply(ctx, plan)
	var reportErr error
	if result != nil {
		reportErr = result.reportTo(bake.RunFromContext(ctx))
	}
	return errors.Join(err, missing, applyErr, reportErr)
}

// reportTo writes the result to the messages of a build.
func (r *Result) reportTo(run *bake.Run) error {
	var text strings.Builder
	err := r.WriteText(&text)
	for line := range strings.Lines(text.String()) {
		run.Say("%s", strings.TrimSpace(line))
	}
	return err
}

// planListed plans again until the new images are in the plan, or until the
// policy cannot be about them.
func (a *afterBake) planListed(ctx context.Context, c *Cleaner, ids map[string]string) (plan *Plan, missing, err error) {
	limited, stop := clock.WithTimeout(ctx, c.clock(), listedTimeout)
	defer stop()
	for {
		plan, err = c.Plan(ctx)
		if plan == nil || err != nil && !errors.Is(err, ErrNothingSelected) {
			return plan, nil, err
		}
		if missing = unlisted(plan, ids); missing == nil {
			return plan, nil, err
		}
		if c.clock().Sleep(limited, listedEvery) != nil {
			return plan, missing, context.Cause(ctx)
		}
	}
}

// unlisted reports the regions whose plan does not have the new image, or not in
// a group: its tags may appear later than the image. With several accounts in a
// region, one of them has it.
func unlisted(plan *Plan, ids map[string]string) error {
	why := map[string]string{}
	for i := range plan.Targets {
		t := &plan.Targets[i]
		item := t.item(ids[t.Region])
		switch before, other := why[t.Region]; {
		case item != nil && item.newest != "":
			why[t.Region] = ""
		case item != nil:
			why[t.Region] = "cannot be grouped: it " + item.Reasons[0].Text
		case !other:
			why[t.Region] = "is not selected by the policy"
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

// keepOthers keeps everything outside of the group of the new image of its
// region, and the rest of their releases.
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
				item.Action = Keep
				item.because(Reason{Rule: always, Text: "is not in the group that was baked"})
				kept[item.Release] = item.Release != ""
			}
		}
	}
	for i := range p.Targets {
		items := p.Targets[i].Items
		for j := range items {
			if item := &items[j]; item.Action != Keep && kept[item.Release] {
				item.Action = Keep
				item.because(Reason{Rule: byRelease, Text: "is of one release with an image outside of the group that was baked"})
			}
		}
	}
}

func (t *TargetPlan) item(id string) *Item {
	for i := range t.Items {
		if t.Items[i].Image.ID == id {
			return &t.Items[i]
		}
	}
	return nil
}
