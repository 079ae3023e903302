package ec2_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2"
)

// TestMotoRefresh compares what moto implements of a roll-out with ec2test: finding
// groups by name and tag, and what they run. It has no instance refreshes.
func TestMotoRefresh(t *testing.T) {
	if testing.Short() {
		t.Skip("starts moto")
	}
	plan := func(t *testing.T, cloud *ec2.Cloud, image string) string {
		t.Helper()
		client, scaling := cloud.Client(""), autoscaling.NewFromConfig(cloud.Config(""))
		_, err := client.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String("web"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image, InstanceType: ec2types.InstanceTypeT3Micro},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"canary", "web-a"} {
			_, err := scaling.CreateAutoScalingGroup(t.Context(), &autoscaling.CreateAutoScalingGroupInput{
				AutoScalingGroupName: &name, MinSize: aws.Int32(2), MaxSize: aws.Int32(2), AvailabilityZones: []string{cloud.Region() + "a"},
				LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web"), Version: aws.String("1")},
				Tags:           []scalingtypes.Tag{{Key: aws.String("service"), Value: &name, PropagateAtLaunch: aws.Bool(false)}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		p := ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"canary"}}, {Tags: map[string]string{"service": "web-a"}}}}
		at := ec2.Destination{Region: cloud.Region(), Cloud: cloud}
		if err := p.Preflight(t.Context(), at); err != nil {
			t.Errorf("Preflight() = %v", err)
		}
		lines, err := p.PlanDetails(t.Context(), at)
		if err != nil {
			t.Errorf("PlanDetails() = %v", err)
		}
		text := strings.Join(lines, "\n")
		text, _, _ = strings.Cut(strings.ReplaceAll(strings.ReplaceAll(text, image, "IMAGE"), cloud.Region(), "REGION"), "lt-")
		return text
	}
	server := newServer(t, nil)
	own := newCloud(server)
	images, err := own.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{ec2.Canonical}})
	if err != nil {
		t.Fatal(err)
	}
	want := plan(t, own, *images.Images[0].ImageId)
	moto := motoCloud(t)
	theirs, err := moto.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"amazon"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := plan(t, moto, *theirs.Images[0].ImageId); got != want || !strings.HasPrefix(got, "wave 1: refreshes auto scaling group canary in REGION with 2 instances, from IMAGE") {
		t.Errorf("plan on moto = %q, on ec2test %q", got, want)
	}
}
