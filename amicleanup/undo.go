package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Undo takes back the changes of a result as far as EC2 allows: disabled images
// are enabled and shared as before, deprecations end, and removed images and
// snapshots return from the Recycle Bin, if a retention rule kept them. An image
// returns with the tags that it had, at the same step of the lifecycle. Lifted
// deregistration protection is not set again.
//
// The result of Undo has every image and snapshot that r changed. The outcome is
// Restored, or Gone if the Recycle Bin lacks it. Images that are back
// already are AlreadyDone; images that r restored are Skipped.
func (c *Cleaner) Undo(ctx context.Context, r *Result) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	out := &Result{Started: c.clock().Now().UTC()}
	var errs []error
	ended := c.settled(ctx, r.Finished) != nil
	for i := range r.Images {
		img := &r.Images[i]
		if img.Before == nil || img.Outcome == Skipped || img.Outcome == AlreadyDone || img.Outcome == NotTried {
			continue
		}
		res := ImageResult{
			Account: img.Account, Region: img.Region, ID: img.ID, Name: img.Name,
			Action: Restore, Outcome: NotTried,
		}
		if !ended && ctx.Err() == nil {
			if err := c.undo(ctx, img, &res, out.Started); err != nil {
				res.Outcome, res.Detail = Failed, err.Error()
				errs = append(errs, &TargetError{res.Account, res.Region, res.ID, res.Name, err})
			}
		}
		out.Images = append(out.Images, res)
	}
	for i := range r.Snapshots {
		s := &r.Snapshots[i]
		if s.Outcome != Removed {
			continue
		}
		res := SnapshotResult{Account: s.Account, Region: s.Region, ID: s.ID, Outcome: NotTried}
		if !ended && ctx.Err() == nil {
			if err := c.undoSnapshot(ctx, &res); err != nil {
				res.Outcome, res.Detail = Failed, err.Error()
				errs = append(errs, &TargetError{Account: res.Account, Region: res.Region, Err: err})
			}
		}
		out.Snapshots = append(out.Snapshots, res)
	}
	if out.has(NotTried) && ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	out.Finished = c.clock().Now().UTC()
	return out, errors.Join(errs...)
}

// undo takes back the change of one image, in a run that began at started.
func (c *Cleaner) undo(ctx context.Context, img, res *ImageResult, started time.Time) error {
	target, ok := c.target(img.Account, img.Region)
	if !ok {
		return errors.New("target is not configured")
	}
	if img.Action == Restore || img.Action == Unprotect {
		res.Outcome, res.Detail = Skipped, "undo does not take back "+string(img.Action)
		return nil
	}
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), c.clock(), changeTimeout)
	defer stop()
	client := target.ec2()
	now, err := readImage(ctx, client, img.ID)
	if err != nil {
		return err
	}
	if img.Action == Remove {
		if now != nil {
			res.Outcome = AlreadyDone
			return nil
		}
		if err := fromRecycleBin(ctx, client, img, res); err != nil || res.Outcome != Gone {
			return err
		}
		// An earlier attempt may have restored it a moment ago.
		if err := c.settled(ctx, started); err != nil {
			return err
		}
		if now, err = readImage(ctx, client, img.ID); err == nil && now != nil {
			res.Outcome, res.Detail = AlreadyDone, ""
		}
		return err
	}
	if now == nil {
		res.Outcome = Gone
		return nil
	}
	before := img.Before
	if now.State == before.State && now.Tags[TagRetired] == before.Tags[TagRetired] {
		res.Outcome = AlreadyDone
		return nil
	}
	s := switcher{client, c.clock()}
	to := restored{enable: before.State == available, shares: before.Shares, tags: map[string]string{}}
	for key, value := range before.Tags {
		if key == TagRetired || isSharedTag(key) {
			to.tags[key] = value
		}
	}
	if img.Action == Deprecate {
		to.undeprecate, to.deprecation = !before.deprecated(c.clock().Now()), before.Deprecated
	}
	if err := s.restore(ctx, now, to); err != nil {
		return err
	}
	res.Outcome = Restored
	return nil
}

// fromRecycleBin restores the removed snapshots and then the image, which EC2
// cannot restore without them.
func fromRecycleBin(ctx context.Context, client *awsec2.Client, img, res *ImageResult) error {
	for _, s := range img.Snapshots {
		if s.Outcome != Removed && s.Outcome != Gone {
			continue
		}
		_, err := client.RestoreSnapshotFromRecycleBin(ctx, &awsec2.RestoreSnapshotFromRecycleBinInput{SnapshotId: aws.String(s.ID)})
		switch {
		case err == nil:
			res.Snapshots = append(res.Snapshots, SnapshotResult{ID: s.ID, Outcome: Restored})
		case meaningOf(err) == gone:
			// Restored by an earlier attempt, or not kept: then the image fails.
			res.Snapshots = append(res.Snapshots, SnapshotResult{ID: s.ID, Outcome: Gone})
		default:
			return fmt.Errorf("snapshot %s: restore from the Recycle Bin: %w", s.ID, err)
		}
	}
	_, err := client.RestoreImageFromRecycleBin(ctx, &awsec2.RestoreImageFromRecycleBinInput{ImageId: aws.String(img.ID)})
	switch {
	case err == nil:
		res.Outcome = Restored
	case meaningOf(err) == gone:
		res.Outcome, res.Detail = Gone, "not in the Recycle Bin"
	default:
		return fmt.Errorf("restore from the Recycle Bin: %w", err)
	}
	return nil
}

// undoSnapshot restores a snapshot that belonged to no image.
func (c *Cleaner) undoSnapshot(ctx context.Context, res *SnapshotResult) error {
	target, ok := c.target(res.Account, res.Region)
	if !ok {
		return errors.New("target is not configured")
	}
	_, err := target.ec2().RestoreSnapshotFromRecycleBin(ctx, &awsec2.RestoreSnapshotFromRecycleBinInput{SnapshotId: aws.String(res.ID)})
	switch {
	case err == nil:
		res.Outcome = Restored
	case isGone(err):
		res.Outcome, res.Detail = Gone, "not in the Recycle Bin"
	default:
		return fmt.Errorf("snapshot %s: restore from the Recycle Bin: %w", res.ID, err)
	}
	return nil
}
