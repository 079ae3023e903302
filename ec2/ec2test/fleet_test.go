package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// An instant fleet launches from the next pool when one has no capacity, in both
// markets, and reports the pools that failed.
func TestInstantFleet(t *testing.T) {
	srv, c := start(t, nil)
	template := launchTemplate(t, c, "web", *ubuntu(t, c).ImageId)
	srv.Fail(ec2test.Fault{InstanceType: "t3.small", Code: "InsufficientInstanceCapacity"})
	out := must(c.CreateFleet(t.Context(), &awsec2.CreateFleetInput{
		Type: "instant", ClientToken: aws.String("one"),
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateId: aws.String(template), Version: aws.String("$Latest")},
			Overrides: []ec2types.FleetLaunchTemplateOverridesRequest{
				{InstanceType: "t3.small"}, {InstanceType: "t3.large", WeightedCapacity: aws.Float64(2), AvailabilityZone: aws.String(region + "b")},
			},
		}},
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{
			TotalTargetCapacity: aws.Int32(5), OnDemandTargetCapacity: aws.Int32(3), DefaultTargetCapacityType: "spot",
		},
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: "instance", Tags: []ec2types.Tag{{Key: aws.String("from"), Value: aws.String("fleet")}}}},
	}))(t)
	if len(out.Errors) != 2 || *out.Errors[0].ErrorCode != "InsufficientInstanceCapacity" || out.Errors[0].LaunchTemplateAndOverrides.Overrides.InstanceType != "t3.small" {
		t.Errorf("errors = %+v, want one of t3.small for each market", out.Errors)
	}
	if len(out.Instances) != 2 || len(out.Instances[0].InstanceIds) != 2 || out.Instances[1].Lifecycle != "spot" || len(out.Instances[1].InstanceIds) != 1 {
		t.Fatalf("instances = %+v, want two on demand and one of spot", out.Instances)
	}
	id := out.Instances[0].InstanceIds[0]
	got := describe(t, c, id)
	if got.InstanceType != "t3.large" || *got.Placement.AvailabilityZone != region+"b" || tagValue(got.Tags, "from") != "fleet" ||
		tagValue(got.Tags, "aws:ec2:fleet-id") != *out.FleetId || tagValue(got.Tags, "aws:ec2launchtemplate:id") != template {
		t.Errorf("instance = %s in %s with tags %v, want t3.large in zone b with the tags of fleet and template", got.InstanceType, *got.Placement.AvailabilityZone, got.Tags)
	}
	fleets := must(c.DescribeFleets(t.Context(), &awsec2.DescribeFleetsInput{FleetIds: []string{*out.FleetId}}))(t).Fleets
	if len(fleets) != 1 || len(fleets[0].Instances) != 2 {
		t.Errorf("DescribeFleets = %+v, want the fleet with its instances", fleets)
	}
	deleted := must(c.DeleteFleets(t.Context(), &awsec2.DeleteFleetsInput{FleetIds: []string{*out.FleetId}, TerminateInstances: aws.Bool(true)}))(t)
	if got := deleted.SuccessfulFleetDeletions[0].CurrentFleetState; got != "deleted_terminating" {
		t.Errorf("DeleteFleets = %s, want deleted_terminating", got)
	}
	if got := describe(t, c, id).State.Name; got != "terminated" {
		t.Errorf("instance of a deleted fleet is %s, want terminated", got)
	}
}
