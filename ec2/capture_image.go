package ec2

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An amiRecord records the AMI of the build.
type amiRecord struct {
	Name      string    `json:"name,omitempty"`
	ID        string    `json:"id,omitempty"`
	Baked     time.Time `json:"baked,omitzero"`
	Snapshots []string  `json:"snapshots,omitempty"`
	IMDS      string    `json:"imds,omitempty"`    // its IMDS support
	Refused   bool      `json:"refused,omitempty"` // EC2 refused to create it
	Removed   bool      `json:"removed,omitempty"`

	Replaces replacement `json:"replaces,omitzero"`
}

func (b Builder) imageTimeout() time.Duration {
	if b.ImageTimeout == 0 {
		return defaultImageTimeout
	}
	return b.ImageTimeout
}

// createStoppedImage creates the AMI of the stopped instance. Spot instances cannot
// be stopped, so their guest is cleaned here: see cleanGuest.
func (s *session) createStoppedImage(ctx context.Context) error {
	if s.Instance.Spot && len(s.builder.cleanupItems()) > 0 {
		if err := s.withGuest(ctx, s.clean); err != nil {
			return err
		}
	}
	return s.createImage(ctx)
}

// createImage calls CreateImage for the instance.
func (s *session) createImage(ctx context.Context) error {
	c := s.builder.Capture
	return s.create(ctx, func(ctx context.Context) (string, error) {
		out, err := s.region.client.CreateImage(ctx, &awsec2.CreateImageInput{
			InstanceId:          aws.String(s.Instance.ID),
			Name:                aws.String(s.Image.Name),
			Description:         aws.String(s.description()),
			NoReboot:            aws.Bool(c.CrashConsistent),
			BlockDeviceMappings: s.amiDevices(),
			BootModeOverride:    ec2types.BootModeOverrideValues(c.BootMode),
			TagSpecifications:   tagged(s.imageTags(), ec2types.ResourceTypeImage, ec2types.ResourceTypeSnapshot),
		})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.ImageId), nil
	})
}

// nameImage chooses the AMI's name.
func (s *session) nameImage() {
	if s.Image.Baked.IsZero() {
		s.Image.Baked = s.run.Clock.Now()
	}
	if s.builder.ReplaceAMI {
		s.Image.Name = s.workingName()
	} else if s.Image.Name == "" {
		s.Image.Name = s.builder.nameFor(s.image, strconv.FormatInt(s.Image.Baked.Unix(), 10))
	}
}

// create creates the AMI with call, under a name that is free.
func (s *session) create(ctx context.Context, call func(ctx context.Context) (string, error)) error {
	s.nameImage()
	err := s.tryCreate(ctx, call)
	switch {
	case awsapi.Code(err) != duplicateName:
		return err
	case s.builder.AMIName != "":
		return s.nameTaken(err)
	}
	// Other builds of the image got the name in the same second. The names of the
	// next seconds keep the form by which images are grouped.
	for n := int64(1); n <= maxNames && !s.resumed; n++ {
		s.Image.Name = s.builder.nameFor(s.image, strconv.FormatInt(s.Image.Baked.Unix()+n, 10))
		if err = s.tryCreate(ctx, call); awsapi.Code(err) != duplicateName {
			return err
		}
	}
	s.Image.Name = s.uniqueName()
	return s.tryCreate(ctx, call)
}

// maxNames is the number of names with a timestamp that a build tries.
const maxNames = 20

// uniqueName returns a default name that no other build uses.
func (s *session) uniqueName() string { return s.builder.nameFor(s.image, s.run.ID) }

func (s *session) nameTaken(err error) error {
	return bake.Invalid("Builder.AMIName", "another AMI got the name %q since the launch: %w", s.Image.Name, err)
}

const duplicateName = "InvalidAMIName.Duplicate"

// description returns the AMI's description.
func (s *session) description() string {
	if s.builder.Description != "" {
		return s.builder.Description
	}
	if s.fromDisk() {
		return fmt.Sprintf("%s from the disk %s", s.run.Image, s.Source.Name)
	}
	return fmt.Sprintf("%s baked from %s", s.run.Image, s.Source.ID)
}

func (s *session) tryCreate(ctx context.Context, call func(ctx context.Context) (string, error)) error {
	s.Image.Refused = false
	id, err := call(ctx)
	switch {
	case awsapi.Code(err) == duplicateName && (s.resumed || !awsapi.Rejected(err)):
		// An earlier attempt may have created it and lost the response: the
		// calls have no client token, but the name is unique.
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
		s.Image.ID = id
	}
	s.run.Created("image", s.Image.ID)
	return nil
}

// findImage looks for the build's image by its tag.
func (s *session) findImage(ctx context.Context) (bool, error) {
	image, err := s.region.imageOfBuild(ctx, s.run.ID)
	if err != nil || image.ImageId == nil {
		return false, err
	}
	s.adopt(image)
	return true, nil
}

// waitImage waits until the AMI is available, and sets its remaining attributes.
func (s *session) waitImage(ctx context.Context) error {
	err := s.region.waitImage(ctx, s, s.Image.ID, func(i ec2types.Image) {
		s.Image.Snapshots, s.Image.IMDS = snapshotsOf(i), string(i.ImdsSupport)
	})
	if errors.Is(err, errNotOurs) {
		s.Image.ID = "" // undoing finds the image by its tag
	}
	if err != nil {
		return err
	}
	return s.requireIMDSv2(ctx)
}

// errImageFailed reports that EC2 could not complete an image.
var errImageFailed = errors.New("image failed")

// waitImage waits until an image of the build is available, and reports the progress
// of its snapshots. It passes the image to see when it is available or has failed.
func (r *region) waitImage(ctx context.Context, s *session, id string, see func(ec2types.Image)) error {
	stop := r.reportSnapshots(ctx, s.run)
	defer stop()
	missing := r.absence("image", id)
	return r.images.WaitQuiet(ctx, id, r.pollIntervals(quietImage), func(i ec2types.Image, found bool) (bool, error) {
		if ours := s.ownsImage(i); !found || !ours {
			return false, missing.check(found, ours)
		}
		missing.since = time.Time{}
		switch i.State {
		case ec2types.ImageStateAvailable:
			see(i)
			return true, nil
		case ec2types.ImageStateFailed, ec2types.ImageStateError, ec2types.ImageStateInvalid, ec2types.ImageStateDeregistered:
			see(i)
			reason := "unknown reason"
			if i.StateReason != nil {
				reason = aws.ToString(i.StateReason.Message)
			}
			return false, fmt.Errorf("%w: %s is %s: %s", errImageFailed, id, i.State, reason)
		}
		return false, nil
	})
}

// completeSnapshots returns an image's snapshots if all are known, which they are
// once it is available.
func completeSnapshots(i ec2types.Image) []string {
	if i.State != ec2types.ImageStateAvailable {
		return nil
	}
	return snapshotsOf(i)
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

// discardImage removes the AMI and its snapshots unless the build succeeded.
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
	if err := s.region.discard(ctx, s, s.Image.ID, s.Image.Snapshots); err != nil {
		return err
	}
	s.Image.Removed = true
	s.run.Removed("image", s.Image.ID)
	return nil
}
