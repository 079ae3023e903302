package ec2_test

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

func TestDemand(t *testing.T) {
	server := roleServer(t, nil)
	cloud := newCloud(server)
	usual := []string{"t3.small", "t4g.small"}
	for _, test := range []struct {
		want    bake.Demand
		builder ec2.Builder
	}{
		{bake.Demand{Place: mainAccount + "/" + testRegion, Types: usual}, ec2.Builder{Cloud: cloud}},
		{bake.Demand{Place: mainAccount + "/us-east-1", Types: []string{"m7i.large", "m6i.large"}}, ec2.Builder{Cloud: cloud, Region: "us-east-1", InstanceTypes: []string{"m7i.large", "m6i.large"}}},
		{bake.Demand{Place: prodAccount + "/" + testRegion, Types: usual}, ec2.Builder{Cloud: cloud.Assume(ec2.Role{ARN: prodRole})}},
	} {
		got, err := test.builder.Demand(t.Context(), nil)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("Demand() error = %v (-want +got):\n%s", err, diff)
		}
	}
	server.Fail(ec2test.Fault{Action: "GetCallerIdentity", Code: "AccessDenied", Times: -1})
	_, err := ec2.Builder{Cloud: newCloud(server)}.Demand(t.Context(), nil)
	wantError(t, "Demand", err, "AccessDenied")
}

// TestDemandLimits bakes on EC2 with one machine at a time.
func TestDemandLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		limits := &bake.Limits{PerPlace: 1}
		queued := 0
		opts := &bake.Options{}
		opts.Limits, opts.Observe = limits, func(e bake.Event) {
			if e.Kind == bake.BuildQueued {
				queued++
			}
			if n := len(resourcesOf(server, "instance")); e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" && n > 1 {
				t.Errorf("%d instances at once, want 1", n)
			}
		}
		first, second := failing(cloud), failing(cloud)
		second.Name = "second"
		if _, err := bake.Bake(t.Context(), opts, first, second); err == nil {
			t.Error("Bake() = nil, want failures")
		}
		if queued == 0 {
			t.Error("no build waited")
		}
		wantNoLeftovers(t, server)
	})
}

// TestDemandAlternatives bakes images that may have either of two types, of which EC2 has
// one only: the limit of that one holds, although it is the second choice, and the other
// type is free for builds that need it.
func TestDemandAlternatives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		server.Fail(ec2test.Fault{InstanceType: "c7i.large", Code: "InsufficientInstanceCapacity", Times: -1})
		cloud := newCloud(server)
		most := map[string]int{}
		opts := &bake.Options{}
		opts.Limits = &bake.Limits{PerType: 2, Types: map[string]int{"c7i.large": 1}}
		opts.Observe = func(e bake.Event) {
			if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
				for kind, n := range runningTypes(t, cloud) {
					most[kind] = max(most[kind], n)
				}
			}
		}
		var images []*bake.Image
		for i := range 6 {
			img := simple(cloud)
			img.Name = fmt.Sprint("image", i)
			img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), InstanceTypes: []string{"c7i.large", "m7i.large"}}
			img.Checks = []bake.Check{bake.CheckFunc{Name: "made", Do: provision.Shell("cat /etc/made").Provision}}
			images = append(images, img)
		}
		if _, err := bake.Bake(t.Context(), opts, images...); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"m7i.large": 2}; !maps.Equal(most, want) {
			t.Errorf("most instances at once by type = %v, want %v", most, want)
		}
	})
}

// runningTypes counts the pending and running instances by type.
func runningTypes(t *testing.T, cloud *ec2.Cloud) map[string]int {
	t.Helper()
	out, err := cloud.Client("").DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running"}},
	}})
	if err != nil {
		t.Errorf("DescribeInstances = %v", err)
		return nil
	}
	count := map[string]int{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			count[string(i.InstanceType)]++
		}
	}
	return count
}
