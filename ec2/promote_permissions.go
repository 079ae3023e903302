package ec2

import (
	"context"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// Permissions are who may use an AMI or a snapshot besides the account that
// owns it. The zero value is nobody.
type Permissions struct {
	// Accounts are ids of twelve digits.
	Accounts []string

	// Organizations and OrganizationalUnits are ARNs:
	// "arn:aws:organizations::123456789012:organization/o-abcdefghij" and
	// "arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-abcd-12345678".
	Organizations       []string
	OrganizationalUnits []string

	// Public is everyone. EC2 refuses it for what is encrypted, and as long as
	// the account blocks public access, as new accounts do for AMIs. Both are
	// looked at before the launch.
	Public bool
}

var (
	accountID = regexp.MustCompile(`^\d{12}$`)
	orgARN    = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::\d{12}:organization/o-[a-z0-9]{10,32}$`)
	unitARN   = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::\d{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}$`)
)

const everyone = "all" // the only group that EC2 knows

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
		{"Accounts", "the id of an account", p.Accounts, accountID},
		{"Organizations", "the ARN of an organization", p.Organizations, orgARN},
		{"OrganizationalUnits", "the ARN of an organizational unit", p.OrganizationalUnits, unitARN},
	} {
		for _, value := range list.values {
			if !list.form.MatchString(value) {
				errs = append(errs, bake.Invalid(field+"."+list.name, "%q is not %s", value, list.what))
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

// permit lets others launch an AMI. Who may already, still may.
func (r *region) permit(ctx context.Context, id string, p Permissions) error {
	if p.isZero() {
		return nil
	}
	return r.changeLaunch(ctx, id, &ec2types.LaunchPermissionModifications{Add: p.forLaunch()})
}

// forbid takes launch permissions away again.
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

// permitVolumes lets others make volumes of the snapshots.
func (r *region) permitVolumes(ctx context.Context, snapshots []string, p Permissions) error {
	if p.isZero() {
		return nil
	}
	return r.changeVolumes(ctx, snapshots, &ec2types.CreateVolumePermissionModifications{Add: p.forVolumes()})
}

// forbidVolumes takes that away again.
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
