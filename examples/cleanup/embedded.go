package main

import (
	"context"
	"fmt"
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
	const month = 30 * 24 * time.Hour
	for _, region := range regions {
		client := where.Cloud.Client(region)
		volume, err := snapshot(ctx, client, region)
		if err != nil {
			return err
		}
		for _, name := range []string{"web", "db"} {
			for age := range 6 {
				stamp := where.Clock.Now().Add(-month * time.Duration(age+1))
				image, err := client.RegisterImage(ctx, &awsec2.RegisterImageInput{
					Name: aws.String(nodes.Stamp(name, stamp)), RootDeviceName: aws.String("/dev/sda1"),
					Architecture: ec2types.ArchitectureValuesX8664, VirtualizationType: aws.String("hvm"),
					BlockDeviceMappings: []ec2types.BlockDeviceMapping{{
						DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: aws.String(volume)},
					}},
				})
				if err != nil {
					return err
				}
				if name != "web" || age != 5 {
					continue
				}
				_, err = client.RunInstances(ctx, &awsec2.RunInstancesInput{
					ImageId: image.ImageId, InstanceType: ec2types.InstanceTypeT3Small,
					MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// snapshot makes one that images can be registered from.
func snapshot(ctx context.Context, client *awsec2.Client, region string) (string, error) {
	volume, err := client.CreateVolume(ctx, &awsec2.CreateVolumeInput{
		AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(8),
	})
	if err != nil {
		return "", err
	}
	made, err := client.CreateSnapshot(ctx, &awsec2.CreateSnapshotInput{VolumeId: volume.VolumeId})
	if err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	const limit = 10 * time.Minute
	waiter := awsec2.NewSnapshotCompletedWaiter(client, func(o *awsec2.SnapshotCompletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, time.Second
	})
	err = waiter.Wait(ctx, &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{aws.ToString(made.SnapshotId)}}, limit)
	return aws.ToString(made.SnapshotId), err
}
