package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// imagesOfBuild returns the images that are tagged with a build id.
func (r *region) imagesOfBuild(ctx context.Context, build string) ([]ec2types.Image, error) {
	return r.describeImages(ctx, &awsec2.DescribeImagesInput{
		Owners: []string{Self}, Filters: []ec2types.Filter{filter("tag:"+TagBuild, build)},
	})
}

// imageOfBuild returns one image of a build, or the zero value.
func (r *region) imageOfBuild(ctx context.Context, build string) (ec2types.Image, error) {
	images, err := r.imagesOfBuild(ctx, build)
	if err != nil || len(images) == 0 {
		return ec2types.Image{}, err
	}
	return images[0], nil
}

func (r *region) snapshotsOfBuild(ctx context.Context, build string) ([]string, error) {
	found, err := r.fetchSnapshots(ctx, []string{build})
	ids := make([]string, 0, len(found[build]))
	for _, snap := range found[build] {
		ids = append(ids, aws.ToString(snap.SnapshotId))
	}
	return ids, err
}

// discard removes an image of the build, complete or not. If no snapshots are known,
// the image is incomplete, so it also deletes snapshots that appear within
// SettleTime.
func (r *region) discard(ctx context.Context, s *session, id string, snapshots []string) error {
	tagged, err := r.snapshotsOfBuild(ctx, s.run.ID)
	if err != nil {
		return err
	}
	if err := r.deregisterBuild(ctx, s, id); err != nil {
		return err
	}
	err = r.deleteSnapshots(ctx, slices.Compact(slices.Sorted(slices.Values(append(tagged, snapshots...)))))
	if err != nil || len(snapshots) > 0 {
		return err
	}
	until := r.clock.Now().Add(r.settle)
	return clock.WaitFor(ctx, r.clock, r.lookEvery(), func(ctx context.Context) (bool, error) {
		late, err := r.snapshotsOfBuild(ctx, s.run.ID)
		if err == nil {
			err = r.deleteSnapshots(ctx, late)
		}
		return !r.clock.Now().Before(until), err
	})
}

// deregisterBuild deregisters the image with the id, unless it is another's, and all
// others of the build.
func (r *region) deregisterBuild(ctx context.Context, s *session, id string) error {
	images, err := r.imagesOfBuild(ctx, s.run.ID)
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(images)+1)
	shown, err := r.fetchImages(ctx, []string{id})
	if err != nil {
		return err
	}
	if image, found := shown[id]; !found || s.ownsImage(image) {
		ids = append(ids, id) // or EC2 does not show it yet
	}
	for _, image := range images {
		ids = append(ids, aws.ToString(image.ImageId))
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if err := r.removeImage(ctx, id, nil); err != nil {
			return err
		}
	}
	return nil
}

// removeImage deregisters an image, even if protected, and deletes its snapshots.
// Resources that no longer exist are not an error.
func (r *region) removeImage(ctx context.Context, id string, snapshots []string) error {
	err := r.deregister(ctx, id)
	if isProtected(err) {
		_, err = r.client.DisableImageDeregistrationProtection(ctx, &awsec2.DisableImageDeregistrationProtectionInput{ImageId: aws.String(id)})
		if err == nil {
			err = r.deregister(ctx, id) // refused while a cooldown lasts
		}
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", id, err)
	}
	return r.deleteSnapshots(ctx, snapshots)
}

func (r *region) deregister(ctx context.Context, id string) error {
	return r.gone(ctx, func(ctx context.Context) error {
		_, err := r.client.DeregisterImage(ctx, &awsec2.DeregisterImageInput{ImageId: aws.String(id)})
		return err
	})
}

// isProtected reports whether EC2 refused to deregister a protected image.
func isProtected(err error) bool { return awsapi.Code(err) == "OperationNotPermitted" }

// deleteSnapshots deletes snapshots, waiting while EC2 still considers them in use
// by a deregistered image.
func (r *region) deleteSnapshots(ctx context.Context, snapshots []string) error {
	var errs []error
	for _, snapshot := range snapshots {
		err := clock.WaitFor(ctx, r.clock, retryEvery, func(ctx context.Context) (bool, error) {
			used, err := r.deleteSnapshot(ctx, snapshot)
			return !used, err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshot %s: %w", snapshot, err))
		}
	}
	return errors.Join(errs...)
}

// deleteSnapshot deletes a snapshot unless an image uses it. A snapshot that no
// longer exists is not an error.
func (r *region) deleteSnapshot(ctx context.Context, snapshot string) (used bool, err error) {
	_, err = r.client.DeleteSnapshot(ctx, &awsec2.DeleteSnapshotInput{SnapshotId: aws.String(snapshot)})
	switch {
	case awsapi.Code(err) == "InvalidSnapshot.InUse":
		return true, nil
	case isNotFound(err):
		return false, nil
	}
	return false, err
}
