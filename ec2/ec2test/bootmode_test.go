package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Only instance types of the Nitro System can boot a UEFI image.
func TestBootModeOfInstanceTypes(t *testing.T) {
	_, c := start(t, nil)
	inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId)
	for _, mode := range []ec2types.BootModeValues{"uefi", "uefi-preferred", "legacy-bios"} {
		snap := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: inst.BlockDeviceMappings[0].Ebs.VolumeId}))(t)
		made := must(c.RegisterImage(t.Context(), &awsec2.RegisterImageInput{
			Name: aws.String(string(mode)), Architecture: "x86_64", RootDeviceName: aws.String("/dev/sda1"), VirtualizationType: aws.String("hvm"),
			EnaSupport: aws.Bool(true), BootMode: mode,
			BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: snap.SnapshotId}}},
		}))(t)
		for _, kind := range []ec2types.InstanceType{"t2.micro", "t3.micro"} {
			_, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: made.ImageId, InstanceType: kind, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
			want := ""
			if mode == "uefi" && kind == "t2.micro" {
				want = "InvalidParameterValue"
			}
			if code(err) != want {
				t.Errorf("RunInstances of a %s image on %s = %v, want %q", mode, kind, err, want)
			}
		}
	}
}
