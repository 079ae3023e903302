package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestCreateVolumeErrors(t *testing.T) {
	_, c := start(t, nil)
	snap := snapshotOf(ubuntu(t, c))
	for name, test := range map[string]struct {
		in   awsec2.CreateVolumeInput
		want string
	}{
		"unknown zone":        {awsec2.CreateVolumeInput{AvailabilityZone: aws.String("us-east-1x"), Size: aws.Int32(4)}, "InvalidZone.NotFound"},
		"no size":             {awsec2.CreateVolumeInput{}, "MissingParameter"},
		"unknown type":        {awsec2.CreateVolumeInput{Size: aws.Int32(4), VolumeType: "none"}, "UnknownVolumeType"},
		"io2 without IOPS":    {awsec2.CreateVolumeInput{Size: aws.Int32(4), VolumeType: "io2"}, "InvalidParameterCombination"},
		"gp2 with throughput": {awsec2.CreateVolumeInput{Size: aws.Int32(4), VolumeType: "gp2", Throughput: aws.Int32(200)}, "InvalidParameterCombination"},
		"size below snapshot": {awsec2.CreateVolumeInput{SnapshotId: snap, Size: aws.Int32(1)}, "InvalidParameterValue"},
		"key, no encryption":  {awsec2.CreateVolumeInput{Size: aws.Int32(4), KmsKeyId: aws.String("alias/images")}, "InvalidParameterDependency"},
		"gp3":                 {awsec2.CreateVolumeInput{Size: aws.Int32(4), VolumeType: "gp3", Throughput: aws.Int32(200)}, ""},
	} {
		if test.in.AvailabilityZone == nil {
			test.in.AvailabilityZone = aws.String(region + "a")
		}
		if _, err := c.CreateVolume(t.Context(), &test.in); code(err) != test.want {
			t.Errorf("CreateVolume with %s = %v, want %q", name, err, test.want)
		}
	}
}

func TestShareImageErrors(t *testing.T) {
	_, c := start(t, nil)
	id := aws.String(bakeImage(t, c, "shared"))
	for name, entry := range map[string]ec2types.LaunchPermission{
		"invalid account": {UserId: aws.String("12")}, "unknown group": {Group: "none"},
	} {
		_, err := c.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{
			ImageId: id, LaunchPermission: &ec2types.LaunchPermissionModifications{Add: []ec2types.LaunchPermission{entry}},
		})
		if code(err) != "InvalidAMIAttributeItemValue" {
			t.Errorf("sharing with %s = %v, want InvalidAMIAttributeItemValue", name, err)
		}
	}
	if got := image(t, c, *id); *got.Public {
		t.Error("image is public, want private")
	}
}
