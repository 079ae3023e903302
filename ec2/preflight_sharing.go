package ec2

import (
	"context"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// checkSharing checks that the account lets the AMI and its snapshots be public, if
// they are to be. New accounts block public AMIs; see "Block public access to your
// AMIs" in the EC2 User Guide, and the same for snapshots in the EBS User Guide.
func (s *session) checkSharing(ctx context.Context, r *region, place *CopyError) error {
	const field = "Builder.Distribute."
	d := s.builder.Distribute
	checks := []struct {
		wanted bool
		what   string // the key of the lookup
		ask    func(context.Context) (bool, error)
		field  string
		reason string
	}{
		{
			d.LaunchPermissions.Public, "public images", r.blocksImages, "LaunchPermissions.Public",
			"the account blocks public access to AMIs in this region; DisableImageBlockPublicAccess allows it",
		},
		{
			d.SnapshotPermissions.Public, "public snapshots", r.blocksSnapshots, "SnapshotPermissions.Public",
			"the account blocks public access to snapshots in this region; DisableSnapshotBlockPublicAccess allows it",
		},
	}
	for _, check := range checks {
		if !check.wanted {
			continue
		}
		blocked, err := r.lookups.answers.get(ctx, check.what, check.ask)
		if err != nil || ctx.Err() != nil {
			if err := s.unchecked(ctx, field+check.field+" in "+place.Region, err); err != nil {
				return err
			}
			continue
		}
		if blocked {
			return place.with(bake.Invalid(field+check.field, "%s", check.reason))
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
