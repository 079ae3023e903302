package ec2

import (
	"context"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// Permissions list who may use an AMI or a snapshot besides its owner.
type Permissions struct {
	// Accounts lists account ids of twelve digits.
	Accounts []string

	// Organizations and OrganizationalUnits list ARNs:
	// "arn:aws:organizations::123456789012:organization/o-abcdefghij" and
	// "arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-abcd-12345678".
	Organizations       []string
	OrganizationalUnits []string

	// Public permits everyone. EC2 refuses this for encrypted AMIs, and while the
	// account blocks public access, as new accounts do. Both are checked before
	// the launch.
	Public bool
}

var (
	accountID = regexp.MustCompile(`^\d{12}$`)
	orgARN    = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::\d{12}:organization/o-[a-z0-9]{10,32}$`)
	unitARN   = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::\d{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$`)
)

const everyone = "all" // EC2's only group

func (p Permissions) isZero() bool {
	return !p.Public && len(p.Accounts)+len(p.Organizations)+len(p.OrganizationalUnits) == 0
}

func (p Permissions) validate(field string) []error {
	var errs []error
	for _, list := range []struct {
		name, what string
		values     []string
		form       *regexp.Regexp
	}{
		{"Accounts", "account id", p.Accounts, accountID},
		{"Organizations", "organization ARN", p.Organizations, orgARN},
		{"OrganizationalUnits", "organizational unit ARN", p.OrganizationalUnits, unitARN},
	} {
		for _, value := range list.values {
			if !list.form.MatchString(value) {
				errs = append(errs, bake.Invalid(field+"."+list.name, "invalid %s %q", list.what, value))
			}
		}
	}
	return errs
}

func (p Permissions) forLaunch() []ec2types.LaunchPermission {
	var list []ec2types.LaunchPermission
	for _, id := range p.Accounts {
		list = append(list, ec2types.LaunchPermission{UserId: aws.String(id)})
	}
	for _, arn := range p.Organizations {
		list = append(list, ec2types.LaunchPermission{OrganizationArn: aws.String(arn)})
	}
	for _, arn := range p.OrganizationalUnits {
		list = append(list, ec2types.LaunchPermission{OrganizationalUnitArn: aws.String(arn)})
	}
	if p.Public {
		list = append(list, ec2types.LaunchPermission{Group: everyone})
	}
	return list
}

func (p Permissions) forVolumes() []ec2types.CreateVolumePermission {
	var list []ec2types.CreateVolumePermission
	for _, id := range p.Accounts {
		list = append(list, ec2types.CreateVolumePermission{UserId: aws.String(id)})
	}
	if p.Public {
		list = append(list, ec2types.CreateVolumePermission{Group: everyone})
	}
	return list
}

// permit adds launch permissions for an AMI.
func (r *region) permit(ctx context.Context, id string, p Permissions) error {
	if p.isZero() {
		return nil
	}
	return r.changeLaunch(ctx, id, &ec2types.LaunchPermissionModifications{Add: p.forLaunch()})
}

// forbid removes launch permissions for an AMI.
func (r *region) forbid(ctx context.Context, id string, p Permissions) error {
	if p.isZero() {
		return nil
	}
	return r.changeLaunch(ctx, id, &ec2types.LaunchPermissionModifications{Remove: p.forLaunch()})
}

func (r *region) changeLaunch(ctx context.Context, id string, change *ec2types.LaunchPermissionModifications) error {
	return r.onceVisible(ctx, func(ctx context.Context) error {
		_, err := r.client.ModifyImageAttribute(ctx, &awsec2.ModifyImageAttributeInput{
			ImageId: aws.String(id), LaunchPermission: change,
		})
		return err
	})
}

// permitVolumes adds permissions to create volumes from the snapshots.
func (r *region) permitVolumes(ctx context.Context, snapshots []string, p Permissions) error {
	if p.isZero() {
		return nil
	}
	return r.changeVolumes(ctx, snapshots, &ec2types.CreateVolumePermissionModifications{Add: p.forVolumes()})
}

// forbidVolumes removes permissions to create volumes from the snapshots.
func (r *region) forbidVolumes(ctx context.Context, snapshots []string, p Permissions) error {
	if p.isZero() {
		return nil
	}
	return r.changeVolumes(ctx, snapshots, &ec2types.CreateVolumePermissionModifications{Remove: p.forVolumes()})
}

func (r *region) changeVolumes(ctx context.Context, snapshots []string, change *ec2types.CreateVolumePermissionModifications) error {
	for _, id := range snapshots {
		err := r.onceVisible(ctx, func(ctx context.Context) error {
			_, err := r.client.ModifySnapshotAttribute(ctx, &awsec2.ModifySnapshotAttributeInput{
				SnapshotId: aws.String(id), Attribute: ec2types.SnapshotAttributeNameCreateVolumePermission,
				CreateVolumePermission: change,
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
