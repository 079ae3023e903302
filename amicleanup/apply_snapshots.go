package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A snapshot may count as in use for a moment after its image was deregistered.
const (
	inUseTries = 6
	inUseWait  = time.Second // doubles after each try: 31 s in all
)

// removeSnapshots completes the removal of an image's snapshots after
// DeregisterImage. Snapshots missing in its answer are deleted one by one, since
// not every implementation of EC2 deletes them with the image.
func (r *targetRun) removeSnapshots(ctx context.Context, ids []string, answered []ec2types.DeleteSnapshotReturnCode, tries int, res *ImageResult) error {
	var errs []error
	for _, id := range ids {
		s := SnapshotResult{ID: id}
		var err error
		switch code := answerFor(id, answered); code {
		case ec2types.SnapshotReturnCodesSuccess:
			s.Outcome = Removed
		case ec2types.SnapshotReturnCodesWarnSkipped:
			s.Outcome, s.Detail = Skipped, "another image contains it"
		case ec2types.SnapshotReturnCodesErrorMissingPermissions:
			err = fmt.Errorf("snapshot %s: %w", id, errSnapshotRights)
		case ec2types.SnapshotReturnCodesErrorCodeClientError:
			err = fmt.Errorf("snapshot %s: EC2 returned %s", id, code)
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

func answerFor(id string, answered []ec2types.DeleteSnapshotReturnCode) ec2types.SnapshotReturnCodes {
	for _, a := range answered {
		if aws.ToString(a.SnapshotId) == id {
			return a.ReturnCode
		}
	}
	return ""
}

// removeSnapshot deletes a snapshot unless another image contains it.
func (r *targetRun) removeSnapshot(ctx context.Context, id string, tries int, s *SnapshotResult) error {
	image, err := r.sharer(ctx, id)
	if err != nil {
		return fmt.Errorf("read images that contain it: %w", err)
	}
	if image != "" {
		s.Outcome, s.Detail = Skipped, image+" contains it"
		return nil
	}
	wait := inUseWait
	for try := 1; ; try++ {
		_, err := r.client.DeleteSnapshot(ctx, &awsec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
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

// sharer returns an image that contains the snapshot and is not removed, or "".
func (r *targetRun) sharer(ctx context.Context, id string) (image string, err error) {
	r.reading.take()
	defer r.reading.pass()
	if r.sharing == nil {
		images, err := readImages(ctx, r.client)
		if err != nil {
			return "", err
		}
		r.sharing = map[string][]string{}
		for _, img := range images {
			for _, snapshot := range img.Snapshots {
				r.sharing[snapshot] = append(r.sharing[snapshot], img.ID)
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
