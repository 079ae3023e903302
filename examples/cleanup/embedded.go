package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// fill makes, in each region, six images of two names, made a month apart, and an
// instance that still runs on the oldest "web".
func fill(ctx context.Context, where *demo.Demo, regions []string) error {
	const month, each = 30 * amicleanup.Day, 6
	var oldest map[string]string // by region
	for _, name := range []string{"db", "web"} {
		for i := range each {
			made := where.Clock.Now().Add(-month * time.Duration(i+1))
			oldest = where.Server.Publish(ec2test.Image{Name: nodes.TimestampedName(name, made), Created: made, Private: true})
		}
	}
	for _, region := range regions {
		_, err := where.Cloud.Client(region).RunInstances(ctx, &awsec2.RunInstancesInput{
			ImageId: aws.String(oldest[region]), InstanceType: ec2types.InstanceTypeT3Small,
			MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
