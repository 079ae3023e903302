package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/templatehistory"
)

// A rollout gives an AMI to groups, wave by wave. Each group's state is read from AWS
// before anything is done to it, so a rollout may be repeated by another process at any
// point.
type rollout struct {
	InstanceRefresh

	name  string // of the AMI
	build string
	waves [][]*refreshTarget
}

// run refreshes and checks the groups of each wave. If anything fails, it rolls back
// the waves so far.
func (o *rollout) run(ctx context.Context) error {
	for n, wave := range o.waves {
		say(ctx, "wave %d of %d: %d groups", n+1, len(o.waves), len(wave))
		failed := each(wave, func(t *refreshTarget) error { return o.roll(ctx, t) })
		if failed == nil {
			failed = each(wave, func(t *refreshTarget) error { return t.check(ctx) })
		}
		switch {
		case failed == nil:
			continue
		case isLeft(ctx) || o.NoRollBack:
		default:
			failed = errors.Join(failed, o.rollBack(ctx, failed, o.waves[:n+1]))
		}
		return &RolloutError{Groups: o.outcomes(), Err: failed}
	}
	return nil
}

// isLeft reports whether the build is left as it is, to be continued by another process.
func isLeft(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, bake.ErrSuspended) || errors.Is(cause, bake.ErrLeaseLost)
}

// each calls do for each target concurrently, and joins the errors.
func each(targets []*refreshTarget, do func(*refreshTarget) error) error {
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			if err := do(t); err != nil {
				errs[i] = fmt.Errorf("%s: %w", t, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (o *rollout) outcomes() []GroupOutcome {
	targets := slices.Concat(o.waves...)
	all := make([]GroupOutcome, 0, len(targets))
	for _, t := range targets {
		all = append(all, t.outcome)
	}
	return all
}

// roll makes all instances of a group run the AMI.
func (o *rollout) roll(ctx context.Context, t *refreshTarget) error {
	for {
		g, err := t.groupState(ctx, t.group)
		if err != nil {
			return t.failed(err)
		}
		past, err := t.refreshes(ctx)
		if err != nil {
			return t.failed(err)
		}
		if t.outcome.Before == "" && g.image != t.image {
			t.outcome.Before = g.image
		}
		switch active := past.active; {
		case active != nil && active.image == t.image && !active.isRollback():
			say(ctx, "following instance refresh %s of %s, which is in progress", active.id, t)
			return o.follow(ctx, t, active.id)
		case active != nil && o.RefuseOthers && active.image != t.image:
			return t.failed(&RefreshInProgressError{t.group, active.id, active.image})
		case active != nil:
			say(ctx, "waiting for instance refresh %s of %s, which is in progress to %s", active.id, t, active.image)
			if _, err := t.await(ctx, active.id, nil); err != nil {
				return t.failed(err)
			}
			continue
		}
		strays, err := t.strays(ctx, g, t.image)
		switch tried := past.to(t.image); {
		case err != nil:
			return t.failed(err)
		case g.image == t.image && len(strays) == 0 && tried != nil:
			t.outcome.Status, t.outcome.Refresh = GroupRolled, tried.id
			return nil
		case g.image == t.image && len(strays) == 0:
			say(ctx, "%s runs %s already", t, t.image)
			t.outcome.Status = GroupUnchanged
			return nil
		case g.image == t.image && tried != nil && tried.status == scalingtypes.InstanceRefreshStatusSuccessful && o.mayKeep():
			t.outcome.Status, t.outcome.Refresh = GroupRolled, tried.id
			return nil
		case g.image != t.image && tried != nil && !o.Again:
			return o.takenBack(ctx, t, g, tried)
		}
		if err := o.usable(g); err != nil {
			return t.failed(err)
		}
		id, err := o.start(ctx, t, g)
		switch {
		case isInProgress(err):
			continue // by another process, or by a call whose response was lost
		case err != nil:
			return t.failed(err)
		}
		return o.follow(ctx, t, id)
	}
}

// mayKeep reports whether a successful refresh may leave instances of another AMI.
func (o *rollout) mayKeep() bool {
	return o.Preferences.Protected == IgnoreProtected || o.Preferences.Standby == IgnoreStandby
}

// failed records that nothing was changed.
func (t *refreshTarget) failed(err error) error {
	if t.outcome.Status == GroupNotBegun {
		t.outcome.Status, t.outcome.Reason = GroupFailed, err.Error()
	}
	return err
}

// start adds a version with the AMI and starts a refresh to it.
func (o *rollout) start(ctx context.Context, t *refreshTarget, g *groupState) (id string, err error) {
	version := g.version
	if g.image != t.image {
		if version, err = o.addVersion(ctx, t, g); err != nil {
			return "", err
		}
	}
	prefs := o.Preferences.refresh()
	prefs.AutoRollback = aws.Bool(!o.NoRollBack && g.pinned && !g.usesParameter())
	id, err = t.startRefresh(ctx, g, version, prefs)
	if err == nil {
		t.outcome.Refresh = id
		say(ctx, "started instance refresh %s of %s from %s to %s, version %s", id, t, g.image, t.image, version)
	}
	return id, err
}

// addVersion adds a version with the AMI to the group's launch template.
func (o *rollout) addVersion(ctx context.Context, t *refreshTarget, g *groupState) (string, error) {
	in := &awsec2.CreateLaunchTemplateVersionInput{
		ClientToken:        aws.String(token(o.build, t.image, g.template, g.version)),
		LaunchTemplateId:   aws.String(g.template),
		SourceVersion:      aws.String(g.version),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(t.image)},
		VersionDescription: aws.String(templatehistory.Describe(o.name, g.version)),
	}
	out, err := t.client.CreateLaunchTemplateVersion(ctx, in)
	if err != nil {
		return "", err
	}
	if err := checkVersion(in, out.LaunchTemplateVersion); err != nil {
		return "", err
	}
	return templateVersionOf(out.LaunchTemplateVersion).version, nil
}

// follow waits for the end of a refresh to the AMI, and proves its success.
func (o *rollout) follow(ctx context.Context, t *refreshTarget, id string) error {
	t.outcome.Refresh, t.outcome.Status = id, GroupHalfway
	last, err := t.await(ctx, id, o.progress(ctx, t))
	if err != nil {
		return err
	}
	t.outcome.Reason = last.reason
	if last.status != scalingtypes.InstanceRefreshStatusSuccessful {
		t.outcome.Activities = t.failedActivities(ctx)
		if last.status == scalingtypes.InstanceRefreshStatusRollbackSuccessful {
			t.outcome.Status = GroupRolledBack
		}
		return fmt.Errorf("instance refresh %s: %s: %s", id, last.status, last.reason)
	}
	g, err := t.groupState(ctx, t.group)
	if err != nil {
		return err
	}
	strays, err := t.strays(ctx, g, t.image)
	switch {
	case err != nil:
		return err
	case g.image != t.image:
		return fmt.Errorf("instance refresh %s was successful, but the group launches %s", id, g.image)
	case len(strays) > 0 && !o.mayKeep():
		return fmt.Errorf("instance refresh %s was successful, but instances %v do not run %s", id, strays, t.image)
	case len(strays) > 0:
		say(ctx, "%s keeps instances %v of another AMI, since they are protected or in standby", t, strays)
	}
	t.outcome.Status, t.outcome.Reason = GroupRolled, ""
	say(ctx, "%s runs %s", t, t.image)
	return nil
}

// progress returns a func that reports changes of a refresh.
func (o *rollout) progress(ctx context.Context, t *refreshTarget) func(*refreshState) {
	var before string
	run := bake.RunFromContext(ctx)
	return func(s *refreshState) {
		text := fmt.Sprintf("%s: %s, %d%%, %d instances to go", t, s.status, s.percent, s.left)
		if s.reason != "" {
			text += ": " + s.reason
		}
		if text == before {
			return
		}
		before = text
		run.Emit(bake.Event{Kind: bake.Progressed, Resource: bake.Resource{Kind: "auto scaling group", ID: t.group}, Done: int64(s.percent), Total: wholePercent})
		run.Say("%s", text)
	}
}

const wholePercent = 100

// takenBack reports an AMI that was taken back from the group before, after making sure
// that the group runs one AMI.
func (o *rollout) takenBack(ctx context.Context, t *refreshTarget, g *groupState, tried *refreshState) error {
	t.outcome.Refresh, t.outcome.Reason = tried.id, tried.reason
	strays, err := t.strays(ctx, g, g.image)
	if err != nil {
		return err
	}
	t.outcome.Status = GroupRolledBack
	if len(strays) > 0 {
		t.outcome.Status = GroupHalfway // the caller rolls it back
	}
	return fmt.Errorf("%s was taken back from the group before (instance refresh %s: %s: %s); InstanceRefresh.Again rolls it out again", t.image, tried.id, tried.status, tried.reason)
}

// check runs the wave's checks on the group's instances.
func (t *refreshTarget) check(ctx context.Context) error {
	for i, c := range t.checks {
		g, err := t.groupState(ctx, t.group)
		if err != nil {
			return err
		}
		instances, err := t.instancesOf(ctx, g)
		if err != nil {
			return err
		}
		serving := slices.DeleteFunc(instances, func(i GroupInstance) bool { return !i.InService || i.ImageID != t.image })
		say(ctx, "checking %s: %s", t, bake.Describe(c))
		if err := c.CheckGroup(ctx, &RunningGroup{Name: t.group, Where: t.where, ImageID: t.image, Instances: serving, region: t.region}); err != nil {
			if t.outcome.Reason == "" {
				t.outcome.Reason = fmt.Sprintf("check %d (%s): %v", i+1, bake.Describe(c), err)
			}
			return fmt.Errorf("check %d (%s): %w", i+1, bake.Describe(c), err)
		}
	}
	return nil
}
