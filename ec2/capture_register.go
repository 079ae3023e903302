package ec2

import (
	"cmp"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// registerImage registers the AMI from the snapshots.
func (s *session) registerImage(ctx context.Context) error {
	return s.create(ctx, func(ctx context.Context) (string, error) {
		id, err := s.region.register(ctx, s.registration())
		if err == nil {
			s.Image.Snapshots = s.Machine.snapshots()
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

// registration returns the request that registers the AMI: the captured machine
// with the caller's changes.
func (s *session) registration() *awsec2.RegisterImageInput {
	c := s.builder.Capture
	in := &awsec2.RegisterImageInput{
		Name: aws.String(s.Image.Name), Description: aws.String(s.description()),
		Architecture:       ec2types.ArchitectureValues(s.architecture()),
		VirtualizationType: aws.String(string(ec2types.VirtualizationTypeHvm)),
		RootDeviceName:     aws.String(s.rootDevice()), EnaSupport: aws.Bool(s.Machine.ENA || c.ENA),
		TagSpecifications: tagged(s.imageTags(), ec2types.ResourceTypeImage),
	}
	if c.Surrogate == nil {
		in.BootMode, in.TpmSupport = ec2types.BootModeValues(s.Machine.Boot), ec2types.TpmSupportValues(s.Machine.TPM)
	}
	if c.BootMode != "" {
		in.BootMode = ec2types.BootModeValues(c.BootMode)
	}
	if c.TPM {
		in.TpmSupport = ec2types.TpmSupportValuesV20
	}
	if c.SRIOV || s.Machine.SRIOV != "" {
		in.SriovNetSupport = aws.String("simple")
	}
	if c.UEFIData != "" {
		in.UefiData = aws.String(c.UEFIData)
	}
	if !c.AllowIMDSv1 {
		in.ImdsSupport = ec2types.ImdsSupportValuesV20
	}
	for _, d := range s.Machine.Disks {
		in.BlockDeviceMappings = append(in.BlockDeviceMappings, ec2types.BlockDeviceMapping{
			DeviceName: aws.String(s.deviceInAMI(d.Device)),
			Ebs: &ec2types.EbsBlockDevice{
				SnapshotId: aws.String(d.Snapshot), VolumeType: ec2types.VolumeType(d.Type), VolumeSize: positive(d.SizeGiB),
				Iops: positive(d.IOPS), Throughput: positive(d.Throughput), DeleteOnTermination: aws.Bool(!d.Stays),
			},
		})
	}
	for _, m := range s.amiDevices() {
		in.BlockDeviceMappings = mergeDevice(in.BlockDeviceMappings, m)
	}
	return in
}

// mergeDevice applies m to the volume of the same name, or adds it.
func mergeDevice(list []ec2types.BlockDeviceMapping, m ec2types.BlockDeviceMapping) []ec2types.BlockDeviceMapping {
	i := slices.IndexFunc(list, func(have ec2types.BlockDeviceMapping) bool { return *have.DeviceName == *m.DeviceName })
	switch {
	case m.NoDevice != nil:
		return list // it has no snapshot
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
