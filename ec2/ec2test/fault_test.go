package ec2test_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault ec2test.Fault
		codes []string // of three consecutive launches
		made  int      // instances launched
	}{
		{"once", ec2test.Fault{Code: "InternalError"}, []string{"InternalError", "", ""}, 2},
		{"second call", ec2test.Fault{Nth: 2, Code: "RequestLimitExceeded"}, []string{"", "RequestLimitExceeded", ""}, 2},
		{"from the second call on", ec2test.Fault{Nth: 2, Times: -1, Code: "UnauthorizedOperation"}, []string{"", "UnauthorizedOperation", "UnauthorizedOperation"}, 1},
		{"after taking effect", ec2test.Fault{When: ec2test.After, Code: "InternalError"}, []string{"InternalError", "", ""}, 3},
		{"other action", ec2test.Fault{Action: "CreateImage", Code: "InternalError"}, []string{"", "", ""}, 3},
		{"other region", ec2test.Fault{Region: "eu-west-1", Code: "InternalError"}, []string{"", "", ""}, 3},
		{"by parameter", ec2test.Fault{
			Match: func(p url.Values) bool { return p.Get("ClientToken") == "b" }, Code: "InternalError",
		}, []string{"", "InternalError", ""}, 2},
		{"no capacity for a type", ec2test.Fault{InstanceType: "t3.micro"}, []string{
			"InsufficientInstanceCapacity", "InsufficientInstanceCapacity", "InsufficientInstanceCapacity",
		}, 0},
		{"no capacity once", ec2test.Fault{Zone: "us-east-1a", InstanceType: "t3.micro", Times: 1}, []string{"", "", ""}, 3},
		{"no capacity in another zone", ec2test.Fault{Zone: "us-east-1c"}, []string{"", "", ""}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv, c := start(t, nil)
			image := ubuntu(t, c).ImageId
			rule := test.fault
			if rule.Action == "" {
				rule.Action = "RunInstances"
			}
			srv.Fail(rule)
			for i, want := range test.codes {
				_, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
					ImageId: image, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
					ClientToken: aws.String(string(rune('a' + i))),
				})
				if got := code(err); got != want {
					t.Errorf("launch %d: error code %q, want %q", i+1, got, want)
				}
			}
			made := srv.Resources(func(r ec2test.Resource) bool { return r.Type == "instance" })
			if len(made) != test.made {
				t.Errorf("%d instances exist, want %d", len(made), test.made)
			}
			srv.Mend()
			run(t, c, *image, nil)
		})
	}
}

// The SDK retries a launch whose response was lost with the same token.
func TestRetryAfterLostResponse(t *testing.T) {
	srv, c := start(t, nil)
	image := ubuntu(t, c).ImageId
	srv.Fail(ec2test.Fault{Action: "RunInstances", When: ec2test.After})
	retrying := awsec2.NewFromConfig(srv.Config(region))
	in := &awsec2.RunInstancesInput{ImageId: image, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	must(retrying.RunInstances(t.Context(), in))(t)
	if n := len(srv.Resources(func(r ec2test.Resource) bool { return r.Type == "instance" })); n != 1 {
		t.Errorf("%d instances exist, want 1", n)
	}
	if n := srv.CallCount("RunInstances"); n != 2 {
		t.Errorf("CallCount(RunInstances) = %d, want 2", n)
	}
	for i, call := range srv.Calls()[1:] {
		if lost := call.Code == "ConnectionLost"; lost != (i == 0) {
			t.Errorf("code of call %d = %q, want ConnectionLost only for the first", i, call.Code)
		}
	}
}

func TestFaultHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ec2test.New(nil)
		defer srv.Close()
		c := client(srv.Config(region))
		srv.Fail(ec2test.Fault{Action: "DescribeVpcs", When: ec2test.Hang, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := c.DescribeVpcs(ctx, nil)
		if err == nil || time.Since(began) != time.Hour {
			t.Errorf("DescribeVpcs = %v after %v, want a timeout after 1h", err, time.Since(began))
		}
	})
}

func TestRealisticLatencyInSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ec2test.New(&ec2test.Options{Latency: ec2test.Realistic()})
		defer srv.Close()
		c := client(srv.Config(region))
		openGroup(t, c)
		began := time.Now()
		inst := run(t, c, *ubuntu(t, c).ImageId, nil)
		for describe(t, c, *inst.InstanceId).State.Name != "running" {
			time.Sleep(time.Second)
		}
		if d := time.Since(began); d < 8*time.Second || d > 10*time.Second {
			t.Errorf("instance running after %v, want 8s to 10s", d)
		}
		conn := must(dialBooted(t, srv, *inst.PrivateIpAddress))(t)
		if d := time.Since(began); d < 20*time.Second || d > 22*time.Second {
			t.Errorf("instance reachable after %v, want 20s to 22s", d)
		}
		_ = conn.Close()
	})
}

func TestConsistency(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	_, c := start(t, &ec2test.Options{Clock: clock, Consistency: 3 * time.Second})
	id := *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
	_, err := c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if code(err) != "InvalidInstanceID.NotFound" {
		t.Errorf("DescribeInstances of a new instance = %v, want InvalidInstanceID.NotFound", err)
	}
	if out := must(c.DescribeInstances(t.Context(), nil))(t); len(out.Reservations) != 0 {
		t.Error("DescribeInstances lists a new instance immediately, want a delay")
	}
	clock.Advance(3 * time.Second)
	tag := &awsec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}
	must(c.CreateTags(t.Context(), tag))(t)
	if tags := describe(t, c, id).Tags; len(tags) != 0 {
		t.Errorf("tags immediately after CreateTags = %+v, want none", tags)
	}
	clock.Advance(3 * time.Second)
	tag.Tags[0].Value = aws.String("2")
	must(c.CreateTags(t.Context(), tag))(t)
	if tags := describe(t, c, id).Tags; len(tags) != 1 || *tags[0].Value != "1" {
		t.Errorf("tags immediately after a change = %+v, want the old value 1", tags)
	}
	clock.Advance(3 * time.Second)
	if tags := describe(t, c, id).Tags; *tags[0].Value != "2" {
		t.Errorf("tags 3s after a change = %+v, want the new value 2", tags)
	}
}

// With a seed, some calls see a new instance and others do not, reproducibly,
// until the consistency delay has passed.
func TestConsistencySeed(t *testing.T) {
	visibility := func(seed uint64) string {
		clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
		_, c := start(t, &ec2test.Options{Clock: clock, Consistency: 3 * time.Second, ConsistencySeed: seed})
		id := *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId
		var seen strings.Builder
		for range 20 {
			out := must(c.DescribeInstances(t.Context(), nil))(t)
			fmt.Fprint(&seen, len(out.Reservations))
		}
		if !strings.Contains(seen.String(), "01") || !strings.Contains(seen.String(), "10") {
			t.Errorf("seed %d: visibility of a new instance by call = %s, want changes in both directions", seed, &seen)
		}
		clock.Advance(3 * time.Second)
		for range 20 {
			describe(t, c, id)
		}
		return seen.String()
	}
	if first, again, other := visibility(1), visibility(1), visibility(2); first != again || first == other {
		t.Errorf("visibility by call = %s, with the same seed %s, with another %s; want the same and a different one", first, again, other)
	}
}

func TestThrottle(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 11, 21, 5, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock, Throttle: true})
	image := ubuntu(t, c).ImageId
	launch := func(c *awsec2.Client, n int32) string {
		_, err := c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			ImageId: image, InstanceType: "t3.micro", MinCount: aws.Int32(n), MaxCount: aws.Int32(n), DryRun: aws.Bool(true),
		})
		return code(err)
	}
	for i := range 6 {
		want := "DryRunOperation"
		if i == 5 {
			want = "RequestLimitExceeded"
		}
		if got := launch(c, 1); got != want {
			t.Errorf("launch %d: error code %s, want %s", i+1, got, want)
		}
	}
	if got := launch(client(srv.ConfigFor(otherAccount, region)), 1); got != "DryRunOperation" {
		t.Errorf("launch in another account: error code %s, want DryRunOperation", got)
	}
	clock.Advance(500 * time.Millisecond)
	if got := launch(c, 1); got != "DryRunOperation" {
		t.Errorf("launch half a second later: error code %s, want DryRunOperation", got)
	}
	clock.Advance(time.Minute)
	if got := launch(c, 1000); got != "DryRunOperation" {
		t.Errorf("launch of 1000 instances: error code %s, want DryRunOperation", got)
	}
	if got := launch(c, 3); got != "RequestLimitExceeded" {
		t.Errorf("launch of three more instances: error code %s, want RequestLimitExceeded", got)
	}

	// A describe without ids, filters and paging has a smaller bucket.
	open, limited := 0, 0
	for range 200 {
		if _, err := c.DescribeInstances(t.Context(), nil); err == nil {
			open++
		}
		if _, err := c.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{MaxResults: aws.Int32(5)}); err == nil {
			limited++
		}
	}
	if open != 50 || limited != 100 {
		t.Errorf("%d unfiltered and %d paged describes succeeded, want 50 and 100", open, limited)
	}
}
