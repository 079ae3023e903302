package ec2test_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
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

// Fleets of type maintain replace instances, and follow a changed capacity.
func TestMaintainedFleet(t *testing.T) {
	now := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: now})
	launchTemplate(t, c, "web", *ubuntu(t, c).ImageId)
	id := must(c.CreateFleet(t.Context(), &awsec2.CreateFleetInput{
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("web"), Version: aws.String("$Default")},
		}},
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{
			TotalTargetCapacity: aws.Int32(3), OnDemandTargetCapacity: aws.Int32(1), DefaultTargetCapacityType: "spot",
		},
	}))(t).FleetId
	members := func() map[string]bool {
		t.Helper()
		out := map[string]bool{}
		for _, i := range must(c.DescribeFleetInstances(t.Context(), &awsec2.DescribeFleetInstancesInput{FleetId: id}))(t).ActiveInstances {
			out[*i.InstanceId] = i.SpotInstanceRequestId != nil
		}
		return out
	}
	fleet := func() ec2types.FleetData {
		return must(c.DescribeFleets(t.Context(), &awsec2.DescribeFleetsInput{FleetIds: []string{*id}}))(t).Fleets[0]
	}
	first := members()
	if got := fleet(); len(first) != 3 || got.ActivityStatus != "fulfilled" || *got.FulfilledCapacity != 3 || *got.FulfilledOnDemandCapacity != 1 {
		t.Fatalf("fleet = %+v with %v, want three instances, one of them on demand", got, first)
	}
	for gone := range first {
		if err := srv.TerminateInstance(gone); err != nil {
			t.Fatal(err)
		}
	}
	now.Advance(time.Minute)
	for again := range members() {
		if _, same := first[again]; same {
			t.Errorf("instance %s is still a member, want a new one", again)
		}
	}
	must(c.ModifyFleet(t.Context(), &awsec2.ModifyFleetInput{FleetId: id, TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)}}))(t)
	if got := members(); len(got) != 1 {
		t.Errorf("members after ModifyFleet = %v, want one", got)
	}
	must(c.DeleteFleets(t.Context(), &awsec2.DeleteFleetsInput{FleetIds: []string{*id}, TerminateInstances: aws.Bool(false)}))(t)
	if got := fleet().FleetState; got != "deleted_running" {
		t.Errorf("fleet state = %s, want deleted_running", got)
	}
	for last := range members() {
		must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{last}}))(t)
	}
	if got := fleet().FleetState; got != "deleted" || len(members()) != 0 {
		t.Errorf("fleet state = %s with %v, want deleted without instances", got, members())
	}
}

func TestSpotFleetInstances(t *testing.T) {
	srv, c := start(t, nil)
	id := must(c.RequestSpotFleet(t.Context(), &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &ec2types.SpotFleetRequestConfigData{
		IamFleetRole: aws.String("arn:aws:iam::123456789012:role/fleet"), TargetCapacity: aws.Int32(4),
		LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.large", WeightedCapacity: aws.Float64(2)}},
	}}))(t).SpotFleetRequestId
	members := func() int {
		return len(must(c.DescribeSpotFleetInstances(t.Context(), &awsec2.DescribeSpotFleetInstancesInput{SpotFleetRequestId: id}))(t).ActiveInstances)
	}
	if got := members(); got != 2 {
		t.Errorf("spot fleet of capacity 4 has %d instances of weight 2, want 2", got)
	}
	must(c.ModifySpotFleetRequest(t.Context(), &awsec2.ModifySpotFleetRequestInput{SpotFleetRequestId: id, TargetCapacity: aws.Int32(2)}))(t)
	if got := members(); got != 1 {
		t.Errorf("spot fleet of capacity 2 has %d instances, want 1", got)
	}
	must(c.CancelSpotFleetRequests(t.Context(), &awsec2.CancelSpotFleetRequestsInput{SpotFleetRequestIds: []string{*id}, TerminateInstances: aws.Bool(true)}))(t)
	if left := srv.Leftovers(); len(left) != 0 {
		t.Errorf("Leftovers = %q, want none", left)
	}
}

// A spot fleet waits for capacity.
func TestSpotFleetWaits(t *testing.T) {
	now := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: now})
	capacity := func(n int) {
		for zone := 'a'; zone <= 'f'; zone++ {
			srv.SetCapacity("c5.large", region+string(zone), n)
		}
	}
	capacity(0)
	id := must(c.RequestSpotFleet(t.Context(), &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &ec2types.SpotFleetRequestConfigData{
		IamFleetRole: aws.String("arn:aws:iam::123456789012:role/fleet"), TargetCapacity: aws.Int32(1),
		LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: ubuntu(t, c).ImageId, InstanceType: "c5.large"}},
	}}))(t).SpotFleetRequestId
	for _, want := range []int{0, 1} {
		got := must(c.DescribeSpotFleetInstances(t.Context(), &awsec2.DescribeSpotFleetInstancesInput{SpotFleetRequestId: id}))(t).ActiveInstances
		if len(got) != want {
			t.Errorf("spot fleet has %d instances, want %d", len(got), want)
		}
		capacity(1)
		now.Advance(time.Minute)
	}
}

// A spot request waits for capacity at its price.
func TestSpotRequestWaits(t *testing.T) {
	now := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: now})
	if err := srv.SetSpotPrice("t3.micro", region+"a", 0.5); err != nil {
		t.Fatal(err)
	}
	id := must(c.RequestSpotInstances(t.Context(), &awsec2.RequestSpotInstancesInput{
		SpotPrice: aws.String("0.2"), LaunchSpecification: &ec2types.RequestSpotLaunchSpecification{
			ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.micro", Placement: &ec2types.SpotPlacement{AvailabilityZone: aws.String(region + "a")},
		},
	}))(t).SpotInstanceRequests[0].SpotInstanceRequestId
	request := func() ec2types.SpotInstanceRequest {
		return must(c.DescribeSpotInstanceRequests(t.Context(), &awsec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*id}}))(t).SpotInstanceRequests[0]
	}
	if got := request(); got.State != "open" || *got.Status.Code != "price-too-low" {
		t.Errorf("request = %s, %s, want open, price-too-low", got.State, *got.Status.Code)
	}
	if err := srv.SetSpotPrice("t3.micro", region+"a", 0.1); err != nil {
		t.Fatal(err)
	}
	now.Advance(time.Minute)
	got := request()
	if got.State != "active" || got.InstanceId == nil {
		t.Fatalf("request = %+v, want active with an instance", got)
	}
	if inst := describe(t, c, *got.InstanceId); *inst.SpotInstanceRequestId != *id || inst.InstanceLifecycle != "spot" {
		t.Errorf("instance = %+v, want the request's", inst)
	}
	_, err := c.RequestSpotInstances(t.Context(), &awsec2.RequestSpotInstancesInput{
		LaunchSpecification: &ec2types.RequestSpotLaunchSpecification{ImageId: ubuntu(t, c).ImageId, InstanceType: "t9.huge"},
	})
	if code(err) != "InvalidParameterValue" {
		t.Errorf("RequestSpotInstances of an unknown type = %v, want InvalidParameterValue", err)
	}
}
