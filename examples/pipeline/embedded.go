package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// prepare creates what an account on AWS has already: a launch template and groups,
// which run an image without the shop.
func prepare(ctx context.Context, env *demo.Demo) error {
	if env.Server == nil {
		return nil
	}
	return setUp(ctx, env.Server, env.Cloud, env.Clock.Sleep)
}

func setUp(ctx context.Context, server *ec2test.Server, cloud *ec2.Cloud, sleep func(context.Context, time.Duration) error) error {
	empty := server.Publish(ec2test.Image{Name: "empty", Private: true})[cloud.Region()]
	_, err := cloud.Client("").CreateLaunchTemplate(ctx, &awsec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("shop"),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &empty, InstanceType: ec2types.InstanceTypeT3Micro},
	})
	if err != nil {
		return err
	}
	scaling := autoscaling.NewFromConfig(cloud.Config(""))
	for name, size := range map[string]int32{"shop-canary": 1, "shop-a": 2, "shop-b": 2} {
		in := &autoscaling.CreateAutoScalingGroupInput{
			AutoScalingGroupName: &name, MinSize: &size, MaxSize: aws.Int32(size + 1), AvailabilityZones: []string{cloud.Region() + "a"},
			LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("shop"), Version: aws.String("1")},
		}
		if name != "shop-canary" {
			in.Tags = []scalingtypes.Tag{{Key: aws.String("service"), Value: aws.String("shop")}}
		}
		if _, err := scaling.CreateAutoScalingGroup(ctx, in); err != nil {
			return err
		}
	}
	return sleep(ctx, time.Minute) // until the instances serve
}
