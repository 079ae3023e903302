package ec2

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A SourceImage describes the AMI that a bake started from, at that time.
type SourceImage struct {
	ID           string            `json:"id"`
	Region       string            `json:"region,omitempty"`
	Name         string            `json:"name"`
	Owner        string            `json:"owner"`                 // an account id
	OwnerAlias   string            `json:"owner_alias,omitempty"` // "amazon", "aws-marketplace"
	Description  string            `json:"description,omitempty"`
	Created      time.Time         `json:"created"`
	Deprecated   time.Time         `json:"deprecated,omitzero"` // its deprecation time, past or future; zero means never
	Architecture string            `json:"architecture"`
	Platform     string            `json:"platform,omitempty"` // "Linux/UNIX", "Red Hat Enterprise Linux"
	IMDSv2       bool              `json:"imds_v2,omitempty"`  // its instances require IMDSv2
	Billed       bool              `json:"billed,omitempty"`   // it has billing or product codes, so AWS charges for its software
	RootDevice   string            `json:"root_device"`
	Login        string            `json:"login"` // the user to log in as
	Tags         map[string]string `json:"tags,omitempty"`

	// Volumes are the EBS volumes that its instances have by default.
	Volumes []SourceVolume `json:"volumes,omitempty"`
}

// A SourceVolume is an EBS volume of an AMI.
type SourceVolume struct {
	Device            string `json:"device"`
	Snapshot          string `json:"snapshot,omitempty"`
	Encrypted         bool   `json:"encrypted,omitempty"`
	SizeGiB           int32  `json:"size_gib"`
	Type              string `json:"type,omitempty"`
	IOPS              int32  `json:"iops,omitempty"`  // if the type supports them
	KeepOnTermination bool   `json:"stays,omitempty"` // not deleted with its instance
}

func (s *session) findSource(ctx context.Context) error {
	source := s.builder.Source
	if s.run.Source != nil { // the artifact of Image.From, or the AMI to check
		id, ok := s.run.Source.IDs()[s.region.name]
		if !ok {
			return fmt.Errorf("%s has no AMI in %s", s.run.Source, s.region.name)
		}
		source = ImageID(id)
	}
	if source == nil {
		return errors.New("no source: Image.From has no artifact")
	}
	var image ec2types.Image
	var failed error
	err := s.region.settled(ctx, func(ctx context.Context) (bool, error) {
		image, failed = source.find(ctx, s.region)
		// A new AMI may not be visible yet.
		return s.run.Source == nil || !errors.Is(failed, ErrNoSource), nil
	})
	if err != nil {
		return err
	}
	if failed != nil {
		if s.run.Source != nil {
			return failed
		}
		return s.explainSource(failed)
	}
	s.Source = sourceImage(image)
	s.Source.Region = s.region.name
	if strings.EqualFold(string(image.Platform), "windows") { // the SDK has "Windows", EC2 sends "windows"
		return bake.Invalid("Builder.Source", "%s is a Windows AMI: a Builder needs one with cloud-init and a POSIX shell", s.Source.ID)
	}
	if s.builder.SSH.User != "" && !s.run.Checks {
		s.Source.Login = s.builder.SSH.User
	}
	if s.Source.Login == "" {
		return bake.Invalid("Builder.SSH.User", "is required: the login of %s, owned by account %s, is unknown", s.Source.ID, s.Source.Owner)
	}
	s.run.Say("source is %s", s.Source.describe(s.run.Clock.Now()))
	if len(s.builder.InstanceTypes) == 0 {
		if err := s.checkDefaultType(); err != nil {
			return err
		}
	}
	if s.run.Checks {
		return nil
	}
	errs := []error{s.findSourceTags()}
	if !s.image.ProvisionOnly {
		for _, p := range s.image.Publishers {
			if with, ok := bake.As[SourcePublisher](p); ok {
				errs = append(errs, with.PreflightSource(s.Source))
			}
		}
	}
	return errors.Join(errs...)
}

// findShared looks up a source once for all bakes that ask for the same one at
// about the same time. Unless the source is public, so that no bake can change
// what it finds, it is looked up again after every call that may have done so.
func (r *region) findShared(ctx context.Context, source string, public bool, find func(context.Context, *region) (ec2types.Image, error)) (ec2types.Image, error) {
	if !public {
		source = fmt.Sprintf("%d %s", r.lookups.writes.count.Load(), source)
	}
	return r.lookups.sources.get(ctx, source, func(ctx context.Context) (ec2types.Image, error) {
		return find(ctx, r)
	})
}

func sourceImage(image ec2types.Image) SourceImage {
	found := SourceImage{
		ID: aws.ToString(image.ImageId), Name: aws.ToString(image.Name), Description: aws.ToString(image.Description),
		Owner: aws.ToString(image.OwnerId), OwnerAlias: aws.ToString(image.ImageOwnerAlias), Created: created(image),
		Architecture: string(image.Architecture), RootDevice: aws.ToString(image.RootDeviceName), Login: loginOf(image),
	}
	if at, err := time.Parse(time.RFC3339, aws.ToString(image.DeprecationTime)); err == nil {
		found.Deprecated = at
	}
	found.IMDSv2 = image.ImdsSupport == ec2types.ImdsSupportValuesV20
	found.Platform = aws.ToString(image.PlatformDetails)
	found.Billed = len(image.ProductCodes) > 0 || found.Platform != "" && found.Platform != "Linux/UNIX"
	if len(image.Tags) > 0 {
		found.Tags = tagMap(image.Tags)
	}
	for _, m := range image.BlockDeviceMappings {
		if m.Ebs == nil {
			continue
		}
		v := SourceVolume{
			Device: aws.ToString(m.DeviceName), Snapshot: aws.ToString(m.Ebs.SnapshotId), Encrypted: aws.ToBool(m.Ebs.Encrypted),
			SizeGiB: aws.ToInt32(m.Ebs.VolumeSize), Type: string(m.Ebs.VolumeType),
			KeepOnTermination: !aws.ToBool(m.Ebs.DeleteOnTermination),
		}
		if m.Ebs.VolumeType != ec2types.VolumeTypeGp2 { // its performance depends on its size
			v.IOPS = aws.ToInt32(m.Ebs.Iops)
		}
		found.Volumes = append(found.Volumes, v)
	}
	return found
}

// describe returns the image's id, name, owner, age and deprecation time.
func (i SourceImage) describe(now time.Time) string {
	const day = 24 * time.Hour
	text := fmt.Sprintf("%s %q of %s, created %s", i.ID, i.Name, i.Owner, i.Created.Format(time.DateOnly))
	if days := now.Sub(i.Created) / day; days > 0 {
		text += fmt.Sprintf(" (%d days ago)", days)
	}
	switch {
	case i.Deprecated.IsZero():
	case i.Deprecated.After(now):
		text += ", deprecated from " + i.Deprecated.Format(time.DateOnly)
	default:
		text += ", deprecated since " + i.Deprecated.Format(time.DateOnly)
	}
	return text
}

// loginOf returns the login from the AMI's tag, or the one its vendor uses; empty if
// neither is known.
func loginOf(image ec2types.Image) string {
	if login := tagMap(image.Tags)[TagLogin]; login != "" {
		return login
	}
	switch aws.ToString(image.OwnerId) {
	case Canonical:
		return "ubuntu"
	case Debian:
		return "admin"
	case "137112412989", "309956199498", "764336703387": // Amazon Linux, Red Hat, AlmaLinux
		return "ec2-user"
	case "792107900819": // Rocky Linux
		return "rocky"
	}
	if aws.ToString(image.ImageOwnerAlias) == Amazon {
		return "ec2-user"
	}
	return ""
}
