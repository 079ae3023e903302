package ec2_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// TestProvisionOnly provisions an image with copies and publishers, and checks
// that plan, calls and policy include only the machine.
func TestProvisionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		cloud := newCloud(server)
		img := multiRegion(cloud)
		b, _ := img.Builder.(ec2.Builder)
		b.AMIName, b.ReplaceAMI, b.Capture.FromSnapshots = "web", true, true
		b.Distribute.Copies[1].KMSKey = "alias/none" // not used
		img.Builder, img.ProvisionOnly = b, true
		img.Publishers = []bake.Publisher{ec2.LaunchTemplate{Name: "none"}, ec2.SSMParameter{Name: "/web"}}

		first := len(server.Calls())
		plan, err := ec2.Plan(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		before := len(server.Calls())
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil || results[0].Status != bake.StatusProvisioned {
			t.Fatalf("Bake() = %+v, %v, want status %s", results[0], err, bake.StatusProvisioned)
		}
		wantNoLeftovers(t, server)

		var planned []string
		for _, c := range plan.Images[0].Calls {
			planned = append(planned, c.Action+" "+c.Region)
		}
		slices.Sort(planned)
		if diff := cmp.Diff(changingCalls(server.Calls()[before:]), planned); diff != "" {
			t.Errorf("calls (-made +planned):\n%s", diff)
		}
		for _, r := range plan.Images[0].Creates {
			if r.Stays || r.Kind == "image" {
				t.Errorf("Plan() creates %+v, want no image and nothing that stays", r)
			}
		}
		onFailure := []string{"ec2:DescribeSecurityGroups", "sts:DecodeAuthorizationMessage"}
		want := append(actionsOf(server.Calls()[first:], mainAccount), onFailure...)
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.DeleteFunc(ec2.Policy(cloud, img).Actions(), neverCalled)); diff != "" {
			t.Errorf("actions (-calls +policy):\n%s", diff)
		}
		if d := ec2.Policy(b.Distribute.Copies[2].Cloud, img); len(d.Statement) > 0 {
			t.Errorf("Policy() of the other account = %s, want an empty one", d)
		}
	})
}
