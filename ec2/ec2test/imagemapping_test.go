package ec2test_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// CreateImage changes only DeleteOnTermination of the instance's volumes. For
// new devices it accepts a size or a snapshot.
func TestCreateImageMappings(t *testing.T) {
	_, c := start(t, nil)
	inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, disk("/dev/sdf", &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(5), Encrypted: aws.Bool(true)})).InstanceId)
	snap := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: inst.BlockDeviceMappings[0].Ebs.VolumeId}))(t).SnapshotId
	const root, encrypted, other, bad, combination = "/dev/sda1", "/dev/sdf", "/dev/sdg", "InvalidBlockDeviceMapping", "InvalidParameterCombination"
	for n, test := range []struct {
		device string
		ebs    ec2types.EbsBlockDevice
		want   string
	}{
		{root, ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20)}, bad},
		{root, ec2types.EbsBlockDevice{VolumeSize: aws.Int32(7)}, bad},
		{root, ec2types.EbsBlockDevice{VolumeType: "gp2"}, bad},
		{root, ec2types.EbsBlockDevice{Iops: aws.Int32(4000)}, bad},
		{root, ec2types.EbsBlockDevice{Throughput: aws.Int32(300)}, bad},
		{root, ec2types.EbsBlockDevice{VolumeInitializationRate: aws.Int32(200)}, bad},
		{root, ec2types.EbsBlockDevice{SnapshotId: snap}, bad},
		{root, ec2types.EbsBlockDevice{KmsKeyId: aws.String("alias/aws/ebs")}, bad},
		{root, ec2types.EbsBlockDevice{Encrypted: aws.Bool(true)}, bad},
		{root, ec2types.EbsBlockDevice{Encrypted: aws.Bool(false)}, ""},
		{root, ec2types.EbsBlockDevice{VolumeSize: aws.Int32(8), VolumeType: "gp3", Iops: aws.Int32(3000), Throughput: aws.Int32(125), DeleteOnTermination: aws.Bool(false)}, ""},
		{encrypted, ec2types.EbsBlockDevice{Encrypted: aws.Bool(true)}, ""},
		{encrypted, ec2types.EbsBlockDevice{Encrypted: aws.Bool(false)}, ""}, // ignored
		{other, ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), VolumeType: "io1", Iops: aws.Int32(400), Encrypted: aws.Bool(true)}, ""},
		{other, ec2types.EbsBlockDevice{SnapshotId: snap}, ""},
		{other, ec2types.EbsBlockDevice{VolumeType: "gp3"}, bad},
		{other, ec2types.EbsBlockDevice{SnapshotId: snap, Encrypted: aws.Bool(false)}, bad},
		{other, ec2types.EbsBlockDevice{SnapshotId: snap, VolumeInitializationRate: aws.Int32(200)}, combination},
		{other, ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), Encrypted: aws.Bool(true), KmsKeyId: aws.String("alias/aws/ebs")}, combination},
		{other, ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), VolumeType: "gp2", Throughput: aws.Int32(300)}, combination},
	} {
		in := &awsec2.CreateImageInput{
			InstanceId: inst.InstanceId, Name: aws.String(fmt.Sprint("image ", n)), NoReboot: aws.Bool(true),
			BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String(test.device), Ebs: &test.ebs}},
		}
		out, err := c.CreateImage(t.Context(), in)
		if code(err) != test.want {
			t.Errorf("CreateImage %d with a mapping of %s = %v, want %q", n, test.device, err, test.want)
		}
		if err != nil {
			continue
		}
		for _, m := range image(t, c, *out.ImageId).BlockDeviceMappings {
			kept := test.device == root && test.ebs.DeleteOnTermination != nil
			if *m.DeviceName == encrypted && (!*m.Ebs.Encrypted || *m.Ebs.VolumeSize != 5) || *m.DeviceName == root && *m.Ebs.DeleteOnTermination == kept {
				t.Errorf("image %d: unexpected mapping of %s: %+v", n, *m.DeviceName, m.Ebs)
			}
		}
	}
	_, err := c.CreateImage(t.Context(), &awsec2.CreateImageInput{
		InstanceId: inst.InstanceId, Name: aws.String("store"),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String(encrypted), VirtualName: aws.String("ephemeral0")}},
	})
	if code(err) != bad {
		t.Errorf("CreateImage with an instance store instead of a volume = %v, want %s", err, bad)
	}
}

// RegisterImage rejects a smaller size and any encryption for a snapshot. For new
// devices it accepts encryption without a key.
func TestRegisterImageMappings(t *testing.T) {
	_, c := start(t, nil)
	inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId)
	snap := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: inst.BlockDeviceMappings[0].Ebs.VolumeId}))(t).SnapshotId
	for n, test := range []struct {
		ebs  ec2types.EbsBlockDevice
		want string
	}{
		{ec2types.EbsBlockDevice{SnapshotId: snap, VolumeSize: aws.Int32(20), VolumeType: "io2", Iops: aws.Int32(400)}, ""},
		{ec2types.EbsBlockDevice{SnapshotId: snap, VolumeInitializationRate: aws.Int32(200)}, ""},
		{ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), Encrypted: aws.Bool(true)}, ""},
		{ec2types.EbsBlockDevice{SnapshotId: snap, VolumeSize: aws.Int32(7)}, "InvalidBlockDeviceMapping"},
		{ec2types.EbsBlockDevice{SnapshotId: snap, Encrypted: aws.Bool(true)}, "InvalidBlockDeviceMapping"},
		{ec2types.EbsBlockDevice{SnapshotId: snap, Encrypted: aws.Bool(false)}, "InvalidBlockDeviceMapping"},
		{ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), Encrypted: aws.Bool(true), KmsKeyId: aws.String("alias/aws/ebs")}, "InvalidParameterCombination"},
	} {
		_, err := c.RegisterImage(t.Context(), &awsec2.RegisterImageInput{
			Name: aws.String(fmt.Sprint("image ", n)), RootDeviceName: aws.String("/dev/xvda"),
			BlockDeviceMappings: []ec2types.BlockDeviceMapping{
				{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: snap}},
				{DeviceName: aws.String("/dev/sdf"), Ebs: &test.ebs},
			},
		})
		if code(err) != test.want {
			t.Errorf("RegisterImage %d = %v, want %q", n, err, test.want)
		}
	}
}
