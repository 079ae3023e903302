package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// fill makes, in each region, six images of two names, made a month apart, an
// instance that still runs on the oldest "web", and the machine of a dead build.
func fill(ctx context.Context, where *demo.Demo, regions []string) error {
	const month, each = 30 * amicleanup.Day, 6
	var oldest map[string]string // by region
	for _, name := range []string{"db", "web"} {
		for i := range each {
			made := where.Clock.Now().Add(-month * time.Duration(i+1))
			oldest = where.Server.Publish(ec2test.Image{Name: nodes.TimestampedName(name, made), Created: made, Private: true})
		}
	}
	died := where.Clock.Now().Add(-amicleanup.Day)
	dead := []ec2types.Tag{
		{Key: aws.String(ec2.TagBuild), Value: aws.String(died.UTC().Format("20060102t150405") + "-abandone")},
		{Key: aws.String(ec2.TagImage), Value: aws.String("web")},
		{Key: aws.String(ec2.TagExpires), Value: aws.String(died.UTC().Format(time.RFC3339))},
	}
	running := []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}}
	for _, region := range regions {
		for _, tags := range [][]ec2types.Tag{running, dead} {
			_, err := where.Cloud.Client(region).RunInstances(ctx, &awsec2.RunInstancesInput{
				ImageId: aws.String(oldest[region]), InstanceType: ec2types.InstanceTypeT3Small,
				MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
				TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: tags}},
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
