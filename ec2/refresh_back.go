package ec2

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/templatehistory"
)

// beginTimeout limits starting a roll back after the context has ended.
const beginTimeout = 10 * time.Minute

// rollBack puts back what the groups of the waves ran before, for a reason. If ctx has
// ended, it only starts that.
func (o *rollout) rollBack(ctx context.Context, reason error, waves [][]*refreshTarget) error {
	awaits := ctx.Err() == nil
	if !awaits {
		detached, stop := clock.WithTimeout(context.WithoutCancel(ctx), o.waves[0][0].clock, beginTimeout)
		defer stop()
		ctx = detached
	}
	return each(slices.Concat(waves...), func(t *refreshTarget) error {
		switch t.outcome.Status {
		case GroupRolled, GroupHalfway:
		default:
			return nil
		}
		if t.outcome.Reason == "" {
			t.outcome.Reason = reason.Error()
		}
		say(ctx, "rolling back %s", t)
		return o.takeBack(ctx, t, awaits)
	})
}

// takeBack puts back what a group ran before the AMI.
func (o *rollout) takeBack(ctx context.Context, t *refreshTarget, awaits bool) error {
	g, err := t.groupState(ctx, t.group)
	if err != nil {
		return t.unrolled(err)
	}
	version := g.version // the group changes only when its refresh succeeds
	if g.image == t.image {
		replaced, ok := templatehistory.Replaced(g.description)
		if !ok {
			return t.unrolled(fmt.Errorf("what it ran before is unknown: %s does not tell", g.launchVersion))
		}
		version = replaced
	}
	return o.restore(ctx, t, version, awaits)
}

func (t *refreshTarget) unrolled(err error) error {
	t.outcome.Status = GroupHalfway
	return fmt.Errorf("roll back: %w", err)
}

// attemptsToRestore is how often restore starts a refresh, which others may cancel.
const attemptsToRestore = 3

// restore makes all instances of a group run a version of its launch template. It rolls
// back or cancels any other refresh in progress.
func (o *rollout) restore(ctx context.Context, t *refreshTarget, version string, awaits bool) error {
	for attempt := 0; ; {
		g, err := t.groupState(ctx, t.group)
		if err != nil {
			return t.unrolled(err)
		}
		wanted, err := t.templateVersion(ctx, &scalingtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(g.template)}, version)
		if err != nil {
			return t.unrolled(err)
		}
		past, err := t.refreshes(ctx)
		if err != nil {
			return t.unrolled(err)
		}
		if active := past.active; active != nil {
			goesBack := active.isRollback() || active.image == wanted.image
			if !goesBack {
				if err := t.stopRefresh(ctx); err != nil {
					return t.unrolled(err)
				}
			}
			if !awaits && (goesBack || g.version == version && g.pinned) {
				t.outcome.Status = GroupRollingBack
				return nil
			}
			if _, err := t.await(ctx, active.id, nil); err != nil {
				return t.unrolled(err)
			}
			continue
		}
		strays, err := t.strays(ctx, g, wanted.image)
		switch {
		case err != nil:
			return t.unrolled(err)
		case g.version == version && (len(strays) == 0 || attempt > 0 && o.mayKeep()):
			t.outcome.Status = GroupRolledBack
			say(ctx, "%s runs %s again", t, wanted.image)
			return nil
		case attempt == attemptsToRestore:
			return t.unrolled(fmt.Errorf("gave up after %d instance refreshes; instances %v do not run %s", attempt, strays, wanted.image))
		}
		attempt++
		id, err := t.startRefresh(ctx, g, version, o.Preferences.back())
		switch {
		case isInProgress(err):
			continue
		case err != nil:
			return t.unrolled(err)
		}
		t.outcome.Refresh = id
		say(ctx, "started instance refresh %s of %s back to %s, version %s", id, t, wanted.image, version)
		if !awaits {
			t.outcome.Status = GroupRollingBack
			return nil
		}
		if _, err := t.await(ctx, id, o.progress(ctx, t)); err != nil {
			return t.unrolled(err)
		}
	}
}

// stopRefresh rolls back the refresh in progress, or cancels it if AWS cannot.
func (t *refreshTarget) stopRefresh(ctx context.Context) error {
	_, err := t.scaling.RollbackInstanceRefresh(ctx, &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: aws.String(t.group)})
	if awsapi.Code(err) == "IrreversibleInstanceRefresh" {
		_, err = t.scaling.CancelInstanceRefresh(ctx, &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: aws.String(t.group)})
	}
	if awsapi.Code(err) == "ActiveInstanceRefreshNotFound" {
		return nil // it has ended meanwhile
	}
	return err
}

// RollBack puts back what the groups of all waves ran before their present AMI, and
// waits until they run it, in the regions, or in the cloud's region if there are none.
// A refresh in progress is rolled back. It returns what happened to each group; the
// error joins what failed. No other fields than Waves and Preferences matter.
//
// The launch template's version that a group uses tells what the group ran before, if an
// InstanceRefresh made that version. The AMI must still exist.
func (p InstanceRefresh) RollBack(ctx context.Context, cloud *Cloud, regions ...string) ([]GroupOutcome, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if len(regions) == 0 {
		regions = []string{cloud.Region()}
	}
	var at []refreshPlace
	for _, name := range regions {
		at = append(at, refreshPlace{region: cloud.region(name), where: name})
	}
	waves, err := p.findGroups(ctx, at)
	if err != nil {
		return nil, err
	}
	o := &rollout{InstanceRefresh: p, waves: waves}
	err = each(slices.Concat(waves...), func(t *refreshTarget) error { return o.toLastGood(ctx, t) })
	return o.outcomes(), err
}

// toLastGood rolls a group back to what it ran before.
func (o *rollout) toLastGood(ctx context.Context, t *refreshTarget) error {
	g, err := t.groupState(ctx, t.group)
	if err != nil {
		return t.failed(err)
	}
	past, err := t.refreshes(ctx)
	if err != nil {
		return t.failed(err)
	}
	t.outcome.Before = g.image
	version := g.version
	if past.active == nil || past.active.image == g.image { // else the group still has what it ran before
		good, err := t.lastGood(ctx, g, 1)
		switch {
		case err != nil:
			return t.failed(err)
		case len(good) == 0:
			return t.failed(fmt.Errorf("what it ran before is unknown: %s does not tell", g.launchVersion))
		case good[0].Removed:
			return t.failed(fmt.Errorf("the AMI that it ran before, %s, no longer exists", good[0].ImageID))
		}
		version, t.outcome.Image = good[0].Version, good[0].ImageID
	} else {
		t.outcome.Image = g.image
	}
	return o.restore(ctx, t, version, true)
}

// A GoodImage is an AMI that an Auto Scaling group ran before its present one.
type GoodImage struct {
	ImageID  string `json:"image"`
	Template string `json:"template"` // the id of the launch template
	Version  string `json:"version"`
	Removed  bool   `json:"removed,omitempty"` // the AMI no longer exists
}

// LastGood returns the last AMIs that a group ran before its present one, the newest
// first, at most n. Versions whose refreshes failed are not among them.
func LastGood(ctx context.Context, cloud *Cloud, region, group string, n int) ([]GoodImage, error) {
	r := cloud.region(region)
	g, err := r.groupState(ctx, group)
	if err != nil {
		return nil, err
	}
	return r.lastGood(ctx, g, n)
}

func (r *region) lastGood(ctx context.Context, g *groupState, n int) ([]GoodImage, error) {
	var good []GoodImage
	at := g.launchVersion
	seen := map[string]bool{at.version: true}
	for len(good) < n {
		version, ok := templatehistory.Replaced(at.description)
		if !ok || seen[version] {
			break
		}
		seen[version] = true
		next, err := r.templateVersion(ctx, &scalingtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(at.template)}, version)
		if isTemplateGone(err) {
			break
		}
		if err != nil {
			return good, err
		}
		at = next
		good = append(good, GoodImage{ImageID: at.image, Template: at.template, Version: at.version})
	}
	return good, r.markRemoved(ctx, good)
}

// markRemoved finds which AMIs no longer exist.
func (r *region) markRemoved(ctx context.Context, good []GoodImage) error {
	for i := range good {
		if (launchVersion{image: good[i].ImageID}).usesParameter() {
			continue
		}
		out, err := r.client.DescribeImages(ctx, &awsec2.DescribeImagesInput{ImageIds: []string{good[i].ImageID}})
		switch {
		case isNotFound(err):
			good[i].Removed = true
		case err != nil:
			return fmt.Errorf("image %s: %w", good[i].ImageID, err)
		default:
			good[i].Removed = len(out.Images) == 0
		}
	}
	return nil
}
