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

// Undo takes back what a result says was done, as far as EC2 allows: what was
// disabled is enabled and shared as before, what was deprecated is no longer,
// and what was removed comes back from the Recycle Bin, if a retention rule
// kept it, its snapshots first. What comes back is as it was before, with the
// tags that it had: on the rung of the Ladder where it was.
//
// The result of Undo has every image that the other one changed; the outcome
// is Restored, or Gone for what is not in the Recycle Bin either. What was
// restored before is AlreadyDone, and what was only restored by r is Skipped.
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
				errs = append(errs, &ImageError{res.Account, res.Region, res.ID, res.Name, err})
			}
		}
		out.Images = append(out.Images, res)
	}
	if out.Count(NotTried) > 0 && ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	out.Finished = c.clock().Now().UTC()
	return out, errors.Join(errs...)
}

// undo takes back what was done to one image, in a run that began at started.
func (c *Cleaner) undo(ctx context.Context, img, res *ImageResult, started time.Time) error {
	target, ok := c.target(img.Account, img.Region)
	if !ok {
		return errors.New("the cleaner does not have its target")
	}
	if img.Action == Restore {
		res.Outcome, res.Detail = Skipped, "it was restored"
		return nil
	}
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), c.clock(), changeTimeout)
	defer stop()
	now, err := readImage(ctx, target.Client, img.ID)
	if err != nil {
		return err
	}
	if img.Action == Deregister {
		if now != nil {
			res.Outcome = AlreadyDone
			return nil
		}
		if err := fromRecycleBin(ctx, target.Client, img, res); err != nil || res.Outcome != Gone {
			return err
		}
		// An earlier try may have taken it out a moment ago.
		if err := c.settled(ctx, started); err != nil {
			return err
		}
		if now, err = readImage(ctx, target.Client, img.ID); err == nil && now != nil {
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
	s := switcher{target.Client, c.clock()}
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

// fromRecycleBin restores the snapshots that were removed, and then the image:
// in the other order EC2 has no use for it.
func fromRecycleBin(ctx context.Context, client ImageRemover, img, res *ImageResult) error {
	for _, s := range img.Snapshots {
		if s.Outcome != Removed && s.Outcome != Gone {
			continue
		}
		_, err := client.RestoreSnapshotFromRecycleBin(ctx, &awsec2.RestoreSnapshotFromRecycleBinInput{SnapshotId: aws.String(s.ID)})
		switch {
		case err == nil:
			res.Snapshots = append(res.Snapshots, SnapshotResult{ID: s.ID, Outcome: Restored})
		case meaningOf(err) == gone:
			// Restored by an earlier try, or not kept: then the image says so.
			res.Snapshots = append(res.Snapshots, SnapshotResult{ID: s.ID, Outcome: Gone})
		default:
			return fmt.Errorf("snapshot %s: take it from the Recycle Bin: %w", s.ID, err)
		}
	}
	_, err := client.RestoreImageFromRecycleBin(ctx, &awsec2.RestoreImageFromRecycleBinInput{ImageId: aws.String(img.ID)})
	switch {
	case err == nil:
		res.Outcome = Restored
	case meaningOf(err) == gone:
		res.Outcome, res.Detail = Gone, "it is not in the Recycle Bin"
	default:
		return fmt.Errorf("take it from the Recycle Bin: %w", err)
	}
	return nil
}
