package ec2_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// An offsetClock is the system clock, moved.
type offsetClock struct {
	clock.Clock

	by *atomic.Int64
}

func (c offsetClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.by.Load())) }

// reapServer starts an EC2 with two accounts. The func moves its clock, and no other.
func reapServer(t *testing.T) (*ec2test.Server, func(time.Duration)) {
	t.Helper()
	by := new(atomic.Int64)
	server := roleServer(t, &ec2test.Options{Clock: offsetClock{clock.System(), by}})
	return server, func(d time.Duration) { by.Add(int64(d)) }
}

// removals are the calls that a dead process does not make.
func removals() []string {
	return []string{
		"TerminateInstances", "DeleteSecurityGroup", "RemoveRoleFromInstanceProfile", "DeleteInstanceProfile", "DeleteRolePolicy",
		"DeleteRole", "DeregisterImage", "DeleteSnapshot",
	}
}

// abandon bakes images that fail, one after the other, and leaves everything of which
// they consist then.
func abandon(t *testing.T, server *ec2test.Server, images ...*bake.Image) {
	t.Helper()
	for _, img := range images {
		o := &bake.Options{}
		o.Observe = func(e bake.Event) {
			if e.Kind == bake.StepFinished && e.Err != "" {
				for _, action := range removals() {
					server.Fail(ec2test.Fault{Action: action, Code: "UnauthorizedOperation", Times: -1})
				}
			}
		}
		if results, err := bake.Bake(t.Context(), o, img); err == nil || results == nil {
			t.Fatalf("Bake() = %v, %v, want a failed build", results, err)
		}
		server.Mend()
	}
}

// deadBuilds leaves what three builds have created: one that failed while it was
// provisioned, with a role of its own; one in its check; one while it was distributed.
func deadBuilds(t *testing.T, server *ec2test.Server, cloud *ec2.Cloud) {
	t.Helper()
	launched := profiled(cloud)
	launched.Name, launched.Provisioners = "launched", failing(cloud).Provisioners
	checked := failingCheck(cloud)
	checked.Name = "checked"
	copied := setDistribution(multiRegion(cloud), func(d *ec2.Distribution) { d.AllOrNothing, d.Protection = true, ec2.Unprotected })
	abandon(t, server, launched, checked)
	server.Fail(ec2test.Fault{Action: "CopyImage", Region: "us-west-2", Code: "UnauthorizedOperation", Times: -1})
	abandon(t, server, copied)
}

func reaper(cloud *ec2.Cloud) *ec2.Reaper {
	return &ec2.Reaper{
		Clouds:  []*ec2.Cloud{cloud, cloud.Assume(ec2.Role{ARN: prodRole}), cloud},
		Regions: []string{testRegion, "us-east-1", "us-west-2"},
	}
}

// plans returns what the reaper plans to remove and to keep, by kind.
func plans(t *testing.T, r *ec2.Reaper) (remove map[string]int, kept []string) {
	t.Helper()
	plan, err := r.Plan(t.Context())
	if err != nil {
		t.Fatalf("Plan() error = %v", err)
	}
	remove = map[string]int{}
	for _, l := range plan.Items {
		if l.Kept == "" {
			remove[l.Kind]++
		} else {
			kept = append(kept, l.Kind+": "+l.Kept)
		}
	}
	return remove, kept
}

// TestReap reaps the leftovers of three builds in three regions and two accounts by
// tags alone, once they have expired by AWS's clock, and leaves a good AMI.
func TestReap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, advance := reapServer(t)
		cloud := newCloud(server)
		good, err := bake.Bake(t.Context(), nil, simple(cloud))
		if err != nil {
			t.Fatal(err)
		}
		wanted := server.Leftovers()
		deadBuilds(t, server, cloud)
		r := reaper(cloud)
		if remove, kept := plans(t, r); len(remove) != 0 || len(kept) != 0 {
			t.Errorf("Plan() before the expiry = %v, kept %v, want nothing", remove, kept)
		}
		advance(24 * time.Hour)
		plan, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, l := range plan.Items {
			got[l.Kind]++
			if l.Kept != "" || l.Build == "" || l.Image == "" || l.Expires.IsZero() {
				t.Errorf("planned: %+v, want a build's, to be removed", l)
			}
			if !strings.Contains(plan.String(), l.ID) {
				t.Errorf("plan does not show %s:\n%s", l.ID, plan)
			}
		}
		want := map[string]int{
			"instance": 2, "volume": 2, "network interface": 2, "security group": 4, "instance profile": 1, "role": 1, "image": 4, "snapshot": 4,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("plan by kind (-want +got):\n%s\n%s", diff, plan)
		}
		stored := new(ec2.ReapPlan)
		if text, err := json.Marshal(plan); err != nil || json.Unmarshal(text, stored) != nil {
			t.Fatalf("the plan as JSON: %s, %v", text, err)
		}
		result, err := r.Apply(t.Context(), stored)
		if err != nil {
			t.Fatalf("Apply() error = %v", err)
		}
		for _, l := range result.Removed {
			if l.Kind == "volume" || l.Kind == "network interface" {
				t.Errorf("removed %s %s, want it to go with its instance", l.Kind, l.ID)
			}
		}
		if diff := cmp.Diff(wanted, server.Leftovers()); diff != "" {
			t.Errorf("resources after Apply (-want +got):\n%s", diff)
		}
		if remove, kept := plans(t, r); len(remove) != 0 || len(kept) != 0 {
			t.Errorf("second Plan() = %v, kept %v, want nothing", remove, kept)
		}
		if again, err := r.Apply(t.Context(), plan); err != nil || len(again.Removed)+len(again.Kept) != 0 {
			t.Errorf("Apply() of an old plan = %v, %v, want nothing to do", again, err)
		}
		destroy(t, good[0].Artifact)
		wantNoLeftovers(t, server)
	})
}

// TestReapIgnoresOwnClock reaps by a machine whose clock is years ahead of AWS's.
func TestReapIgnoresOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, advance := reapServer(t)
		deadBuilds(t, server, newCloud(server))
		ahead := new(atomic.Int64)
		ahead.Store(int64(5 * 365 * 24 * time.Hour))
		o := cloudOptions(server)
		o.Clock = offsetClock{clock.System(), ahead}
		r := &ec2.Reaper{Clouds: []*ec2.Cloud{ec2.NewCloud(server.Config(testRegion), o)}}
		before := server.Leftovers()
		if result, err := r.Reap(t.Context()); err != nil || len(result.Removed) != 0 {
			t.Errorf("Reap() by a clock ahead = %v, %v, want nothing removed", result, err)
		}
		if diff := cmp.Diff(before, server.Leftovers()); diff != "" {
			t.Errorf("resources after Reap (-want +got):\n%s", diff)
		}
		advance(24 * time.Hour)
		ahead.Store(int64(-5 * 365 * 24 * time.Hour))
		if result, err := r.Reap(t.Context()); err != nil || len(result.Removed) == 0 {
			t.Errorf("Reap() by a clock behind = %v, %v, want everything removed", result, err)
		}
	})
}

// TestReapKeepsLiving asks about each build once, and keeps those that live or of which
// it is not known.
func TestReapKeepsLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, advance := reapServer(t)
		cloud := newCloud(server)
		abandon(t, server, failingCheck(cloud))
		advance(24 * time.Hour)
		broken := errors.New("store is broken")
		for name, test := range map[string]struct {
			alive bool
			err   error
			want  string
		}{
			"alive":   {true, nil, "a process is at work on the build"},
			"unknown": {false, broken, "whether a process is at work on the build is not known"},
		} {
			r := reaper(cloud)
			var asked []string
			r.Living = func(_ context.Context, build string) (bool, error) {
				asked = append(asked, build)
				return test.alive, test.err
			}
			plan, err := r.Plan(t.Context())
			if !errors.Is(err, test.err) {
				t.Errorf("%s: Plan() error = %v, want %v", name, err, test.err)
			}
			if slices.ContainsFunc(plan.Items, func(l ec2.Leftover) bool { return l.Kept != test.want }) || len(plan.Items) == 0 {
				t.Errorf("%s: plan = %v, want everything kept because %s", name, plan, test.want)
			}
			if len(asked) != 1 || strings.HasSuffix(asked[0], "-check") {
				t.Errorf("%s: Living was asked about %q, want the build once", name, asked)
			}
			// A build that comes to life after the plan is kept as well.
			r.Living = nil
			if plan, err = r.Plan(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.Living = func(context.Context, string) (bool, error) { return test.alive, test.err }
			before := server.Leftovers()
			result, err := r.Apply(t.Context(), plan)
			if !errors.Is(err, test.err) || len(result.Removed) != 0 || len(result.Kept) == 0 {
				t.Errorf("%s: Apply() = %v, %v, want everything kept and the error %v", name, result, err, test.err)
			}
			if diff := cmp.Diff(before, server.Leftovers()); diff != "" {
				t.Errorf("%s: resources after Apply (-want +got):\n%s", name, diff)
			}
		}
	})
}

// TestReapRereads changes things between plan and apply.
func TestReapRereads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, advance := reapServer(t)
		cloud := newCloud(server)
		abandon(t, server, failingCheck(cloud), profiled2(cloud))
		advance(24 * time.Hour)
		r := reaper(cloud)
		plan, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		find := func(kind string) string {
			i := slices.IndexFunc(plan.Items, func(l ec2.Leftover) bool { return l.Kind == kind })
			if i < 0 {
				t.Fatalf("no %s in the plan:\n%s", kind, plan)
			}
			return plan.Items[i].ID
		}
		client := cloud.Client("")
		image, instance := find("image"), find("instance")
		// The image is promoted without its snapshots, as by a process that was cut, and
		// the instance is prolonged.
		if _, err := client.DeleteTags(t.Context(), &awsec2.DeleteTagsInput{
			Resources: []string{image}, Tags: []ec2types.Tag{{Key: aws.String(ec2.TagExpires)}},
		}); err != nil {
			t.Fatal(err)
		}
		tagResource(t, client, instance, ec2.TagExpires, time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339))
		result, err := r.Apply(t.Context(), plan)
		if err != nil {
			t.Fatalf("Apply() error = %v", err)
		}
		kinds := map[string]int{}
		for _, resource := range server.Resources(nil) {
			kinds[resource.Type]++
		}
		want := map[string]int{"image": 1, "snapshot": 1, "instance": 1, "volume": 1, "network-interface": 1, "security-group": 1}
		if diff := cmp.Diff(want, kinds); diff != "" {
			t.Errorf("resources after Apply (-want +got):\n%s", diff)
		}
		reasons := map[string]bool{}
		for _, l := range result.Kept {
			kind, _, _ := strings.Cut(l.Kept, instance)
			reasons[l.Kind+": "+kind] = true
		}
		for _, reason := range []string{"volume: it is attached to ", "network interface: it is attached to ", "snapshot: it is in use by " + image} {
			if !reasons[reason] {
				t.Errorf("Apply() keeps %v, want %q", result.Kept, reason)
			}
		}
	})
}

// profiled2 returns an image of a role whose provisioner fails.
func profiled2(cloud *ec2.Cloud) *bake.Image {
	img := profiled(cloud)
	img.Name, img.Provisioners = "profiled", failing(cloud).Provisioners
	return img
}

func tagResource(t *testing.T, client *awsec2.Client, id, key, value string) {
	t.Helper()
	_, err := client.CreateTags(t.Context(), &awsec2.CreateTagsInput{
		Resources: []string{id}, Tags: []ec2types.Tag{{Key: aws.String(key), Value: aws.String(value)}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReapForeignTags shows tags that no build has set.
func TestReapForeignTags(t *testing.T) {
	server, advance := reapServer(t)
	cloud := newCloud(server)
	client := cloud.Client("")
	past := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	group := func(name string) string {
		out, err := client.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String(name), Description: aws.String("test")})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.GroupId)
	}
	unbuilt, unreadable := group("unbuilt"), group("unreadable")
	tagResource(t, client, unbuilt, ec2.TagExpires, past)
	tagResource(t, client, unreadable, ec2.TagExpires, "soon")
	tagResource(t, client, unreadable, ec2.TagBuild, "20260101t000000-aaaaaaaa")
	addKeyPair(t, cloud, "mine")
	keys, err := client.DescribeKeyPairs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tagResource(t, client, aws.ToString(keys.KeyPairs[0].KeyPairId), ec2.TagExpires, past)
	advance(24 * time.Hour)
	before := server.Leftovers()
	r := reaper(cloud)
	remove, kept := plans(t, r)
	want := []string{
		"key pair: builds do not create this kind of resource", "security group: it has no tag bakestone:build",
		`security group: tag bakestone:expires is not a time: "soon"`,
	}
	slices.Sort(kept)
	if diff := cmp.Diff(want, kept); diff != "" || len(remove) != 0 {
		t.Errorf("Plan() removes %v, keeps (-want +got):\n%s", remove, diff)
	}
	plan, err := r.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A plan that was edited removes nothing that has not expired.
	for i := range plan.Items {
		plan.Items[i].Kept, plan.Items[i].Build, plan.Items[i].Expires = "", "20260101t000000-aaaaaaaa", time.Time{}
	}
	plan.Items = append(plan.Items, ec2.Leftover{Account: mainAccount, Region: testRegion, Kind: "security group", ID: group("plain")},
		ec2.Leftover{Account: "999999999999", Region: testRegion, Kind: "security group", ID: unbuilt})
	if result, err := r.Apply(t.Context(), plan); err != nil || len(result.Removed) != 0 {
		t.Errorf("Apply() of an edited plan = %v, %v, want nothing removed", result, err)
	}
	if got := len(server.Leftovers()); got != len(before)+1 {
		t.Errorf("resources after Apply = %v, want those before and one more: %v", server.Leftovers(), before)
	}
}
