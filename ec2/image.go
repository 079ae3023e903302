package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An amiRecord is the AMI that the build makes.
type amiRecord struct {
	Name      string   `json:"name,omitempty"`
	ID        string   `json:"id,omitempty"`
	Snapshots []string `json:"snapshots,omitempty"`
	Refused   bool     `json:"refused,omitempty"` // EC2 said that it made none
	Removed   bool     `json:"removed,omitempty"`
}

func (b Builder) imageTimeout() time.Duration {
	if b.ImageTimeout == 0 {
		return defaultImageTimeout
	}
	return b.ImageTimeout
}

func (s *session) createImage(ctx context.Context) error {
	now := s.run.Clock.Now()
	const mostNames = 10
	for try := range mostNames {
		if s.Image.Name == "" || try > 0 {
			s.Image.Name = s.builder.nameFor(s.image, now.Add(time.Duration(try)*time.Second))
		}
		err := s.tryCreateImage(ctx)
		if awsapi.Code(err) != duplicateName {
			return err
		}
		if s.builder.AMIName != "" {
			return bake.Invalid("Builder.AMIName", "%q: %w", s.Image.Name, err)
		}
		// Another bake of the same image had the same second.
	}
	return fmt.Errorf("there are images named %q and for the seconds before", s.Image.Name)
}

const duplicateName = "InvalidAMIName.Duplicate"

func (s *session) tryCreateImage(ctx context.Context) error {
	description := s.builder.Description
	if description == "" {
		description = fmt.Sprintf("%s baked from %s", s.run.Image, s.Source.ID)
	}
	s.Image.Refused = false
	out, err := s.region.client.CreateImage(ctx, &awsec2.CreateImageInput{
		InstanceId:        aws.String(s.Instance.ID),
		Name:              aws.String(s.Image.Name),
		Description:       aws.String(description),
		TagSpecifications: tagged(s.imageTags(), ec2types.ResourceTypeImage, ec2types.ResourceTypeSnapshot),
	})
	switch {
	case awsapi.Code(err) == duplicateName:
		// Perhaps an earlier attempt of ours made it, whose answer was lost:
		// CreateImage has no client token, but a unique name.
		if lookErr := s.region.settled(ctx, s.findImage); lookErr != nil {
			return lookErr
		}
		if s.Image.ID == "" {
			s.Image.Refused = true
			return err
		}
	case err != nil:
		s.Image.Refused = awsapi.Rejected(err)
		return err
	default:
		s.Image.ID = aws.ToString(out.ImageId)
	}
	s.run.Created("image", s.Image.ID)
	return nil
}

// findImage looks for the image by the tag of its create call.
func (s *session) findImage(ctx context.Context) (bool, error) {
	images, err := s.region.describeImages(ctx, &awsec2.DescribeImagesInput{
		Owners: []string{Self}, Filters: []ec2types.Filter{filter("tag:"+TagBuild, s.run.ID)},
	})
	if err != nil || len(images) == 0 {
		return false, err
	}
	s.Image.ID = aws.ToString(images[0].ImageId)
	s.Image.Snapshots = snapshotsOf(images[0])
	return true, nil
}

func (s *session) waitImage(ctx context.Context) error {
	stop := s.reportSnapshots(ctx)
	defer stop()
	return s.region.images.WaitQuiet(ctx, s.Image.ID, s.region.polls(quietImage), func(i ec2types.Image, found bool) (bool, error) {
		if !found {
			return false, nil // EC2 does not show it yet
		}
		s.Image.Snapshots = snapshotsOf(i)
		switch i.State {
		case ec2types.ImageStateAvailable:
			return true, nil
		case ec2types.ImageStateFailed, ec2types.ImageStateError, ec2types.ImageStateInvalid, ec2types.ImageStateDeregistered:
			reason := "EC2 gives no reason"
			if i.StateReason != nil {
				reason = aws.ToString(i.StateReason.Message)
			}
			return false, fmt.Errorf("%s is %s: %s", s.Image.ID, i.State, reason)
		}
		return false, nil
	})
}

func snapshotsOf(i ec2types.Image) []string {
	var ids []string
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.Ebs.SnapshotId) != "" {
			ids = append(ids, aws.ToString(m.Ebs.SnapshotId))
		}
	}
	return ids
}

// promote takes away the tag that says that anyone may remove the image.
func (s *session) promote(ctx context.Context) error {
	return s.region.onceVisible(ctx, func(ctx context.Context) error {
		_, err := s.region.client.DeleteTags(ctx, &awsec2.DeleteTagsInput{
			Resources: append([]string{s.Image.ID}, s.Image.Snapshots...),
			Tags:      []ec2types.Tag{{Key: aws.String(TagExpires)}},
		})
		return err
	})
}

// discardImage removes the image and its snapshots unless the build succeeded.
func (s *session) discardImage(ctx context.Context, outcome bake.Outcome) error {
	if outcome == bake.Succeeded || s.Image.Removed || s.Image.ID == "" && s.Image.Refused {
		return nil
	}
	if s.Image.ID == "" {
		if err := s.region.settled(ctx, s.findImage); err != nil {
			return err
		}
	}
	if s.Image.ID == "" {
		return nil
	}
	// While the image is pending, not all of its snapshots are known.
	tagged, err := s.region.snapshotsOfBuild(ctx, s.run.ID)
	if err != nil {
		return err
	}
	snapshots := slices.Compact(slices.Sorted(slices.Values(append(tagged, s.Image.Snapshots...))))
	if err := s.region.removeImage(ctx, s.Image.ID, snapshots); err != nil {
		return err
	}
	s.Image.Removed = true
	s.run.Removed("image", s.Image.ID)
	return nil
}

func (r *region) snapshotsOfBuild(ctx context.Context, build string) ([]string, error) {
	found, err := r.fetchSnapshots(ctx, []string{build})
	ids := make([]string, 0, len(found[build]))
	for _, snap := range found[build] {
		ids = append(ids, aws.ToString(snap.SnapshotId))
	}
	return ids, err
}

// removeImage deregisters the image and deletes the snapshots, which may be in
// use by it for some moments more. What is gone already is no error.
func (r *region) removeImage(ctx context.Context, id string, snapshots []string) error {
	err := r.gone(ctx, func(ctx context.Context) error {
		_, err := r.client.DeregisterImage(ctx, &awsec2.DeregisterImageInput{ImageId: aws.String(id)})
		return err
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", id, err)
	}
	var errs []error
	for _, snapshot := range snapshots {
		err := bake.WaitFor(ctx, r.clock, retryEvery, func(ctx context.Context) (bool, error) {
			_, err := r.client.DeleteSnapshot(ctx, &awsec2.DeleteSnapshotInput{SnapshotId: aws.String(snapshot)})
			if awsapi.Code(err) == "InvalidSnapshot.InUse" {
				return false, nil
			}
			if isNotFound(err) {
				return true, nil
			}
			return err == nil, err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshot %s: %w", snapshot, err))
		}
	}
	return errors.Join(errs...)
}
