package ec2

import (
	"cmp"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// registerImage makes the AMI of the snapshots.
func (s *session) registerImage(ctx context.Context) error {
	return s.create(ctx, func(ctx context.Context) (string, error) {
		id, err := s.region.register(ctx, s.registration())
		if err == nil {
			s.Image.Snapshots = s.Taken.snapshots()
		}
		return id, err
	})
}

func (r *region) register(ctx context.Context, in *awsec2.RegisterImageInput) (string, error) {
	var id string
	err := r.onceVisible(ctx, func(ctx context.Context) error {
		out, err := r.client.RegisterImage(ctx, in)
		if err == nil {
			id = aws.ToString(out.ImageId)
		}
		return err
	})
	return id, err
}

// registration is the AMI as it was taken, with what the caller changed.
func (s *session) registration() *awsec2.RegisterImageInput {
	c := s.builder.Capture
	in := &awsec2.RegisterImageInput{
		Name: aws.String(s.Image.Name), Description: aws.String(s.description()),
		Architecture:       ec2types.ArchitectureValues(s.architecture()),
		VirtualizationType: aws.String(string(ec2types.VirtualizationTypeHvm)),
		RootDeviceName:     aws.String(s.rootDevice()), EnaSupport: aws.Bool(s.Taken.ENA || c.ENA),
		TagSpecifications: tagged(s.imageTags(), ec2types.ResourceTypeImage),
	}
	if c.Surrogate == nil {
		in.BootMode, in.TpmSupport = ec2types.BootModeValues(s.Taken.Boot), ec2types.TpmSupportValues(s.Taken.TPM)
	}
	if c.BootMode != "" {
		in.BootMode = ec2types.BootModeValues(c.BootMode)
	}
	if c.TPM {
		in.TpmSupport = ec2types.TpmSupportValuesV20
	}
	if c.SRIOV || s.Taken.SRIOV != "" {
		in.SriovNetSupport = aws.String("simple")
	}
	if c.UEFIData != "" {
		in.UefiData = aws.String(c.UEFIData)
	}
	if !c.AllowIMDSv1 {
		in.ImdsSupport = ec2types.ImdsSupportValuesV20
	}
	for _, d := range s.Taken.Disks {
		in.BlockDeviceMappings = append(in.BlockDeviceMappings, ec2types.BlockDeviceMapping{
			DeviceName: aws.String(s.deviceInAMI(d.Device)),
			Ebs: &ec2types.EbsBlockDevice{
				SnapshotId: aws.String(d.Snapshot), VolumeType: ec2types.VolumeType(d.Type), VolumeSize: positive(d.SizeGiB),
				Iops: positive(d.IOPS), Throughput: positive(d.Throughput), DeleteOnTermination: aws.Bool(!d.Stays),
			},
		})
	}
	for _, m := range s.amiDevices() {
		in.BlockDeviceMappings = change(in.BlockDeviceMappings, m)
	}
	return in
}

// change lays m over the volume of the same name, or adds it.
func change(list []ec2types.BlockDeviceMapping, m ec2types.BlockDeviceMapping) []ec2types.BlockDeviceMapping {
	i := slices.IndexFunc(list, func(have ec2types.BlockDeviceMapping) bool { return *have.DeviceName == *m.DeviceName })
	switch {
	case m.NoDevice != nil:
		return list // no snapshot was taken of it
	case i < 0:
		return append(list, m)
	}
	ebs := *list[i].Ebs
	if m.Ebs.VolumeType != "" {
		ebs.VolumeType, ebs.Iops, ebs.Throughput = m.Ebs.VolumeType, nil, nil
	}
	ebs.VolumeSize = cmp.Or(m.Ebs.VolumeSize, ebs.VolumeSize)
	ebs.Iops, ebs.Throughput = cmp.Or(m.Ebs.Iops, ebs.Iops), cmp.Or(m.Ebs.Throughput, ebs.Throughput)
	ebs.VolumeInitializationRate, ebs.DeleteOnTermination = m.Ebs.VolumeInitializationRate, m.Ebs.DeleteOnTermination
	list[i].Ebs = &ebs
	return list
}
