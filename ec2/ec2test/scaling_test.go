package ec2test_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func scaling(cfg aws.Config) *autoscaling.Client {
	return autoscaling.NewFromConfig(cfg, func(o *autoscaling.Options) { o.Retryer = aws.NopRetryer{} })
}

// launchTemplate creates a launch template for an image and returns its id.
func launchTemplate(t *testing.T, c *awsec2.Client, name, image string) string {
	t.Helper()
	out := must(c.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String(name), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(image)},
	}))(t)
	return *out.LaunchTemplate.LaunchTemplateId
}

func TestAutoScalingGroups(t *testing.T) {
	srv, c := start(t, nil)
	s := scaling(srv.Config(region))
	image := *ubuntu(t, c).ImageId
	base, arm := launchTemplate(t, c, "base", image), launchTemplate(t, c, "arm", image)
	in := &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String("web"), MinSize: aws.Int32(1), MaxSize: aws.Int32(3), AvailabilityZones: []string{region + "a"},
		Tags: []scalingtypes.Tag{{Key: aws.String("env"), Value: aws.String("prod")}},
		MixedInstancesPolicy: &scalingtypes.MixedInstancesPolicy{
			InstancesDistribution: &scalingtypes.InstancesDistribution{OnDemandBaseCapacity: aws.Int32(1), SpotAllocationStrategy: aws.String("price-capacity-optimized")},
			LaunchTemplate: &scalingtypes.LaunchTemplate{
				LaunchTemplateSpecification: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("base"), Version: aws.String("1")},
				Overrides: []scalingtypes.LaunchTemplateOverrides{
					{InstanceType: aws.String("m7g.large"), LaunchTemplateSpecification: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateId: &arm}},
					{InstanceType: aws.String("m7i.large"), ImageId: &image, WeightedCapacity: aws.String("2")},
				},
			},
		},
	}
	must(s.CreateAutoScalingGroup(t.Context(), in))(t)
	if _, err := s.CreateAutoScalingGroup(t.Context(), in); code(err) != "AlreadyExists" {
		t.Errorf("CreateAutoScalingGroup with the same name = %v, want AlreadyExists", err)
	}
	got := must(s.DescribeAutoScalingGroups(t.Context(), nil))(t).AutoScalingGroups
	if len(got) != 1 || *got[0].DesiredCapacity != 1 || *got[0].Tags[0].Value != "prod" || got[0].AvailabilityZones[0] != region+"a" {
		t.Fatalf("DescribeAutoScalingGroups = %+v, want the group", got)
	}
	mixed := got[0].MixedInstancesPolicy.LaunchTemplate
	if *mixed.LaunchTemplateSpecification.LaunchTemplateId != base || *mixed.LaunchTemplateSpecification.Version != "1" {
		t.Errorf("launch template = %+v, want version 1 of %s", mixed.LaunchTemplateSpecification, base)
	}
	if o := mixed.Overrides; *o[0].LaunchTemplateSpecification.LaunchTemplateName != "arm" || *o[0].LaunchTemplateSpecification.Version != "$Default" || *o[1].ImageId != image {
		t.Errorf("overrides = %+v, want template arm and image %s", o, image)
	}
	if others := must(scaling(srv.ConfigFor(otherAccount, region)).DescribeAutoScalingGroups(t.Context(), nil))(t); len(others.AutoScalingGroups) != 0 {
		t.Error("DescribeAutoScalingGroups in another account lists the group")
	}

	for name, change := range map[string]func(*autoscaling.CreateAutoScalingGroupInput){
		"no source":   func(in *autoscaling.CreateAutoScalingGroupInput) { in.MixedInstancesPolicy = nil },
		"two sources": func(in *autoscaling.CreateAutoScalingGroupInput) { in.LaunchConfigurationName = aws.String("x") },
		"no zone":     func(in *autoscaling.CreateAutoScalingGroupInput) { in.AvailabilityZones = nil },
		"unknown template": func(in *autoscaling.CreateAutoScalingGroupInput) {
			in.MixedInstancesPolicy = nil
			in.LaunchTemplate = &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("unknown")}
		},
	} {
		bad := *in
		bad.AutoScalingGroupName = aws.String("bad")
		change(&bad)
		if _, err := s.CreateAutoScalingGroup(t.Context(), &bad); code(err) != "ValidationError" {
			t.Errorf("CreateAutoScalingGroup with %s = %v, want ValidationError", name, err)
		}
	}
	in.AutoScalingGroupName, in.PlacementGroup = aws.String("unsupported"), aws.String("x")
	if _, err := s.CreateAutoScalingGroup(t.Context(), in); code(err) != "UnknownParameter" {
		t.Errorf("CreateAutoScalingGroup with an unsupported parameter = %v, want UnknownParameter", err)
	}

	must(s.CreateLaunchConfiguration(t.Context(), &autoscaling.CreateLaunchConfigurationInput{
		LaunchConfigurationName: aws.String("old"), ImageId: &image, InstanceType: aws.String("t3.micro"),
	}))(t)
	must(s.UpdateAutoScalingGroup(t.Context(), &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), LaunchConfigurationName: aws.String("old")}))(t)
	if g := must(s.DescribeAutoScalingGroups(t.Context(), nil))(t).AutoScalingGroups[0]; g.MixedInstancesPolicy != nil || *g.LaunchConfigurationName != "old" {
		t.Errorf("group after UpdateAutoScalingGroup = %+v, want only launch configuration old", g)
	}
	drop := &autoscaling.DeleteLaunchConfigurationInput{LaunchConfigurationName: aws.String("old")}
	if _, err := s.DeleteLaunchConfiguration(t.Context(), drop); code(err) != "ResourceInUse" {
		t.Errorf("DeleteLaunchConfiguration in use = %v, want ResourceInUse", err)
	}
	must(s.DeleteAutoScalingGroup(t.Context(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: aws.String("web"), ForceDelete: aws.Bool(true)}))(t)
	must(s.DeleteLaunchConfiguration(t.Context(), drop))(t)
	if left := must(s.DescribeLaunchConfigurations(t.Context(), nil))(t); len(left.LaunchConfigurations) != 0 {
		t.Errorf("DescribeLaunchConfigurations = %+v, want none", left)
	}
}

// Auto Scaling returns pages of 50 by default and of 100 at most.
func TestAutoScalingPages(t *testing.T) {
	srv, c := start(t, nil)
	s := scaling(srv.Config(region))
	image := ubuntu(t, c).ImageId
	for n := range 120 {
		must(s.CreateLaunchConfiguration(t.Context(), &autoscaling.CreateLaunchConfigurationInput{
			LaunchConfigurationName: aws.String(fmt.Sprint("lc", n)), ImageId: image, InstanceType: aws.String("t3.micro"),
		}))(t)
	}
	for maxRecords, want := range map[int32][]int{0: {50, 50, 20}, 100: {100, 20}} {
		in := &autoscaling.DescribeLaunchConfigurationsInput{}
		if maxRecords > 0 {
			in.MaxRecords = &maxRecords
		}
		var sizes []int
		for more := true; more; more = in.NextToken != nil {
			out := must(s.DescribeLaunchConfigurations(t.Context(), in))(t)
			sizes = append(sizes, len(out.LaunchConfigurations))
			in.NextToken = out.NextToken
		}
		if fmt.Sprint(sizes) != fmt.Sprint(want) {
			t.Errorf("page sizes with MaxRecords %d = %v, want %v", maxRecords, sizes, want)
		}
	}
}

func TestInstanceRefresh(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Refresh: time.Hour}})
	s := scaling(srv.Config(region))
	image := *ubuntu(t, c).ImageId
	launchTemplate(t, c, "now", image)
	launchTemplate(t, c, "next", image)
	group := aws.String("web")
	must(s.CreateAutoScalingGroup(t.Context(), &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: group, MinSize: aws.Int32(0), MaxSize: aws.Int32(0), AvailabilityZones: []string{region + "a"},
		LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("now")},
	}))(t)
	begin := &autoscaling.StartInstanceRefreshInput{AutoScalingGroupName: group, DesiredConfiguration: &scalingtypes.DesiredConfiguration{
		LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("next"), Version: aws.String("1")},
	}}
	check := func(wantStatus scalingtypes.InstanceRefreshStatus, wantTemplate string) {
		t.Helper()
		r := must(s.DescribeInstanceRefreshes(t.Context(), &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: group}))(t).InstanceRefreshes[0]
		g := must(s.DescribeAutoScalingGroups(t.Context(), nil))(t).AutoScalingGroups[0]
		if r.Status != wantStatus || *g.LaunchTemplate.LaunchTemplateName != wantTemplate || *r.DesiredConfiguration.LaunchTemplate.LaunchTemplateName != "next" {
			t.Errorf("refresh is %s with %s, want %s with %s", r.Status, *g.LaunchTemplate.LaunchTemplateName, wantStatus, wantTemplate)
		}
	}
	must(s.StartInstanceRefresh(t.Context(), begin))(t)
	check("InProgress", "now")
	if _, err := s.StartInstanceRefresh(t.Context(), begin); code(err) != "InstanceRefreshInProgress" {
		t.Errorf("second StartInstanceRefresh = %v, want InstanceRefreshInProgress", err)
	}
	must(s.CancelInstanceRefresh(t.Context(), &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: group}))(t)
	check("Cancelled", "now")
	must(s.StartInstanceRefresh(t.Context(), begin))(t)
	clock.Advance(time.Hour)
	check("Successful", "next")
}
