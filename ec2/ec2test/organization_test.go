package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestShareImageWithOrganization(t *testing.T) {
	const (
		org  = "arn:aws:organizations::111122223333:organization/o-abcdefghij"
		unit = "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-abcd-12345678"
	)
	for name, test := range map[string]struct {
		permission ec2types.LaunchPermission
		member     []string // what the account is a member of
		want       int
	}{
		"organization":                  {ec2types.LaunchPermission{OrganizationArn: aws.String(org)}, []string{org, unit}, 1},
		"organizational unit":           {ec2types.LaunchPermission{OrganizationalUnitArn: aws.String(unit)}, []string{org, unit}, 1},
		"other unit of organization":    {ec2types.LaunchPermission{OrganizationalUnitArn: aws.String(unit)}, []string{org}, 0},
		"account outside organizations": {ec2types.LaunchPermission{OrganizationArn: aws.String(org)}, nil, 0},
		"account":                       {ec2types.LaunchPermission{UserId: aws.String(otherAccount)}, nil, 1},
		"public":                        {ec2types.LaunchPermission{Group: "all"}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			srv, c := start(t, nil)
			other := client(srv.ConfigFor(otherAccount, region))
			must(c.DisableImageBlockPublicAccess(t.Context(), nil))(t)
			srv.JoinOrganization(otherAccount, test.member...)
			id := bakeImage(t, c, "shared")
			must(c.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{
				ImageId: aws.String(id), LaunchPermission: &ec2types.LaunchPermissionModifications{Add: []ec2types.LaunchPermission{test.permission}},
			}))(t)
			for _, by := range []string{"self", otherAccount} {
				seen := must(other.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ExecutableUsers: []string{by}}))(t).Images
				if len(seen) != test.want {
					t.Errorf("DescribeImages executable by %s returned %d images, want %d", by, len(seen), test.want)
				}
			}
			_, err := other.RunInstances(t.Context(), &awsec2.RunInstancesInput{
				ImageId: aws.String(id), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			})
			if may := test.want == 1 || test.permission.Group == "all"; may != (err == nil) || !may && code(err) != "InvalidAMIID.NotFound" {
				t.Errorf("RunInstances by a member = %v, want success %t", err, may)
			}
			// The owner sees images shared with the account, not those shared with its organization.
			mine := must(c.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ExecutableUsers: []string{otherAccount}}))(t).Images
			if (len(mine) == 1) != (test.permission.UserId != nil) {
				t.Errorf("DescribeImages by the owner, executable by the member, returned %d images, want one only if shared by account", len(mine))
			}
		})
	}
}

func TestUnshareImage(t *testing.T) {
	srv, c := start(t, nil)
	other := client(srv.ConfigFor(otherAccount, region))
	img := image(t, c, bakeImage(t, c, "shared"))
	visible := func() (images, snapshots int) {
		i := must(other.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{account}}))(t)
		s := must(other.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{OwnerIds: []string{account}}))(t)
		return len(i.Images), len(s.Snapshots)
	}
	cancel := &awsec2.CancelImageLaunchPermissionInput{ImageId: img.ImageId}
	shareWithSnapshot(t, c, img, otherAccount)
	if _, err := c.CancelImageLaunchPermission(t.Context(), cancel); code(err) != "InvalidParameterValue" {
		t.Errorf("CancelImageLaunchPermission by the owner = %v, want InvalidParameterValue", err)
	}
	must(other.CancelImageLaunchPermission(t.Context(), cancel))(t)
	if i, s := visible(); i != 0 || s != 1 {
		t.Errorf("%d images and %d snapshots visible after CancelImageLaunchPermission, want 0 and 1", i, s)
	}
	shareWithSnapshot(t, c, img, otherAccount)
	reset := &awsec2.ResetImageAttributeInput{ImageId: img.ImageId, Attribute: "launchPermission"}
	if _, err := other.ResetImageAttribute(t.Context(), reset); code(err) != "AuthFailure" {
		t.Errorf("ResetImageAttribute by another account = %v, want AuthFailure", err)
	}
	must(c.ResetImageAttribute(t.Context(), reset))(t)
	must(c.ResetSnapshotAttribute(t.Context(), &awsec2.ResetSnapshotAttributeInput{SnapshotId: snapshotOf(img), Attribute: "createVolumePermission"}))(t)
	if i, s := visible(); i != 0 || s != 0 {
		t.Errorf("%d images and %d snapshots visible after a reset, want none", i, s)
	}
}
