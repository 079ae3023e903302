package amicleanup

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// removeOrphans deletes the snapshots without an image that both decisions
// remove. An error of one snapshot does not stop the others.
func (r *targetRun) removeOrphans(ctx context.Context) {
	if r.now == nil || len(r.snapshots) == 0 {
		return
	}
	decided := map[string]*SnapshotItem{}
	for i := range r.now.Snapshots {
		decided[r.now.Snapshots[i].Snapshot.ID] = &r.now.Snapshots[i]
	}
	var left []*SnapshotResult
	for i := range r.snapshots {
		res := &r.snapshots[i]
		item := decided[res.ID]
		switch {
		case r.stop != nil || r.now.SnapshotError != "":
		case item == nil && r.cleaner.Policy.Snapshots == nil:
			res.Outcome, res.Detail = Skipped, "the policy does not remove snapshots"
		case item == nil:
			res.Outcome, res.Detail = Skipped, "it is gone, has other tags, belongs to an image, or the policy does not select it"
		case item.Action != Remove:
			res.Outcome, res.Detail = Skipped, item.Reason
		default:
			left = append(left, res)
		}
	}
	for batch := range slices.Chunk(left, batchSize) {
		if !r.goesOn() || ctx.Err() != nil {
			break
		}
		r.removeBatch(ctx, batch, decided)
	}
	for i := range r.snapshots {
		res := &r.snapshots[i]
		r.log.LogAttrs(ctx, slog.LevelInfo, "amicleanup snapshot",
			slog.String("snapshot", res.ID), slog.String("outcome", string(res.Outcome)), slog.String("detail", res.Detail))
	}
}

// An orphanLook holds everything that may need the snapshots of a batch.
type orphanLook struct {
	snapshots map[string]*Snapshot
	images    map[string]string // by snapshot: an image that contains it
}

func (r *targetRun) lookAtSnapshots(ctx context.Context, ids []string) (*orphanLook, error) {
	found, _, err := readSnapshots(ctx, r.client, ec2types.Filter{Name: aws.String("snapshot-id"), Values: ids})
	if err != nil {
		return nil, fmt.Errorf("read again: %w", err)
	}
	look := &orphanLook{snapshots: map[string]*Snapshot{}, images: map[string]string{}}
	for i := range found {
		look.snapshots[found[i].ID] = &found[i]
	}
	images, err := readImages(ctx, r.client, ec2types.Filter{Name: aws.String("block-device-mapping.snapshot-id"), Values: ids})
	if err != nil {
		return nil, fmt.Errorf("read images that contain it: %w", err)
	}
	for _, img := range images {
		for _, s := range img.Snapshots {
			look.images[s] = img.ID
		}
	}
	if err := readAttached(ctx, r.client, look.snapshots); err != nil {
		return nil, fmt.Errorf("launch templates: %w", err)
	}
	return look, nil
}

func (r *targetRun) removeBatch(ctx context.Context, batch []*SnapshotResult, decided map[string]*SnapshotItem) {
	ids := make([]string, len(batch))
	for i, res := range batch {
		ids[i] = res.ID
	}
	look, err := r.lookAtSnapshots(ctx, ids)
	if err != nil {
		if ctx.Err() == nil {
			r.fail(err)
		}
		return
	}
	for _, res := range batch {
		if !r.goesOn() || ctx.Err() != nil {
			return
		}
		if err := r.removeOrphan(ctx, look, &decided[res.ID].Snapshot, res); err != nil {
			res.Outcome, res.Detail = Failed, err.Error()
			r.mu.Lock()
			r.errs = append(r.errs, &TargetError{Account: res.Account, Region: res.Region, Err: fmt.Errorf("snapshot %s: %w", res.ID, err)})
			if meaningOf(err) == hopeless {
				r.stop = err
			}
			r.mu.Unlock()
		}
	}
}

func (r *targetRun) removeOrphan(ctx context.Context, look *orphanLook, decided *Snapshot, res *SnapshotResult) error {
	skip := func(why string) error {
		res.Outcome, res.Detail = Skipped, why
		return nil
	}
	now := look.snapshots[res.ID]
	if now == nil {
		res.Outcome = Gone
		return nil
	}
	if image := look.images[res.ID]; image != "" {
		return skip(image + " contains it now")
	}
	if len(now.UsedBy) > 0 {
		return skip(now.UsedBy[0] + " attaches it now")
	}
	if why := decided.drift(now); why != "" {
		return skip(why)
	}
	_, err := r.client.DeleteSnapshot(context.WithoutCancel(ctx), &awsec2.DeleteSnapshotInput{SnapshotId: aws.String(res.ID)})
	switch meaningOf(err) {
	case gone:
		res.Outcome = Gone
		return nil
	case inUse, refused:
		return skip(err.Error())
	default:
		if err == nil {
			res.Outcome = Removed
		}
		return err
	}
}
