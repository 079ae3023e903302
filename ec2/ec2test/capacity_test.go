package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// launcher returns a func that launches one t3.micro in a zone, on spot when
// it is given a price, and returns its id and the code of the error.
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

func TestCapacityOfAZone(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	srv.SetCapacity("t3.micro", "us-east-1a", 1)
	id, got := launch("us-east-1a", "")
	if got != "" {
		t.Fatalf("the first instance: %s", got)
	}
	if _, got := launch("us-east-1a", ""); got != "InsufficientInstanceCapacity" {
		t.Errorf("the second instance: %q", got)
	}
	if _, got := launch("us-east-1b", ""); got != "" {
		t.Errorf("in another zone: %q", got)
	}
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}))(t)
	if _, got := launch("us-east-1a", ""); got != "" {
		t.Errorf("when the first one had stopped: %q", got)
	}
	if _, err := c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: []string{id}}); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("starting the first one again: %v", err)
	}
	srv.SetCapacity("t3.micro", "us-east-1a", -1)
	if _, got := launch("us-east-1a", ""); got != "" {
		t.Errorf("without a limit: %q", got)
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
		t.Errorf("under the price: %q", got)
	}
	if _, got := launch("us-east-1a", "cheap"); got != "InvalidParameterValue" {
		t.Errorf("no price: %q", got)
	}
	low, got := launch("us-east-1a", "0.02")
	if got != "" {
		t.Fatalf("at the price: %q", got)
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
			t.Errorf("%s ended by %q, want %q", id, reason, want)
		}
	}
}

func TestQuotas(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	srv.SetQuota(ec2test.OnDemand, 2) // one t3.micro
	srv.SetQuota(ec2test.Spot, 0)
	for i, test := range []struct{ price, want string }{
		{"", ""}, {"", "VcpuLimitExceeded"}, {"1", "MaxSpotInstanceCountExceeded"},
	} {
		if _, got := launch("us-east-1a", test.price); got != test.want {
			t.Errorf("launch %d: %q, want %q", i+1, got, test.want)
		}
	}
	srv.SetQuota(ec2test.Spot, -1)
	if _, got := launch("us-east-1a", "1"); got != "" {
		t.Errorf("on spot without a quota: %q", got)
	}
}

func TestWhatIsNotOffered(t *testing.T) {
	srv, c := start(t, nil)
	launch := launcher(t, c)
	srv.Fail(ec2test.Fault{InstanceType: "t3.micro", Zone: "us-east-1b", Code: "Unsupported"})
	srv.Fail(ec2test.Fault{Zone: "us-east-1a", Market: ec2test.Spot, Code: "UnfulfillableCapacity"})
	for _, test := range []struct{ zone, price, want string }{
		{"us-east-1b", "", "Unsupported"}, {"us-east-1a", "1", "UnfulfillableCapacity"}, {"us-east-1a", "", ""},
	} {
		if _, got := launch(test.zone, test.price); got != test.want {
			t.Errorf("in %s for %q: %q, want %q", test.zone, test.price, got, test.want)
		}
	}
	out := must(c.DescribeInstanceTypeOfferings(t.Context(), &awsec2.DescribeInstanceTypeOfferingsInput{
		LocationType: "availability-zone",
		Filters:      []ec2types.Filter{{Name: aws.String("instance-type"), Values: []string{"t3.micro"}}},
	}))(t)
	for _, o := range out.InstanceTypeOfferings {
		if *o.Location == "us-east-1b" {
			t.Error("t3.micro is offered in us-east-1b")
		}
	}
	if len(out.InstanceTypeOfferings) != 2 {
		t.Errorf("offered in %d zones, want 2", len(out.InstanceTypeOfferings))
	}
}

// A launch without a zone goes where there is room, and one that takes fewer
// gets as many as there is room for.
func TestCapacityElsewhere(t *testing.T) {
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
		t.Errorf("%d instances in %s, want 3 in b", len(out.Instances), *out.Instances[0].Placement.AvailabilityZone)
	}
	srv.SetQuota(ec2test.OnDemand, 3*2+2*2+1) // vCPUs, of which a t3.micro has two
	srv.SetCapacity("t3.micro", region+"b", 0)
	out = must(launch())(t)
	if len(out.Instances) != 2 || *out.Instances[0].Placement.AvailabilityZone != region+"c" {
		t.Errorf("%d instances in %s, want 2 in c", len(out.Instances), *out.Instances[0].Placement.AvailabilityZone)
	}
	if _, err := launch(); code(err) != "VcpuLimitExceeded" {
		t.Errorf("over the quota: %v", err)
	}
	srv.SetQuota(ec2test.OnDemand, -1)
	srv.SetCapacity("t3.micro", region+"c", 3)
	if _, err := launch(); code(err) != "InsufficientInstanceCapacity" {
		t.Errorf("with room for fewer than the least: %v", err)
	}
}

// What starts in one call has to fit together.
func TestCapacityForSeveralStarts(t *testing.T) {
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
		t.Errorf("two where there is room for one: %v", err)
	}
	if got := describe(t, c, ids[0]).State.Name; got != "stopped" {
		t.Errorf("the first is %s", got)
	}
	srv.SetCapacity("t3.micro", region+"a", 2)
	must(c.StartInstances(t.Context(), begin))(t)
}
