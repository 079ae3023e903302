package ec2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestPlanMatchesBake plans each definition, checks that nothing was created,
// bakes it, and compares the changing calls with the planned ones.
func TestPlanMatchesBake(t *testing.T) {
	for _, d := range definitions() {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, cloud := definitionServer(t)
				img := d.image(cloud)
				img.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return nil }}}
				before, calls := server.Leftovers(), len(server.Calls())
				plan, err := ec2.Plan(t.Context(), img)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, server.Leftovers()); diff != "" {
					t.Errorf("Plan() changed resources (-before +after):\n%s", diff)
				}
				for _, c := range changingCalls(server.Calls()[calls:]) {
					if !strings.HasPrefix(c, "RunInstances") && !strings.HasPrefix(c, "CreateSecurityGroup") {
						t.Errorf("Plan() called %s, want only dry runs", c)
					}
				}
				calls = len(server.Calls())
				if _, err := bake.Bake(t.Context(), nil, img); err != nil {
					t.Fatal(err)
				}
				var planned []string
				for _, c := range plan.Images[0].Calls {
					planned = append(planned, c.Action+" "+c.Region+map[bool]string{true: " by another account"}[c.Role != ""])
				}
				slices.Sort(planned)
				if diff := cmp.Diff(changingCalls(server.Calls()[calls:]), planned); diff != "" {
					t.Errorf("calls (-made +planned):\n%s", diff)
				}
			})
		})
	}
}

// changingCalls returns the action and place of each call that changes something, sorted.
func changingCalls(calls []ec2test.Call) []string {
	var list []string
	for _, c := range calls {
		if reads(c) || c.Action == "AssumeRole" {
			continue
		}
		list = append(list, c.Action+" "+c.Region+map[bool]string{true: " by another account"}[c.Account != mainAccount])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func TestPlan(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	base := simple(cloud)
	base.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return nil }}}
	app := &bake.Image{Name: "app", From: base, Builder: ec2.Builder{Cloud: cloud, AMIName: "the app", InstanceTypes: []string{"m5.large", "c5.large"}, Network: ec2.Network{AvailabilityZone: testRegion + "b"}}}
	plan, err := ec2.Plan(t.Context(), base, app)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := plan.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"simple in eu-west-1\n  source   ami-", `"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-`, " of 099720109477, created 20",
		"\n  launch   t3.small in eu-west-1", "\n  creates  instance bakestone simple (to check the AMI) in eu-west-1\n", "\n  creates  image simple and the Unix time in eu-west-1, which stays\n",
		"\n  calls    RunInstances in eu-west-1 (dry run: ok)\n", "\n  calls    CreateSecurityGroup in eu-west-1 (dry run: ok)\n",
		"app in eu-west-1\n  source   image simple\n  launch   m5.large in eu-west-1b (subnet-", "\n  or       c5.large in eu-west-1b (subnet-",
		"\n  creates  image the app in eu-west-1, which stays\n", "\n  calls    RunInstances in eu-west-1\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("WriteText() lacks %q:\n%s", want, &text)
		}
	}
	encoded, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var back ec2.BakePlan
	if err := json.Unmarshal(encoded, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan, &back); diff != "" {
		t.Errorf("plan after a JSON round trip (-want +got):\n%s", diff)
	}
}

// TestPlanErrors checks that errors name image and step, and that the plan has
// everything else.
func TestPlanErrors(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	named := func(name string, b ec2.Builder) *bake.Image {
		b.Cloud = cloud
		return &bake.Image{Name: name, Builder: b}
	}
	plan, err := ec2.Plan(t.Context(),
		named("nosource", ec2.Builder{Source: ec2.Newest{Owners: []string{ec2.Self}, Name: "none"}}),
		named("nonet", ec2.Builder{Source: ubuntu(), Network: ec2.Network{Subnet: ec2.ByID("subnet-00000000")}}),
		named("nogroup", ec2.Builder{Source: ubuntu(), Network: ec2.Network{SecurityGroups: []string{"none"}}}),
		named("notype", ec2.Builder{Source: ubuntu(), InstanceTypes: []string{"t9.none"}}),
	)
	if !errors.Is(err, ec2.ErrNoSource) {
		t.Errorf("Plan() error = %v, want one that wraps %v", err, ec2.ErrNoSource)
	}
	wantError(t, "Plan", err, "nosource: find source image: ", "nonet: choose network: ", "nogroup: prepare security group: ", "notype: launch instance: ")
	if len(plan.Images) != 4 || plan.Images[1].Source.ID == "" || len(plan.Images[0].Launch) == 0 {
		t.Errorf("Plan() = %+v, want 4 images with what is known", plan)
	}
	server.Fail(ec2test.Fault{Action: "RunInstances", Code: "UnauthorizedOperation"})
	plan, err = ec2.Plan(t.Context(), simple(cloud))
	wantError(t, "Plan", err, "simple: launch instance: ")
	if !slices.ContainsFunc(plan.Images[0].Calls, func(c ec2.PlannedCall) bool {
		return c.Action == "RunInstances" && c.DryRun == "UnauthorizedOperation"
	}) {
		t.Errorf("Plan() calls = %+v, want RunInstances with UnauthorizedOperation", plan.Images[0].Calls)
	}
	if plan, err := ec2.Plan(t.Context(), &bake.Image{}); plan != nil || err == nil {
		t.Errorf("Plan() of an invalid image = %v, %v, want nil and an error", plan, err)
	}
	wantNoLeftovers(t, server)
}
