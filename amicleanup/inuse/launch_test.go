package inuse_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// A template without a group may be used by a person, a function or a pipeline.
func TestTrapTemplateWithoutGroup(t *testing.T) {
	w := newAccount(t, 4, nil, inuse.LaunchTemplates())
	w.template("lonely", w.ids[1])
	w.check(1)
}

// After a rollback the default of a template is older than its newest version.
func TestTrapDefaultVersionAfterRollback(t *testing.T) {
	w := newAccount(t, 5, nil, inuse.LaunchTemplates())
	w.template("web", w.ids[0], w.ids[1], w.ids[2], w.ids[3])
	w.makeDefault("web", "2")
	w.check(1, 3)
}

// Tools that never remove versions of a template keep every image forever.
func TestTrapOldTemplateVersions(t *testing.T) {
	w := newAccount(t, 4, nil, inuse.LaunchTemplates())
	w.template("web", w.ids...)
	w.makeDefault("web", "4")
	w.check()
	w.sources = []inuse.Source{inuse.AllLaunchTemplateVersions()}
	w.check(0, 1, 2)
}

// A group may be pinned to a version that is neither the default nor the
// newest, and so may its overrides.
func TestTrapVersionNamedByGroup(t *testing.T) {
	w := newAccount(t, 9, nil, inuse.LaunchTemplates(), inuse.AutoScalingGroups())
	last := w.ids[8]
	web := w.template("web", w.ids[0], w.ids[1], last)
	w.makeDefault("web", "3")
	w.template("arm", w.ids[2], last)
	w.makeDefault("arm", "2")
	w.group("pinned", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("web", "2")})
	w.group("mixed", autoscaling.CreateAutoScalingGroupInput{MixedInstancesPolicy: &scalingtypes.MixedInstancesPolicy{LaunchTemplate: &scalingtypes.LaunchTemplate{
		LaunchTemplateSpecification: named("web", "$Latest"),
		Overrides: []scalingtypes.LaunchTemplateOverrides{
			{InstanceType: aws.String("m7g.large"), LaunchTemplateSpecification: named("arm", "1")},
			{InstanceType: aws.String("m7i.large"), ImageId: aws.String(w.ids[3])},
		},
	}}})
	w.launchConfiguration("attached", w.ids[4])
	w.launchConfiguration("loose", w.ids[5])
	w.group("old", autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: aws.String("attached")})
	refs := w.check(1, 2, 3, 4)
	want := fmt.Sprintf("auto scaling group pinned through launch template %s version 2", web)
	if got := evidence(refs, w.ids[1]); !slices.Equal(got, []string{want}) {
		t.Errorf("evidence %q, want %q", got, want)
	}
	w.sources = append(w.sources, inuse.LaunchConfigurations())
	w.check(1, 2, 3, 4, 5)
}

// A running refresh may bring a template that is not yet on its group.
func TestTrapRefreshTarget(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	w := newAccount(t, 4, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Refresh: time.Hour}}, inuse.AutoScalingGroups())
	w.template("next", w.ids[1], w.ids[3])
	w.template("now", w.ids[2])
	w.group("web", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("now", "$Default")})
	out, err := w.scaling.StartInstanceRefresh(t.Context(), &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String("web"), DesiredConfiguration: &scalingtypes.DesiredConfiguration{LaunchTemplate: named("next", "1")},
	})
	do(w, out, err)
	w.check(1, 2)
	clock.Advance(time.Hour)
	w.check(1)

	// A canceled refresh launches nothing.
	w.template("never", w.ids[0], w.ids[3])
	out, err = w.scaling.StartInstanceRefresh(t.Context(), &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String("web"), DesiredConfiguration: &scalingtypes.DesiredConfiguration{LaunchTemplate: named("never", "1")},
	})
	do(w, out, err)
	w.check(0, 1)
	canceled, err := w.scaling.CancelInstanceRefresh(t.Context(), &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: aws.String("web")})
	do(w, canceled, err)
	w.check(1)
}

// Spot requests and fleets launch long after they were made.
func TestTrapSpotAndFleets(t *testing.T) {
	w := newAccount(t, 8, nil, inuse.SpotRequests(), inuse.SpotFleets(), inuse.Fleets())
	w.template("fleet", w.ids[2], w.ids[3], w.ids[7])
	w.makeDefault("fleet", "3")
	ctx := t.Context()
	request := func(image string) string {
		out, err := w.ec2.RequestSpotInstances(ctx, &awsec2.RequestSpotInstancesInput{
			Type: ec2types.SpotInstanceTypePersistent, LaunchSpecification: &ec2types.RequestSpotLaunchSpecification{ImageId: &image, InstanceType: "t3.micro"},
		})
		return *do(w, out, err).SpotInstanceRequests[0].SpotInstanceRequestId
	}
	request(w.ids[0])
	gone := request(w.ids[4])
	canceled, err := w.ec2.CancelSpotInstanceRequests(ctx, &awsec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{gone}})
	do(w, canceled, err)
	spotFleet := func(config ec2types.SpotFleetRequestConfigData) {
		config.IamFleetRole, config.TargetCapacity = aws.String("arn:aws:iam::123456789012:role/fleet"), aws.Int32(1)
		out, err := w.ec2.RequestSpotFleet(ctx, &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &config})
		do(w, out, err)
	}
	spotFleet(ec2types.SpotFleetRequestConfigData{LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: &w.ids[1]}}})
	spotFleet(ec2types.SpotFleetRequestConfigData{LaunchTemplateConfigs: []ec2types.LaunchTemplateConfig{{
		LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecification{LaunchTemplateName: aws.String("fleet"), Version: aws.String("1")},
	}}})
	fleet, err := w.ec2.CreateFleet(ctx, &awsec2.CreateFleetInput{
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)},
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("fleet"), Version: aws.String("2")},
		}},
	})
	do(w, fleet, err)
	w.check(0, 1, 2, 3)
	ended, err := w.ec2.DeleteFleets(ctx, &awsec2.DeleteFleetsInput{FleetIds: []string{*fleet.FleetId}, TerminateInstances: aws.Bool(true)})
	do(w, ended, err)
	w.check(0, 1, 2)
}
