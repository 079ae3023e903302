package amicleanup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// changeTimeout bounds the change of one image with its snapshots, which the
// end of the context does not cut: half a change is the worst of all.
const changeTimeout = 5 * time.Minute

// act does to one image what the plan says, if all is still as planned.
func (r *targetRun) act(ctx context.Context, item *Item, res *ImageResult) error {
	if slices.ContainsFunc(item.Image.Snapshots, func(s string) bool { return r.shared[s] }) {
		r.changing.take()
		defer r.changing.pass()
	}
	now, why, err := r.look(ctx, item)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // nothing was done; the end of the context is reported once
	case err != nil:
		res.Outcome, res.Detail = Failed, err.Error()
		return err
	case why != "":
		res.Outcome, res.Detail = Skipped, why
		return nil
	case now != nil && doneBefore(item, now):
		res.Outcome = AlreadyDone
		return nil
	}
	res.Before = now
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), r.clock, changeTimeout)
	defer stop()
	switch {
	case now == nil && item.Action != Deregister:
		res.Outcome = Gone
	case now == nil:
		// An earlier run may have ended between the image and its snapshots.
		res.Outcome = Gone
		r.markRemoved(item.Image.ID)
		return r.removeLeft(ctx, item.Image.Snapshots, res)
	case item.Action == Deregister:
		return r.deregister(ctx, now, res)
	default:
		return r.switchTo(ctx, item.Action, now, res)
	}
	return nil
}

func (r *targetRun) deregister(ctx context.Context, now *Image, res *ImageResult) error {
	out, err := r.target.Client.DeregisterImage(ctx, &awsec2.DeregisterImageInput{
		ImageId: aws.String(now.ID), DeleteAssociatedSnapshots: aws.Bool(true),
	})
	switch {
	case err == nil:
		res.Outcome = Removed
	case meaningOf(err) == gone:
		// Either another process was quicker or the answer to a first try of
		// the client was lost.
		res.Outcome, out = Gone, &awsec2.DeregisterImageOutput{}
	case meaningOf(err) == refused:
		res.Outcome, res.Detail = Skipped, err.Error()
		return nil
	default:
		res.Outcome, res.Detail = Failed, err.Error()
		return fmt.Errorf("deregister: %w", err)
	}
	r.markRemoved(now.ID)
	return r.removeSnapshots(ctx, now.Snapshots, out.DeleteSnapshotResults, inUseTries, res)
}

func (r *targetRun) markRemoved(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed[id] = true
}

// switchTo takes an image a rung down the ladder, or off it.
func (r *targetRun) switchTo(ctx context.Context, action Action, now *Image, res *ImageResult) error {
	s := switcher{r.target.Client, r.clock}
	var err error
	var done Outcome
	switch action {
	case Deprecate:
		done, err = Deprecated, s.deprecate(ctx, now)
	case Disable:
		done, err = Disabled, s.disable(ctx, now)
	default:
		on := rungOf(now)
		shares := sharesInTags(now.Tags)
		done, err = Restored, s.restore(ctx, now, restored{
			enable: !on.found, shares: &shares, undeprecate: on.deprecated, deprecation: on.before,
		})
	}
	switch {
	case err == nil:
		res.Outcome = done
	case meaningOf(err) == gone:
		res.Outcome = Gone
		err = nil
	case meaningOf(err) == refused:
		res.Outcome, res.Detail = Skipped, err.Error()
		err = nil
	default:
		res.Outcome, res.Detail = Failed, err.Error()
	}
	return err
}

// A switcher moves images on a ladder. Tags come first on the way down and
// last on the way up, so that what was begun shows and can be taken back.
type switcher struct {
	client ImageSwitcher
	clock  clock.Clock
}

func (s switcher) deprecate(ctx context.Context, img *Image) error {
	now := s.clock.Now()
	on := rung{action: Deprecate, since: now}
	if !img.deprecated(now) {
		on.deprecated, on.before = true, img.Deprecated
	}
	if err := s.tag(ctx, img.ID, map[string]string{TagRetired: on.String()}); err != nil || !on.deprecated {
		return err
	}
	return s.deprecateAt(ctx, img.ID, now)
}

func (s switcher) deprecateAt(ctx context.Context, id string, at time.Time) error {
	// EC2 takes no time in the past, and cuts it to a minute.
	if earliest := s.clock.Now().Add(time.Minute); at.Before(earliest) {
		at = earliest
	}
	_, err := s.client.EnableImageDeprecation(ctx, &awsec2.EnableImageDeprecationInput{
		ImageId: aws.String(id), DeprecateAt: aws.Time(at.UTC().Truncate(time.Minute)),
	})
	if err != nil {
		return fmt.Errorf("deprecate: %w", err)
	}
	return nil
}

// disable saves the launch permissions, which img.Shares has if it can be
// launched, and disables the image. Permissions that a run that was cut off
// had saved are kept.
func (s switcher) disable(ctx context.Context, img *Image) error {
	was := rungOf(img)
	on := rung{
		action: Disable, since: s.clock.Now(), deprecated: was.deprecated, before: was.before,
		found: img.State == disabled && was.action != Disable,
	}
	saved := sharesInTags(img.Tags)
	if img.Shares != nil {
		saved = *img.Shares.with(saved)
	}
	tags, err := saved.tags(img.Tags)
	if err != nil {
		return err
	}
	tags[TagRetired] = on.String()
	if err := s.tag(ctx, img.ID, tags); err != nil || img.State == disabled {
		return err
	}
	if _, err := s.client.DisableImage(ctx, &awsec2.DisableImageInput{ImageId: aws.String(img.ID)}); err != nil {
		return fmt.Errorf("disable: %w", err)
	}
	return nil
}

// restored is what an image is to be again.
type restored struct {
	enable      bool
	shares      *Shares
	undeprecate bool
	deprecation time.Time         // the deprecation time that it had; zero is none
	tags        map[string]string // of this package, that it is to have; the others go
}

func (s switcher) restore(ctx context.Context, img *Image, to restored) error {
	id := aws.String(img.ID)
	if img.State == disabled && to.enable {
		if _, err := s.client.EnableImage(ctx, &awsec2.EnableImageInput{ImageId: id}); err != nil {
			return fmt.Errorf("enable: %w", err)
		}
	}
	if to.shares != nil && to.shares.Any() {
		_, err := s.client.ModifyImageAttribute(ctx, &awsec2.ModifyImageAttributeInput{
			ImageId: id, LaunchPermission: &ec2types.LaunchPermissionModifications{Add: to.shares.permissions()},
		})
		if err != nil {
			return fmt.Errorf("share again: %w", err)
		}
	}
	if to.undeprecate {
		if err := s.undeprecate(ctx, img.ID, to.deprecation); err != nil {
			return err
		}
	}
	if len(to.tags) > 0 {
		if err := s.tag(ctx, img.ID, to.tags); err != nil {
			return err
		}
	}
	return s.untag(ctx, img, to.tags)
}

func (s switcher) undeprecate(ctx context.Context, id string, before time.Time) error {
	if !before.IsZero() {
		return s.deprecateAt(ctx, id, before)
	}
	if _, err := s.client.DisableImageDeprecation(ctx, &awsec2.DisableImageDeprecationInput{ImageId: aws.String(id)}); err != nil {
		return fmt.Errorf("take back the deprecation: %w", err)
	}
	return nil
}

func (s switcher) tag(ctx context.Context, id string, tags map[string]string) error {
	list := make([]ec2types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, ec2types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	if _, err := s.client.CreateTags(ctx, &awsec2.CreateTagsInput{Resources: []string{id}, Tags: list}); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	return nil
}

// untag removes this package's tags from an image, but for those to leave.
func (s switcher) untag(ctx context.Context, img *Image, leave map[string]string) error {
	var list []ec2types.Tag
	for _, key := range slices.Sorted(maps.Keys(img.Tags)) {
		if _, stays := leave[key]; !stays && (key == TagRetired || isSharedTag(key)) {
			list = append(list, ec2types.Tag{Key: aws.String(key)})
		}
	}
	if len(list) == 0 {
		return nil
	}
	if _, err := s.client.DeleteTags(ctx, &awsec2.DeleteTagsInput{Resources: []string{img.ID}, Tags: list}); err != nil {
		return fmt.Errorf("remove tags: %w", err)
	}
	return nil
}
