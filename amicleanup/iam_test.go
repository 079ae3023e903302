package amicleanup_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestIAMPolicyMatchesCalls does every duty and compares the calls that EC2 saw with
// the permissions of the policy: none is missing or superfluous.
func TestIAMPolicyMatchesCalls(t *testing.T) {
	for _, d := range duties() {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newEstate(t, 3, nil)
				w.cleaner.Policy = d.policy
				w.cleaner.Policy.Select.Name, w.cleaner.Policy.Keep = "{group} {unix}", d.keep
				if d.before != nil {
					d.before(w)
				}
				first := len(w.Calls())
				if d.run == nil {
					d.run = removeAll
				}
				d.run(w)
				if diff := cmp.Diff(w.actions(first), calledBy(d.document(w))); diff != "" {
					t.Errorf("(-calls +policy):\n%s", diff)
				}
			})
		})
	}
}

func (d *duty) document(w *estate) *iampolicy.Document {
	if d.tell != nil {
		return d.tell(w)
	}
	return w.cleaner.IAMPolicy(d.options)
}

// calledBy returns the actions of a policy, without those that EC2 calls in turn.
func calledBy(d *iampolicy.Document) []string {
	own := *d
	own.Statement = nil
	for _, s := range d.Statement {
		if s.Sid != "LookThroughEC2" {
			own.Statement = append(own.Statement, s)
		}
	}
	return own.Actions()
}

// actions returns the actions of the calls since the first one, without those of the
// test itself.
func (w *estate) actions(first int) []string {
	var seen []string
	if w.clusters != nil {
		seen = w.clusters.seen
	}
	for _, c := range w.Calls()[first:] {
		service := "ec2"
		switch {
		case c.Action == "CreateRule" || c.Params.Get("Tag.1.Key") == "keep":
			continue
		case strings.HasSuffix(c.Action, "Rule") || strings.HasSuffix(c.Action, "Rules"):
			service = "rbin"
		case strings.Contains(c.Action, "Parameter"):
			service = "ssm"
		case slices.Contains([]string{"DescribeAutoScalingGroups", "DescribeLaunchConfigurations", "DescribeInstanceRefreshes"}, c.Action):
			service = "autoscaling"
		}
		seen = append(seen, service+":"+c.Action)
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// TestIAMPolicyCoversEveryCall looks for API calls in the source of the package
// and wants each of them in the policy of some duty.
func TestIAMPolicyCoversEveryCall(t *testing.T) {
	var known []string
	w := newEstate(t, 1, nil)
	for _, d := range duties() {
		w.cleaner.Policy = d.policy
		w.cleaner.Policy.Keep = d.keep
		for _, action := range d.document(w).Actions() {
			_, name, _ := strings.Cut(action, ":")
			known = append(known, name)
		}
	}
	calls := testenv.SDKCalls(t, `client(?:\(\))?|target\.ec2\(\)`, ".", "inuse", "service")
	if len(calls) < 35 {
		t.Fatalf("found only %v", calls)
	}
	for _, name := range calls {
		if !slices.Contains(known, name) {
			t.Errorf("%s is called, and no duty's policy permits it: complete iam_table.go and duties", name)
		}
	}
}

// allows reports whether a statement allows an action on exactly these
// resources under this condition.
func allows(d *iampolicy.Document, action, resource, condition string) bool {
	for _, s := range d.Statement {
		if slices.Contains(s.Action, action) && slices.Equal(s.Resource, strings.Fields(resource)) && fmt.Sprint(s.Condition) == "map["+condition+"]" {
			return true
		}
	}
	return false
}

// TestIAMPolicyResources checks the resources and conditions of a policy.
func TestIAMPolicyResources(t *testing.T) {
	const images, snapshots = "arn:aws:ec2:eu-west-1::image/*", "arn:aws:ec2:eu-west-1::snapshot/*"
	f := newFake()
	c := cleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.UsageReports(nil), inuse.ImageReferences(0)),
		amicleanup.InUse(inuse.Instances()))
	c.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: day, DisableFor: day}
	want := func(d *iampolicy.Document, action, resource, condition string) {
		t.Helper()
		if !allows(d, action, resource, condition) {
			t.Errorf("no statement allows %s on %s if %s:\n%s", action, resource, condition, d)
		}
	}
	c.Policy.Snapshots = &amicleanup.SnapshotPolicy{Except: map[string]string{"keep": "*"}}
	all := c.IAMPolicy(&amicleanup.IAMPolicyOptions{Undo: true})
	want(all, "ec2:DescribeImages", "*", "")
	want(all, "ec2:DeregisterImage", images, "")
	want(all, "ec2:DeleteSnapshot", snapshots, "")
	want(all, "ec2:DeleteSnapshot", snapshots, "Null:map[aws:ResourceTag/keep:[true]] StringLike:map[aws:ResourceTag/bakestone:build:[*]]")
	want(all, "ec2:CreateTags", images, "ForAllValues:StringLike:map[aws:TagKeys:[bakestone:retired bakestone:shared:*]]")
	want(all, "ec2:ModifyImageAttribute", images, "")
	want(all, "ec2:RestoreSnapshotFromRecycleBin", snapshots, "")
	want(all, "ec2:CreateImageUsageReport", "arn:aws:ec2:eu-west-1:*:image-usage-report/* "+images, "")
	want(all, "imagebuilder:ListImageRecipes", "*", "ForAnyValue:StringEquals:map[aws:CalledVia:[ec2-images.amazonaws.com]]")

	// The selected tags are a condition of every change.
	c.Policy.Select = amicleanup.Select{Baked: true, Tags: map[string]string{"team": "web", "pipeline": "*"}, Except: map[string]string{"keep": "*", "stage": "prod"}}
	c.Policy.Snapshots = &amicleanup.SnapshotPolicy{Described: true, Tags: map[string]string{"team": "web"}}
	baked := c.IAMPolicy(nil)
	selected := "Null:map[aws:ResourceTag/keep:[true]] StringEquals:map[aws:ResourceTag/team:[web]] " +
		"StringLike:map[aws:ResourceTag/bakestone:build:[*] aws:ResourceTag/pipeline:[*]] StringNotEquals:map[aws:ResourceTag/stage:[prod]]"
	want(baked, "ec2:DeregisterImage", images, selected)
	want(baked, "ec2:DisableImage", images, selected)
	want(baked, "ec2:EnableImageDeprecation", images, selected)
	want(baked, "ec2:DeleteTags", images, "ForAllValues:StringLike:map[aws:TagKeys:[bakestone:retired bakestone:shared:*]] "+selected)
	want(baked, "ec2:DeleteSnapshot", snapshots, "StringLike:map[aws:ResourceTag/bakestone:build:[*]]")
	want(baked, "ec2:DeleteSnapshot", snapshots, "") // Described takes snapshots without tags
	if slices.ContainsFunc(baked.Actions(), func(a string) bool { return strings.Contains(a, "RecycleBin") && strings.Contains(a, "Restore") }) {
		t.Errorf("the policy permits Undo: %s", baked)
	}

	// Accounts and regions.
	c.Targets = append(c.Targets, accountTarget("b", "us-east-1", f), accountTarget("b", "cn-north-1", f))
	want(c.IAMPolicy(nil), "ec2:DeregisterImage", "arn:aws-cn:ec2:cn-north-1::image/* "+images+" arn:aws:ec2:us-east-1::image/*", selected)
	want(c.IAMPolicy(&amicleanup.IAMPolicyOptions{Accounts: []string{"b"}}), "ec2:DeregisterImage", "arn:aws-cn:ec2:cn-north-1::image/* arn:aws:ec2:us-east-1::image/*", selected)
	if none := c.IAMPolicy(&amicleanup.IAMPolicyOptions{Accounts: []string{"c"}}); len(none.Statement) > 0 {
		t.Errorf("an account without targets: %s", none)
	}
	if none := (&service.Service{Cleaner: c}).IAMPolicy(&amicleanup.IAMPolicyOptions{Accounts: []string{"c"}}); len(none.Statement) > 0 {
		t.Errorf("a service in an account without targets: %s", none)
	}
	lock := &service.ParameterLock{Name: "/amicleanup/lock"}
	want(lock.IAMPolicy(), "ssm:PutParameter", "arn:aws:ssm:*:*:parameter/amicleanup/lock", "")
}

func none(context.Context, inuse.Place) ([]inuse.Reference, error) { return nil, nil }

// TestIAMPolicyJoined joins the permissions of an image, its AfterBake and a clean-up
// with custom sources.
func TestIAMPolicyJoined(t *testing.T) {
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	cloud := ec2.NewCloud(server.Config(where), nil)
	target := func(region string) amicleanup.Target {
		return amicleanup.Connect(cloud.Config(region), &amicleanup.ConnectOptions{NoCallLimits: true})
	}
	retire := amicleanup.AfterBake(amicleanup.Cleaner{
		Targets: []amicleanup.Target{target(where), target("us-east-1")},
		Policy:  amicleanup.Policy{Select: amicleanup.Select{Baked: true}, Keep: []amicleanup.Rule{amicleanup.Newest(5)}},
	})
	img := &bake.Image{Name: "web", Builder: ec2.Builder{Cloud: cloud, Source: ec2.ImageID("ami-1")}, Publishers: []bake.Publisher{retire}}
	job := &amicleanup.Cleaner{Targets: []amicleanup.Target{target("us-west-2")}, Policy: amicleanup.Policy{
		Keep: []amicleanup.Rule{
			amicleanup.InUse(inuse.AtLeast(1, inuse.Source{Name: "buckets", List: none, Permissions: inuse.Reads("s3:ListAllMyBuckets")})),
			amicleanup.InUse(inuse.Source{Name: "mine", List: none, Permissions: inuse.Reads("tag:GetResources")}),
		},
	}}
	baking := ec2.Policy(cloud, img)
	both := baking.With(job.IAMPolicy(nil))
	const ours = "StringLike:map[aws:ResourceTag/bakestone:build:[*]]"
	if !allows(both, "ec2:DeregisterImage", "arn:aws:ec2:us-west-2::image/*", "") || !allows(both, "ec2:DeregisterImage", "arn:aws:ec2:eu-west-1::image/*", ours) {
		t.Errorf("images cannot be deregistered:\n%s", both)
	}
	for _, action := range []string{"ec2:RunInstances", "s3:ListAllMyBuckets", "tag:GetResources"} {
		if !slices.Contains(both.Actions(), action) {
			t.Errorf("%s is missing:\n%s", action, both)
		}
	}
	if strings.Contains(both.String(), "us-east-1") {
		t.Errorf("the policy has a region without the image:\n%s", both)
	}
	img.Publishers = nil
	if extra := len(baking.Statement) - len(ec2.Policy(cloud, img).Statement); extra != 0 {
		t.Errorf("AfterBake adds %d statements, want none:\n%s", extra, baking)
	}
}
