package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// EC2 cannot rename AMIs, and names are unique in an account and region. A
// replacement is therefore baked and copied under a working name. When it is good,
// the old AMI is deregistered, which keeps its snapshots, and the new one is
// registered again, from the same snapshots, under the final name. If this fails,
// the old AMI is registered again. Its snapshots are deleted when the whole build
// has succeeded.

// A replacement records the transfer of a name from an old AMI to the new one, at
// one destination.
type replacement struct {
	OldID     string                     `json:"old_id,omitempty"`
	Old       *awsec2.RegisterImageInput `json:"old,omitempty"` // to restore it
	Snapshots []string                   `json:"snapshots,omitempty"`
	Working   string                     `json:"working,omitempty"` // the new AMI's id under its working name
	Freed     bool                       `json:"freed,omitempty"`   // the old AMI may have been deregistered
	Done      bool                       `json:"done,omitempty"`
}

// workingName returns the AMI's name until it gets its final name.
func (s *session) workingName() string {
	if s.builder.ReplaceAMI {
		return s.builder.AMIName + " " + s.run.ID
	}
	return s.Image.Name
}

func (b Builder) validateReplace() []error {
	const longest = 100 // EC2 accepts 128, including the build id
	switch {
	case !b.ReplaceAMI:
	case b.AMIName == "":
		return []error{bake.Invalid("Builder.ReplaceAMI", "needs AMIName")}
	case len(b.AMIName) > longest:
		return []error{bake.Invalid("Builder.AMIName", "is %d bytes, want at most %d with ReplaceAMI", len(b.AMIName), longest)}
	}
	return nil
}

// findReplaced looks for the AMI that has the name at each destination, and records
// how to restore it.
func (s *session) findReplaced(ctx context.Context) error {
	for i := range s.Copies {
		if err := s.copyRegion(i).findOld(ctx, s.builder.AMIName, &s.Copies[i].Replaces); err != nil {
			return &CopyError{Region: s.builder.Distribute.Copies[i].Region, Err: err}
		}
	}
	return s.region.findOld(ctx, s.builder.AMIName, &s.Image.Replaces)
}

func (r *region) findOld(ctx context.Context, name string, to *replacement) error {
	if to.Freed {
		return nil // the transfer has begun
	}
	*to = replacement{}
	images, err := r.named(ctx, name)
	if err != nil || len(images) == 0 {
		return err
	}
	old := images[0]
	to.OldID, to.Old, to.Snapshots = aws.ToString(old.ImageId), registrationOf(old), snapshotsOf(old)
	return nil
}

func (r *region) named(ctx context.Context, names ...string) ([]ec2types.Image, error) {
	return r.describeImages(ctx, &awsec2.DescribeImagesInput{
		Owners: []string{Self}, Filters: []ec2types.Filter{filter("name", names...)}, IncludeDisabled: aws.Bool(true),
	})
}

// registrationOf returns the request that registers an image again from its
// snapshots.
func registrationOf(i ec2types.Image) *awsec2.RegisterImageInput {
	in := &awsec2.RegisterImageInput{
		Name: i.Name, Description: i.Description, Architecture: i.Architecture,
		VirtualizationType: aws.String(string(i.VirtualizationType)), RootDeviceName: i.RootDeviceName,
		EnaSupport: i.EnaSupport, SriovNetSupport: i.SriovNetSupport, BootMode: i.BootMode,
		TpmSupport: i.TpmSupport, ImdsSupport: i.ImdsSupport,
	}
	tags := slices.DeleteFunc(slices.Clone(i.Tags), func(t ec2types.Tag) bool { return strings.HasPrefix(aws.ToString(t.Key), "aws:") })
	if len(tags) > 0 {
		in.TagSpecifications = []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeImage, Tags: tags}}
	}
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil {
			ebs := *m.Ebs
			ebs.KmsKeyId = nil // not accepted by RegisterImage
			if ebs.SnapshotId != nil {
				ebs.Encrypted = nil // given by the snapshot
			}
			m.Ebs = &ebs
		}
		in.BlockDeviceMappings = append(in.BlockDeviceMappings, m)
	}
	return in
}

// assignName gives the new AMI its final name and updates its id. When retried, it
// continues where it failed.
func (s *session) assignName(ctx context.Context, r *region, id *string, to *replacement) error {
	if !s.builder.ReplaceAMI || to.Done {
		return nil
	}
	if to.Working == "" {
		to.Working = *id
	}
	if *id == to.Working {
		found, err := r.fetchImages(ctx, []string{to.Working})
		if err != nil {
			return err
		}
		working, ok := found[to.Working]
		if !ok {
			return fmt.Errorf("image %s not found", to.Working)
		}
		in := registrationOf(working)
		in.Name = aws.String(s.builder.AMIName)
		if s.builder.Capture.UEFIData != "" {
			in.UefiData = aws.String(s.builder.Capture.UEFIData)
		}
		s.setInitializationRates(in.BlockDeviceMappings)
		if to.OldID != "" {
			to.Freed = true
			if err := r.deregister(ctx, to.OldID); err != nil {
				return fmt.Errorf("image %s: %w", to.OldID, err)
			}
		}
		final, err := s.registerNamed(ctx, r, in)
		if err != nil {
			return err
		}
		if err := s.verifyImage(ctx, r, final); err != nil {
			return err // the next attempt, and undoing, find it by its tag
		}
		*id = final
		s.run.Created("image", final)
		s.run.Say("%s has the name %q now, replacing %s", final, s.builder.AMIName, to.OldID)
	}
	if err := r.deregister(ctx, to.Working); err != nil {
		return fmt.Errorf("image %s: %w", to.Working, err)
	}
	s.run.Removed("image", to.Working)
	to.Done = true
	return nil
}

// registerNamed registers an image under a name that has just become free, which may
// not be visible yet. If an image of this build already has the name, an earlier
// call succeeded and its response was lost.
func (s *session) registerNamed(ctx context.Context, r *region, in *awsec2.RegisterImageInput) (id string, err error) {
	waitErr := r.settled(ctx, func(ctx context.Context) (bool, error) {
		id, err = r.register(ctx, in)
		if awsapi.Code(err) != duplicateName {
			return true, nil
		}
		images, lookErr := r.named(ctx, aws.ToString(in.Name))
		if lookErr != nil || len(images) == 0 || tagMap(images[0].Tags)[TagBuild] != s.run.ID {
			return false, lookErr
		}
		id, err = aws.ToString(images[0].ImageId), nil
		return true, nil
	})
	if waitErr != nil {
		return "", waitErr
	}
	return id, err
}

// setInitializationRates sets InitializationMiB of the caller's devices, which EC2
// does not return.
func (s *session) setInitializationRates(list []ec2types.BlockDeviceMapping) {
	for _, d := range s.amiDevices() {
		for _, m := range list {
			if d.Ebs != nil && m.Ebs != nil && aws.ToString(d.DeviceName) == aws.ToString(m.DeviceName) {
				m.Ebs.VolumeInitializationRate = d.Ebs.VolumeInitializationRate
			}
		}
	}
}

// assignCopyName calls assignName for the i-th copy.
func (s *session) assignCopyName(ctx context.Context, i int) error {
	p := &s.Copies[i]
	if !p.Copied {
		return nil
	}
	return s.assignName(ctx, s.copyRegion(i), &p.ID, &p.Replaces)
}

// deleteOld deletes the snapshots of the replaced AMI, except those that another AMI
// uses.
func (r *region) deleteOld(ctx context.Context, run *bake.Run, to *replacement) error {
	if !to.Done || to.OldID == "" {
		return nil
	}
	for _, snapshot := range to.Snapshots {
		used := false
		err := r.settled(ctx, func(ctx context.Context) (_ bool, err error) {
			used, err = r.deleteSnapshot(ctx, snapshot)
			return !used, err
		})
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", snapshot, err)
		}
		if used {
			run.Say("keeping %s of %s: another AMI uses it", snapshot, to.OldID)
		}
	}
	run.Removed("image", to.OldID)
	to.OldID = ""
	return nil
}

// restoreOld registers the old AMI again under its name, with a new id. The new AMI
// has been deregistered.
func (r *region) restoreOld(ctx context.Context, run *bake.Run, to *replacement) error {
	if to.OldID == "" || to.Old == nil {
		return nil
	}
	var refused error
	err := r.settled(ctx, func(ctx context.Context) (bool, error) {
		images, err := r.named(ctx, aws.ToString(to.Old.Name))
		if err != nil {
			return false, err
		}
		if len(images) > 0 {
			// The new AMI may remain visible for a moment. Any other is the old one,
			// which was not deregistered or is already restored, or a stranger's.
			refused = fmt.Errorf("name is used by %s", aws.ToString(images[0].ImageId))
			there := tagMap(images[0].Tags)[TagBuild] != run.ID
			if there {
				refused = nil
			}
			return there, nil
		}
		var id string
		if id, refused = r.register(ctx, to.Old); awsapi.Code(refused) == duplicateName {
			return false, nil // not visible yet that the name is free
		}
		if refused == nil {
			run.Say("restored %q as %s; it was %s, whose launch permissions and deprecation time are lost", aws.ToString(to.Old.Name), id, to.OldID)
		}
		return true, nil
	})
	if err = errors.Join(err, refused); err != nil {
		return fmt.Errorf("restore image %s: %w", to.OldID, err)
	}
	return nil
}
