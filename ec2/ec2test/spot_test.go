package ec2test_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// onSpot returns a change of a launch that requests a spot instance.
func onSpot(kind ec2types.SpotInstanceType, interruption ec2types.InstanceInterruptionBehavior) func(*awsec2.RunInstancesInput) {
	return func(in *awsec2.RunInstancesInput) {
		in.InstanceMarketOptions = &ec2types.InstanceMarketOptionsRequest{MarketType: "spot", SpotOptions: &ec2types.SpotMarketOptions{
			SpotInstanceType: kind, InstanceInterruptionBehavior: interruption, MaxPrice: aws.String("0.01"),
		}}
	}
}

func TestSpotRequestStates(t *testing.T) {
	srv, c := start(t, nil)
	reclaim := func(id string) {
		if err := srv.Reclaim(id); err != nil {
			t.Error(err)
		}
	}
	outbid := func(string) {
		for _, price := range []float64{1, 0} {
			if err := srv.SetSpotPrice("t3.micro", region+"a", price); err != nil {
				t.Error(err)
			}
		}
	}
	terminate := func(id string) {
		must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{id}}))(t)
	}
	stop := func(id string) {
		must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}))(t)
	}
	cancel := func(id string) {
		request := describe(t, c, id).SpotInstanceRequestId
		out := must(c.CancelSpotInstanceRequests(t.Context(), &awsec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{*request}}))(t)
		if out.CancelledSpotInstanceRequests[0].State != "cancelled" {
			t.Errorf("CancelSpotInstanceRequests = %+v, want cancelled", out.CancelledSpotInstanceRequests)
		}
	}
	for name, test := range map[string]struct {
		kind                  ec2types.SpotInstanceType
		interruption          ec2types.InstanceInterruptionBehavior
		do                    []func(id string)
		instance, state, code string
	}{
		"running":               {"one-time", "", nil, "running", "active", "fulfilled"},
		"terminated":            {"one-time", "", []func(string){terminate}, "terminated", "closed", "instance-terminated-by-user"},
		"reclaimed":             {"one-time", "", []func(string){reclaim}, "terminated", "closed", "instance-terminated-no-capacity"},
		"outbid":                {"one-time", "", []func(string){outbid}, "terminated", "closed", "instance-terminated-by-price"},
		"persistent, reclaimed": {"persistent", "", []func(string){reclaim}, "terminated", "open", "instance-terminated-no-capacity"},
		"persistent, stopped":   {"persistent", "", []func(string){stop}, "stopped", "disabled", "instance-stopped-by-user"},
		"persistent, suspended": {"persistent", "stop", []func(string){reclaim}, "stopped", "open", "instance-stopped-no-capacity"},
		"canceled":              {"one-time", "", []func(string){cancel}, "running", "cancelled", "request-canceled-and-instance-running"},
		"canceled, terminated":  {"persistent", "", []func(string){cancel, terminate}, "terminated", "cancelled", "instance-terminated-by-user"},
	} {
		t.Run(name, func(t *testing.T) {
			inst := run(t, c, *ubuntu(t, c).ImageId, onSpot(test.kind, test.interruption))
			for _, do := range test.do {
				do(*inst.InstanceId)
			}
			if got := describe(t, c, *inst.InstanceId).State.Name; string(got) != test.instance {
				t.Errorf("instance is %s, want %s", got, test.instance)
			}
			out := must(c.DescribeSpotInstanceRequests(t.Context(), &awsec2.DescribeSpotInstanceRequestsInput{
				Filters: []ec2types.Filter{filter("instance-id", *inst.InstanceId), filter("state", test.state)},
			}))(t).SpotInstanceRequests
			if len(out) != 1 || string(out[0].State) != test.state || *out[0].Status.Code != test.code || *out[0].Status.Message == "" {
				t.Errorf("DescribeSpotInstanceRequests = %+v, want state %s with code %s", out, test.state, test.code)
			}
			terminate(*inst.InstanceId)
		})
	}
}

func TestSpotErrors(t *testing.T) {
	srv, c := start(t, nil)
	if err := srv.Reclaim(*run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId); err == nil {
		t.Error("Reclaim of an on-demand instance succeeded, want an error")
	}
	in := &awsec2.RunInstancesInput{ImageId: ubuntu(t, c).ImageId, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	onSpot("one-time", "stop")(in)
	if _, err := c.RunInstances(t.Context(), in); code(err) != "InvalidParameterCombination" {
		t.Errorf("RunInstances that stops a one-time request = %v, want InvalidParameterCombination", err)
	}
}
