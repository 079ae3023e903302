package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// launcher returns a func that launches a t3.micro in a zone and returns its id
// or the error code. With a price it is a spot instance.
func launcher(t *testing.T, c *awsec2.Client) func(zone, price string) (id, code string) {
	t.Helper()
	image := ubuntu(t, c).ImageId
	return func(zone, price string) (string, string) {
		in := &awsec2.RunInstancesInput{
			ImageId: image, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			Placement: &ec2types.Placement{AvailabilityZone: aws.String(zone)},
		}
		if price != "" {
			in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{
				MarketType: "spot", SpotOptions: &ec2types.SpotMarketOptions{MaxPrice: aws.String(price)},
			}
		}
		out, err := c.RunInstances(t.Context(), in)
		if err != nil {
			return "", code(err)
		}
		return *out.Instances[0].InstanceId, ""
	}
}

func TestCapacityLimit(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	srv.SetCapacity("t3.micro", "us-east-1a", 1)
	id, got := launch("us-east-1a", "")
	if got != "" {
		t.Fatalf("launch of the first instance: %s", got)
	}
	if _, got := launch("us-east-1a", ""); got != "InsufficientInstanceCapacity" {
		t.Errorf("launch beyond the capacity: error code %q, want InsufficientInstanceCapacity", got)
	}
	if _, got := launch("us-east-1b", ""); got != "" {
		t.Errorf("launch in another zone: error code %q, want none", got)
	}
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}))(t)
	if _, got := launch("us-east-1a", ""); got != "" {
		t.Errorf("launch after stopping the first instance: error code %q, want none", got)
	}
	if _, err := c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{id}}); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("StartInstances beyond the capacity = %v, want InsufficientInstanceCapacity", err)
	}
	srv.SetCapacity("t3.micro", "us-east-1a", -1)
	if _, got := launch("us-east-1a", ""); got != "" {
		t.Errorf("launch without a capacity limit: error code %q, want none", got)
	}
}

func TestSpotPrices(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	price := func(dollars float64) {
		t.Helper()
		if err := srv.SetSpotPrice("t3.micro", "us-east-1a", dollars); err != nil {
			t.Fatal(err)
		}
	}
	price(0.02)
	if _, got := launch("us-east-1a", "0.01"); got != "SpotMaxPriceTooLow" {
		t.Errorf("launch below the spot price: error code %q, want SpotMaxPriceTooLow", got)
	}
	if _, got := launch("us-east-1a", "cheap"); got != "InvalidParameterValue" {
		t.Errorf("launch with an invalid price: error code %q, want InvalidParameterValue", got)
	}
	low, got := launch("us-east-1a", "0.02")
	if got != "" {
		t.Fatalf("launch at the spot price: error code %q, want none", got)
	}
	high, _ := launch("us-east-1a", "0.04")
	plain, _ := launch("us-east-1a", "")
	price(0.03)
	for id, want := range map[string]string{low: "Server.SpotInstanceTermination", high: "", plain: ""} {
		out := must(c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{id}}))(t)
		reason := ""
		if r := out.Reservations[0].Instances[0].StateReason; r != nil {
			reason = aws.ToString(r.Code)
		}
		if reason != want {
			t.Errorf("state reason of %s = %q, want %q", id, reason, want)
		}
	}
}

func TestQuotas(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	srv.SetQuota(ec2test.OnDemand, 2) // vCPUs, enough for one t3.micro
	srv.SetQuota(ec2test.Spot, 0)
	for i, test := range []struct{ price, want string }{
		{"", ""}, {"", "VcpuLimitExceeded"}, {"1", "MaxSpotInstanceCountExceeded"},
	} {
		if _, got := launch("us-east-1a", test.price); got != test.want {
			t.Errorf("launch %d: error code %q, want %q", i+1, got, test.want)
		}
	}
	srv.SetQuota(ec2test.Spot, -1)
	if _, got := launch("us-east-1a", "1"); got != "" {
		t.Errorf("spot launch without a quota: error code %q, want none", got)
	}
}

func TestInstanceTypeNotOffered(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	srv.Fail(ec2test.Fault{InstanceType: "t3.micro", Zone: "us-east-1b", Code: "Unsupported"})
	srv.Fail(ec2test.Fault{Zone: "us-east-1a", Market: ec2test.Spot, Code: "UnfulfillableCapacity"})
	for _, test := range []struct{ zone, price, want string }{
		{"us-east-1b", "", "Unsupported"}, {"us-east-1a", "1", "UnfulfillableCapacity"}, {"us-east-1a", "", ""},
	} {
		if _, got := launch(test.zone, test.price); got != test.want {
			t.Errorf("launch in %s with price %q: error code %q, want %q", test.zone, test.price, got, test.want)
		}
	}
	out := must(c.DescribeInstanceTypeOfferings(t.Context(), &awsec2.DescribeInstanceTypeOfferingsInput{
		LocationType: "availability-zone",
		Filters:      []ec2types.Filter{{Name: aws.String("instance-type"), Values: []string{"t3.micro"}}},
	}))(t)
	for _, o := range out.InstanceTypeOfferings {
		if *o.Location == "us-east-1b" {
			t.Error("DescribeInstanceTypeOfferings lists t3.micro in us-east-1b, want only zones that support it")
		}
	}
	if len(out.InstanceTypeOfferings) != 5 {
		t.Errorf("DescribeInstanceTypeOfferings lists %d zones, want 5", len(out.InstanceTypeOfferings))
	}
}

// A launch without a zone uses a zone with capacity and launches as many
// instances as fit, at least MinCount.
func TestCapacityOfOtherZones(t *testing.T) {
	srv, c := start(t, nil)
	srv.SetCapacity("t3.micro", region+"a", 0)
	srv.SetCapacity("t3.micro", region+"b", 3)
	launch := func() (*awsec2.RunInstancesOutput, error) {
		return c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(2), MaxCount: aws.Int32(9),
		})
	}
	out := must(launch())(t)
	if len(out.Instances) != 3 || *out.Instances[0].Placement.AvailabilityZone != region+"b" {
		t.Errorf("RunInstances launched %d instances in %s, want 3 in %sb", len(out.Instances), *out.Instances[0].Placement.AvailabilityZone, region)
	}
	srv.SetQuota(ec2test.OnDemand, 3*2+2*2+1) // vCPUs; a t3.micro has two
	srv.SetCapacity("t3.micro", region+"b", 0)
	out = must(launch())(t)
	if len(out.Instances) != 2 || *out.Instances[0].Placement.AvailabilityZone != region+"c" {
		t.Errorf("RunInstances launched %d instances in %s, want 2 in %sc", len(out.Instances), *out.Instances[0].Placement.AvailabilityZone, region)
	}
	if _, err := launch(); code(err) != "VcpuLimitExceeded" {
		t.Errorf("RunInstances beyond the quota = %v, want VcpuLimitExceeded", err)
	}
	srv.SetQuota(ec2test.OnDemand, -1)
	srv.SetCapacity("t3.micro", region+"c", 3)
	if _, err := launch(); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("RunInstances with capacity below MinCount = %v, want InsufficientInstanceCapacity", err)
	}
}

// The capacity must suffice for all instances of a StartInstances call.
func TestCapacityOfStartInstances(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	var ids []string
	for range 2 {
		id, _ := launch(region+"a", "")
		ids = append(ids, id)
	}
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: ids}))(t)
	srv.SetCapacity("t3.micro", region+"a", 1)
	begin := &awsec2.StartInstancesInput{InstanceIds: ids}
	if _, err := c.StartInstances(t.Context(), begin); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("StartInstances of two with capacity for one = %v, want InsufficientInstanceCapacity", err)
	}
	if got := describe(t, c, ids[0]).State.Name; got != "stopped" {
		t.Errorf("state of the first instance = %s, want stopped", got)
	}
	srv.SetCapacity("t3.micro", region+"a", 2)
	must(c.StartInstances(t.Context(), begin))(t)
}
