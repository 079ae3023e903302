package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A snapshot may count as used for a moment after its image was deregistered.
const (
	inUseTries = 6
	inUseWait  = time.Second // doubles after each try: 31 s in all
)

// removeSnapshots completes what DeregisterImage answered about the snapshots
// of the image that it removed. What it did not answer for is removed here one
// by one: not every implementation of EC2 knows how to do it along.
func (r *targetRun) removeSnapshots(ctx context.Context, ids []string, answered []ec2types.DeleteSnapshotReturnCode, tries int, res *ImageResult) error {
	var errs []error
	for _, id := range ids {
		s := SnapshotResult{ID: id}
		var err error
		switch code := answerFor(id, answered); code {
		case ec2types.SnapshotReturnCodesSuccess:
			s.Outcome = Removed
		case ec2types.SnapshotReturnCodesWarnSkipped:
			s.Outcome, s.Detail = Skipped, "another image has it as well"
		case ec2types.SnapshotReturnCodesErrorMissingPermissions:
			err = fmt.Errorf("snapshot %s: %w", id, errSnapshotRights)
		case ec2types.SnapshotReturnCodesErrorCodeClientError:
			err = fmt.Errorf("snapshot %s: EC2 says %s", id, code)
		default:
			if err = r.removeSnapshot(ctx, id, tries, &s); err != nil {
				err = fmt.Errorf("snapshot %s: %w", id, err)
			}
		}
		if err != nil {
			s.Outcome, s.Detail = Failed, err.Error()
			errs = append(errs, err)
		}
		res.Snapshots = append(res.Snapshots, s)
	}
	return errors.Join(errs...)
}

// removeLeft removes those snapshots of an image that is gone that are still
// there. Of a plan that is applied again most are not, and EC2 answers far
// more questions in a second than it deletes snapshots.
func (r *targetRun) removeLeft(ctx context.Context, ids []string, res *ImageResult) error {
	if len(ids) == 0 {
		return nil
	}
	there, _, err := readSnapshots(ctx, r.target.Client, ec2types.Filter{Name: aws.String("snapshot-id"), Values: ids})
	if err != nil {
		return fmt.Errorf("read which snapshots are left: %w", err)
	}
	var left []string
	for _, id := range ids {
		if slices.ContainsFunc(there, func(s Snapshot) bool { return s.ID == id }) {
			left = append(left, id)
		} else {
			res.Snapshots = append(res.Snapshots, SnapshotResult{ID: id, Outcome: Gone})
		}
	}
	return r.removeSnapshots(ctx, left, nil, 1, res)
}

func answerFor(id string, answered []ec2types.DeleteSnapshotReturnCode) ec2types.SnapshotReturnCodes {
	for _, a := range answered {
		if aws.ToString(a.SnapshotId) == id {
			return a.ReturnCode
		}
	}
	return ""
}

// removeSnapshot removes a snapshot that no other image has.
func (r *targetRun) removeSnapshot(ctx context.Context, id string, tries int, s *SnapshotResult) error {
	image, err := r.sharer(ctx, id)
	if err != nil {
		return fmt.Errorf("read which images have it: %w", err)
	}
	if image != "" {
		s.Outcome, s.Detail = Skipped, image+" has it as well"
		return nil
	}
	wait := inUseWait
	for try := 1; ; try++ {
		_, err := r.target.Client.DeleteSnapshot(ctx, &awsec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
		switch meaningOf(err) {
		case gone:
			s.Outcome = Gone
			return nil
		case inUse:
			if try >= tries {
				s.Outcome, s.Detail = Skipped, err.Error()
				return nil
			}
		default:
			if err == nil {
				s.Outcome = Removed
			}
			return err
		}
		if err := r.clock.Sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

// sharer is an image that has the snapshot and is not removed; empty is none.
func (r *targetRun) sharer(ctx context.Context, id string) (image string, err error) {
	r.reading.take()
	defer r.reading.pass()
	if r.sharing == nil {
		images, err := readImages(ctx, r.target.Client)
		if err != nil {
			return "", err
		}
		r.sharing = map[string][]string{}
		for i := range images {
			for _, snapshot := range images[i].Snapshots {
				r.sharing[snapshot] = append(r.sharing[snapshot], images[i].ID)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, image := range r.sharing[id] {
		if !r.removed[image] {
			return image, nil
		}
	}
	return "", nil
}
