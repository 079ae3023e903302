package ec2_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// TestProvisionOnly tries out an image that goes to many places: it needs no
// more than a machine, of EC2 and of IAM.
func TestProvisionOnly(t *testing.T) {
	server := roleServer(t, nil)
	cloud := newCloud(server)
	img := multiRegion(cloud)
	b, _ := img.Builder.(ec2.Builder)
	b.AMIName, b.ReplaceAMI, b.Capture.FromSnapshots = "web", true, true
	b.Distribute.Copies[1].KMSKey = "alias/none" // nobody uses it
	img.Builder, img.ProvisionOnly = b, true
	img.Publishers = []bake.Publisher{ec2.LaunchTemplate{Name: "none"}, ec2.SSMParameter{Name: "/web"}}

	first := len(server.Calls())
	plan, err := ec2.Plan(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	before := len(server.Calls())
	results, err := bake.Bake(t.Context(), fastOptions(), img)
	if err != nil || results[0].Status != bake.StatusProvisioned {
		t.Fatalf("%+v, %v", results[0], err)
	}
	wantNoLeftovers(t, server)

	var planned []string
	for _, c := range plan.Images[0].Calls {
		planned = append(planned, c.Action+" "+c.Region)
	}
	slices.Sort(planned)
	if diff := cmp.Diff(changes(server.Calls()[before:]), planned); diff != "" {
		t.Errorf("calls (-made +planned):\n%s", diff)
	}
	for _, r := range plan.Images[0].Creates {
		if r.Stays || r.Kind == "image" {
			t.Errorf("planned: %+v", r)
		}
	}
	onFailure := []string{"ec2:DescribeSecurityGroups", "sts:DecodeAuthorizationMessage"}
	want := append(actionsOf(server.Calls()[first:], mainAccount), onFailure...)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.DeleteFunc(ec2.Policy(cloud, img).Actions(), neverCalled)); diff != "" {
		t.Errorf("actions (-calls +policy):\n%s", diff)
	}
	if d := ec2.Policy(b.Distribute.Copies[2].Cloud, img); len(d.Statement) > 0 {
		t.Errorf("the other account: %s", d)
	}
}
