package ec2_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
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
	server := newServer(t, nil)
	cloud := newCloud(server)
	limits := &bake.Limits{PerPlace: 1}
	queued := 0
	opts := fastOptions()
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
}
