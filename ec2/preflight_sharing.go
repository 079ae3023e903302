package ec2

import (
	"context"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// lookAtSharing finds out whether the AMI can become as public in a place as it
// is to be. New accounts block public AMIs; see "Block public access to your
// AMIs" in the user guide of EC2, and the same for snapshots in that of EBS.
func (s *session) checkSharing(ctx context.Context, r *region, place *CopyError) error {
	const (
		field     = "Builder.Distribute."
		encrypted = "the account encrypts all new volumes here, and EC2 makes nothing public that is encrypted"
	)
	d := s.builder.Distribute
	looks := []struct {
		wanted bool
		what   string // shared by all bakes
		ask    func(context.Context) (bool, error)
		field  string
		reason string
	}{
		{
			d.LaunchPermissions.Public, "public images", r.blocksImages, "LaunchPermissions.Public",
			"the account blocks public access to AMIs here; DisableImageBlockPublicAccess ends that",
		},
		{
			d.SnapshotPermissions.Public, "public snapshots", r.blocksSnapshots, "SnapshotPermissions.Public",
			"the account blocks public access to snapshots here; DisableSnapshotBlockPublicAccess ends that",
		},
		{d.LaunchPermissions.Public, "encryption", r.encryptsAll, "LaunchPermissions.Public", encrypted},
		{d.SnapshotPermissions.Public, "encryption", r.encryptsAll, "SnapshotPermissions.Public", encrypted},
	}
	for _, look := range looks {
		if !look.wanted {
			continue
		}
		blocked, err := r.lookups.answers.get(ctx, look.what, look.ask)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil: // making it public needs no right to look
			s.run.Say("%s%s in %s could not be looked at: %v", field, look.field, place.Region, err)
		case blocked:
			return place.with(bake.Invalid(field+look.field, "%s", look.reason))
		}
	}
	return nil
}

func (r *region) blocksImages(ctx context.Context) (bool, error) {
	out, err := r.client.GetImageBlockPublicAccessState(ctx, &awsec2.GetImageBlockPublicAccessStateInput{})
	if err != nil || out.ImageBlockPublicAccessState == nil {
		return false, err
	}
	return *out.ImageBlockPublicAccessState != string(ec2types.ImageBlockPublicAccessDisabledStateUnblocked), nil
}

func (r *region) blocksSnapshots(ctx context.Context) (bool, error) {
	out, err := r.client.GetSnapshotBlockPublicAccessState(ctx, &awsec2.GetSnapshotBlockPublicAccessStateInput{})
	if err != nil {
		return false, err
	}
	return out.State != "" && out.State != ec2types.SnapshotBlockPublicAccessStateUnblocked, nil
}

func (r *region) encryptsAll(ctx context.Context) (bool, error) {
	out, err := r.client.GetEbsEncryptionByDefault(ctx, &awsec2.GetEbsEncryptionByDefaultInput{})
	if err != nil {
		return false, err
	}
	return out.EbsEncryptionByDefault != nil && *out.EbsEncryptionByDefault, nil
}
