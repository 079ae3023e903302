package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// fill makes, in each region, six images of two names with stamps a month
// apart, and an instance that still runs on the oldest "web".
func fill(ctx context.Context, where *demo.Demo, regions []string) error {
	const month, each = 30 * 24 * time.Hour, 6
	for _, region := range regions {
		client := where.Cloud.Client(region)
		snapshots, err := snapshots(ctx, client, region, 2*each)
		if err != nil {
			return err
		}
		var oldest string
		for i, snapshot := range snapshots {
			name, age := "db", i+1
			if i >= each {
				name, age = "web", i-each+1
			}
			image, err := client.RegisterImage(ctx, &awsec2.RegisterImageInput{
				Name:           aws.String(nodes.TimestampedName(name, where.Clock.Now().Add(-month*time.Duration(age)))),
				RootDeviceName: aws.String("/dev/sda1"), VirtualizationType: aws.String("hvm"),
				Architecture: ec2types.ArchitectureValuesX8664, EnaSupport: aws.Bool(true),
				BlockDeviceMappings: []ec2types.BlockDeviceMapping{{
					DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: aws.String(snapshot)},
				}},
			})
			if err != nil {
				return err
			}
			oldest = aws.ToString(image.ImageId)
		}
		_, err = client.RunInstances(ctx, &awsec2.RunInstancesInput{
			ImageId: aws.String(oldest), InstanceType: ec2types.InstanceTypeT3Small,
			MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshots makes some that images can be registered from.
func snapshots(ctx context.Context, client *awsec2.Client, region string, n int) ([]string, error) {
	volume, err := client.CreateVolume(ctx, &awsec2.CreateVolumeInput{
		AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(8),
	})
	if err != nil {
		return nil, err
	}
	var ids []string
	for range n {
		made, err := client.CreateSnapshot(ctx, &awsec2.CreateSnapshotInput{VolumeId: volume.VolumeId})
		if err != nil {
			return nil, err
		}
		ids = append(ids, aws.ToString(made.SnapshotId))
	}
	const limit = 10 * time.Minute
	waiter := awsec2.NewSnapshotCompletedWaiter(client, func(o *awsec2.SnapshotCompletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, time.Second
	})
	return ids, waiter.Wait(ctx, &awsec2.DescribeSnapshotsInput{SnapshotIds: ids}, limit)
}
