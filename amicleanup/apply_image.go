package amicleanup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// changeTimeout limits the change of one image with its snapshots. The change is
// not canceled with the context, since a partial change is worse.
const changeTimeout = 5 * time.Minute

// act does to one image what both decisions say, if it is still as it was. Now
// has the image as it is.
func (r *targetRun) act(ctx context.Context, item *Item, images map[string]*Image, res *ImageResult) error {
	if slices.ContainsFunc(item.Image.Snapshots, func(s string) bool { return r.shared[s] }) {
		r.changing.take()
		defer r.changing.pass()
	}
	now := images[item.Image.ID]
	if now != nil {
		why := r.differs(item, images)
		if why == "" {
			var err error
			if why, err = r.readSharesOf(ctx, item, now); err != nil {
				if ctx.Err() != nil {
					return nil // nothing was done; the end of the context is reported once
				}
				res.Outcome, res.Detail = Failed, err.Error()
				return err
			}
		}
		if why != "" {
			res.Outcome, res.Detail = Skipped, why
			return nil
		}
	}
	res.Before = now
	ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), r.clock, changeTimeout)
	defer stop()
	switch {
	case now == nil && item.Action != Remove:
		res.Outcome = Gone
	case now == nil:
		// Another run may have ended between the image and its snapshots.
		res.Outcome = Gone
		r.markRemoved(item.Image.ID)
		return r.removeSnapshots(ctx, item.Image.Snapshots, nil, 1, res)
	case item.Action == Remove:
		return r.deregister(ctx, now, res)
	default:
		return r.switchTo(ctx, item.Action, now, res)
	}
	return nil
}

// readSharesOf reads who may launch the image where that is about to be lost, or
// decided some time ago. It returns why the image must stay, or "".
func (r *targetRun) readSharesOf(ctx context.Context, item *Item, now *Image) (why string, err error) {
	now.Shares = item.Image.Shares
	disables := item.Action == Disable && item.Image.State == available
	if !disables && (item.Image.Shares == nil || r.clock.Now().Sub(r.region.begun) < referencesStale) {
		return "", nil
	}
	if now.Shares, err = sharesOf(ctx, r.client, now.ID); err != nil {
		return "", fmt.Errorf("read who may launch it: %w", err)
	}
	if was := item.Image.Shares; was != nil && item.Action != Restore && !was.Any() && now.Shares.Any() {
		return "is shared now", nil
	}
	return "", nil
}

func (r *targetRun) deregister(ctx context.Context, now *Image, res *ImageResult) error {
	out, err := r.client.DeregisterImage(ctx, &awsec2.DeregisterImageInput{
		ImageId: aws.String(now.ID), DeleteAssociatedSnapshots: aws.Bool(true),
	})
	switch {
	case err == nil:
		res.Outcome = Removed
	case meaningOf(err) == gone:
		// Another process was faster, or the response to the client's first
		// attempt was lost.
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

// switchTo takes an image a step down the lifecycle, or back.
func (r *targetRun) switchTo(ctx context.Context, action Action, now *Image, res *ImageResult) error {
	s := switcher{r.client, r.clock}
	var err error
	var done Outcome
	switch action {
	case Deprecate:
		done, err = Deprecated, s.deprecate(ctx, now)
	case Disable:
		done, err = Disabled, s.disable(ctx, now)
	case Unprotect:
		done, err = Unprotected, s.unprotect(ctx, now)
	default:
		on := stageOf(now)
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
