package amicleanup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// Cases that users found. Each was red once.

// edited stores a plan, changes its JSON and loads it.
func edited(t *testing.T, plan *amicleanup.Plan, change func(text string) string) *amicleanup.Plan {
	t.Helper()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	stored := new(amicleanup.Plan)
	if err := json.Unmarshal([]byte(change(string(text))), stored); err != nil {
		t.Fatal(err)
	}
	return stored
}

// Editing the actions of a stored plan cannot remove kept images or exceed limits.
func TestFieldEditedActions(t *testing.T) {
	f := newFake()
	f.series("web", 8)
	f.set("ami-web0", func(i *ec2types.Image) { i.Tags = tags("legal-hold", "yes") })
	f.shares["ami-web1"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	c := cleaner(f, amicleanup.NewestUsable(2), amicleanup.Shared(), amicleanup.Marked())
	c.Policy.Limits.Removals = 1
	plan := mustPlan(t, c)
	result, err := c.Apply(t.Context(), edited(t, plan, func(text string) string {
		return strings.ReplaceAll(text, `"action":"keep"`, `"action":"remove"`)
	}))
	if err != nil || len(result.Images) != 8 {
		t.Fatalf("Apply: %v, %v", result, err)
	}
	if diff := cmp.Diff([]string{"DeregisterImage ami-web2"}, f.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for id, want := range map[string]string{
		"ami-web0": "is tagged legal-hold=yes", "ami-web1": "is shared (account 444455556666)",
		"ami-web3": "waits for a later run: this one is limited to 1 removal", "ami-web7": "is the newest of its group; is one of the 2 newest usable",
	} {
		i := slices.IndexFunc(result.Images, func(img amicleanup.ImageResult) bool { return img.ID == id })
		if got := result.Images[i].Detail; got != want {
			t.Errorf("%s is skipped because it %q, want %q", id, got, want)
		}
	}
}

// The plan does not store which image a group needs, so no edit can let it go.
func TestFieldNewestNotStored(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	c := cleaner(f, amicleanup.IDs("none"))
	plan := mustPlan(t, c)
	text, err := json.Marshal(plan)
	if err != nil || strings.Contains(string(text), `"newest"`) {
		t.Errorf("the plan names the newest: %s, %v", text, err)
	}
	for i := range plan.Targets[0].Items {
		plan.Targets[0].Items[i].Action, plan.Targets[0].Items[i].Reasons = amicleanup.Remove, nil
	}
	if _, err := c.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if _, there := f.images["ami-web2"]; !there || len(f.images) != 1 {
		t.Errorf("images left: %v, want the newest", f.images)
	}
}

// A policy that two funcs build is one policy.
func TestFieldOnePolicyInTwoFuncs(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	one := func() amicleanup.Key {
		return amicleanup.NewKey("role", func(*amicleanup.Image) (string, bool) { return "web", true })
	}
	other := func() amicleanup.Key {
		return amicleanup.NewKey("role", func(*amicleanup.Image) (string, bool) { return "web", true })
	}
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Group = one()
	plan := mustPlan(t, c)
	c.Policy.Group = other()
	if result, err := c.Apply(t.Context(), plan); err != nil || result.Count(amicleanup.Removed) != 2 {
		t.Errorf("Apply: %v, %v, want 2 removed", outcomes(result), err)
	}
}

// Two policies that differ in the parameter of a key are two policies.
func TestFieldKeysWithOtherParameters(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	for i := range 4 {
		f.set(fmt.Sprint("ami-web", i), func(img *ec2types.Image) { img.Tags = tags("role", "web", "env", fmt.Sprint(i)) })
	}
	c := cleaner(f, amicleanup.NewestUsable(2))
	c.Policy.Group = amicleanup.ByTag("role")
	plan := mustPlan(t, c)
	c.Policy.Group = amicleanup.ByTag("env") // then each image is the newest of its group
	result, err := c.Apply(t.Context(), plan)
	if err != nil || result.Count(amicleanup.Skipped) != 2 || len(f.changes()) > 0 {
		t.Errorf("Apply: %v, %v, changes %v", outcomes(result), err, f.changes())
	}
}

// A limit to a fraction counts what goes once everything is known.
func TestFieldFractionOfKnownImages(t *testing.T) {
	f := newFake()
	f.series("web", 8)
	for _, i := range []int{3, 4, 5} {
		f.shares[fmt.Sprint("ami-web", i)] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	}
	c := cleaner(f, amicleanup.NewestUsable(2), amicleanup.Shared())
	c.Policy.Limits.Fraction = 0.5
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-web0", "ami-web1", "ami-web2"}) {
		t.Errorf("removals %v, want 0, 1, 2", got)
	}
	c.Policy.Limits.Fraction = 0.3
	plan := mustPlan(t, c)
	if got := why(plan, "ami-web0"); plan.Removals() > 0 || got != "is one of 3 to go of 8 in eu-west-1, which is more than the limit of 30 %" {
		t.Errorf("removals %v, kept because it %q", removals(plan), got)
	}
}

// Facts that are read image by image are read in rounds that double.
func TestFieldSharedChecksAreLinear(t *testing.T) {
	const images = 5_000
	f := newFake()
	for i := range images {
		id := fmt.Sprintf("ami-%05d", i)
		f.add(id, fmt.Sprintf("web %d", after(i).Unix()), nil)
		f.shares[id] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	}
	evaluations := 0
	count := amicleanup.NewRule("count", func(*amicleanup.Group) []amicleanup.Reason { evaluations++; return nil })
	c := cleaner(f, amicleanup.NewestUsable(1), amicleanup.Shared(), count)
	c.Policy.Limits.Removals = 10
	if plan := mustPlan(t, c); plan.Removals() != 0 {
		t.Errorf("removals %v", removals(plan))
	}
	if evaluations > 15 { // it was one for each ten images
		t.Errorf("Plan evaluated the policy %d times", evaluations)
	}
}

// Ids count wherever they stand in a parameter.
func TestFieldParametersWithIDsInside(t *testing.T) {
	w := newEstate(t, 7, nil, amicleanup.InUse(inuse.Standard()...))
	w.parameter("/region", "eu-west-1:"+w.ids[0], ssmtypes.ParameterTypeString)
	w.parameter("/json", `{"ami":"`+w.ids[1]+`"}`, ssmtypes.ParameterTypeString)
	w.parameter("/lines", "# images\n"+w.ids[2]+"\n  "+w.ids[3]+"\n", ssmtypes.ParameterTypeString)
	w.parameter("/ci/runner/ami", w.ids[4], ssmtypes.ParameterTypeString) // not below a path
	w.check(0, 1, 2, 3, 4)
}

func TestFieldGlobs(t *testing.T) {
	files := fstest.MapFS{
		"a.tf": {Data: []byte("ami-0000000a")}, "mod/deep/b.tf": {Data: []byte("ami-0000000b")},
		"mod/c.txt": {Data: []byte("ami-0000000c")}, "mod/deep/er/d.tf": {Data: []byte("eu-west-1=ami-0000000d;")},
	}
	for pattern, want := range map[string]string{
		"**/*.tf": "ami-0000000a, ami-0000000b, ami-0000000d", "mod/**": "ami-0000000b, ami-0000000c, ami-0000000d",
		"mod/**/*.tf": "ami-0000000b, ami-0000000d", "**/deep/*.tf": "ami-0000000b", "*.tf": "ami-0000000a",
	} {
		rule, err := amicleanup.IDsInFiles(files, pattern)
		if err != nil || rule.String() != "IDsInFiles("+want+")" {
			t.Errorf("IDsInFiles(%q) = %v, %v, want %s", pattern, rule, err, want)
		}
	}
	for _, pattern := range []string{"**/[", "**/*.md"} {
		if _, err := amicleanup.IDsInFiles(files, pattern); err == nil {
			t.Errorf("IDsInFiles(%q): no error", pattern)
		}
	}
}

// EC2 has recorded launches for years: an image of this year without one was never
// launched.
func TestFieldNeverLaunched(t *testing.T) {
	now := after(300 * 24)
	images := daily(12)
	for i := range images {
		images[i].Created = after(24 * i)
	}
	images[3].LastLaunched = now.Add(-10 * day)
	plan := evaluate(t, now, images, amicleanup.LaunchedWithin(90*amicleanup.Day))
	if got := kept(plan); !cmp.Equal(got, []string{"003", "011"}) { // the launched one and the newest
		t.Errorf("kept %v", got)
	}
}

// A source that is denied is one error of Plan and of Apply, and short on images.
func TestFieldDeniedSource(t *testing.T) {
	f := newFake()
	f.series("web", 50)
	f.fail = func(action, _ string) error {
		if action == "DescribeInstances" {
			return apiError("UnauthorizedOperation")
		}
		return nil
	}
	plan, err := cleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances())).Plan(t.Context())
	if target := new(amicleanup.TargetError); !errors.Is(err, amicleanup.ErrUsageUnknown) || !errors.As(err, &target) {
		t.Errorf("Plan: error %v", err)
	}
	if n := strings.Count(err.Error(), "DescribeInstances"); n != 1 {
		t.Errorf("the error says it %d times: %v", n, err)
	}
	var text strings.Builder
	if err := plan.WriteText(&text); err != nil || strings.Count(text.String(), "UnauthorizedOperation: ") != 1 {
		t.Errorf("%v\n%s", err, text.String())
	}
	if got := why(plan, "ami-web0"); got != "may be in use: instances could not be read" || plan.Removals() > 0 {
		t.Errorf("kept because it %q, removals %v", got, removals(plan))
	}
}

// Policy.Remove takes the newest of a group, but never what is in use or marked.
func TestFieldImagesThatMustGo(t *testing.T) {
	setup := func() *fake {
		f := newFake()
		f.series("old", 4)
		f.series("web", 2)
		used(f, "ami-old1", "i-1", ec2types.InstanceStateNameRunning)
		f.set("ami-old2", func(i *ec2types.Image) { i.Tags = tags("legal-hold", "") })
		f.set("ami-web1", func(i *ec2types.Image) { i.Tags = tags("delete-after", "2023-01-01") })
		f.set("ami-web0", func(i *ec2types.Image) { i.Tags = tags("delete-after", "2033-01-01") })
		return f
	}
	for _, tt := range []struct {
		match amicleanup.Match
		want  []string
	}{
		{amicleanup.Abandoned("old *"), []string{"ami-old0", "ami-old3"}},
		{amicleanup.WithID("ami-old3", "ami-old1", "ami-web0"), []string{"ami-old3", "ami-web0"}},
		{amicleanup.DeleteAfter("delete-after"), []string{"ami-web1"}},
	} {
		f := setup()
		c := cleaner(f, amicleanup.NewestUsable(5), amicleanup.InUse(inuse.Instances()), amicleanup.Marked())
		c.Policy.Remove = []amicleanup.Match{tt.match}
		plan := mustPlan(t, c)
		if got := removals(plan); !cmp.Equal(got, tt.want) {
			t.Errorf("%s: removals %v, want %v", tt.match, got, tt.want)
		}
		if result, err := c.Apply(t.Context(), plan); err != nil || result.Count(amicleanup.Removed) != len(tt.want) {
			t.Errorf("%s: Apply: %v, %v", tt.match, outcomes(result), err)
		}
	}
}

// An image that was copied or restored yesterday under its old name is young.
func TestFieldCreatedCounts(t *testing.T) {
	images := daily(3)
	now := after(100 * 24)
	for i := range images {
		images[i].Created = after(24 * i)
	}
	images[0].Created = now.Add(-day)
	plan := evaluate(t, now, images, amicleanup.YoungerThan(7*amicleanup.Day))
	if got := kept(plan); !cmp.Equal(got, []string{"000", "002"}) {
		t.Errorf("kept %v", got)
	}
	if got := why(plan, "ami-000"); got != "was created within 7 days" {
		t.Errorf("kept because it %q", got)
	}
}

// A locked snapshot is known before its image is gone.
func TestFieldLockedSnapshot(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	f.locked = []string{"snap-web0"}
	plan := mustPlan(t, cleaner(f, amicleanup.Newest(1), amicleanup.Locked()))
	if got := removals(plan); !cmp.Equal(got, []string{"ami-web1"}) || !cmp.Equal(evidence(plan, "ami-web0"), []string{"snap-web0"}) {
		t.Errorf("removals %v, evidence %v", got, evidence(plan, "ami-web0"))
	}
}

// Roles are of the partition of the region, with an external id if asked for.
func TestFieldRolePartitions(t *testing.T) {
	for region, want := range map[string]string{
		"us-gov-west-1": "arn:aws-us-gov:iam::" + home + ":role/ops/cleaner", "cn-north-1": "arn:aws-cn:iam::" + home + ":role/ops/cleaner",
		"eu-west-1": "arn:aws:iam::" + home + ":role/ops/cleaner", "us-iso-east-1": "arn:aws-iso:iam::" + home + ":role/ops/cleaner",
	} {
		sts := &roles{}
		cfg := fakeConfig(aws.Config{Region: region}, sts)
		own, err := amicleanup.AssumeRole(cfg, "/ops/cleaner", &amicleanup.RoleOptions{ExternalID: "x-1", SessionName: "nightly"})(home)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own.Credentials.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(sts.in.RoleArn); got != want || aws.ToString(sts.in.ExternalId) != "x-1" || aws.ToString(sts.in.RoleSessionName) != "nightly" {
			t.Errorf("%s: role %s, external id %v, session %v, want %s", region, got, sts.in.ExternalId, sts.in.RoleSessionName, want)
		}
	}
}

// A selection that matches nothing is an error that names images.
func TestFieldMisspelledSelection(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	for _, s := range []amicleanup.Select{{Name: "wep {unix}"}, {Tags: map[string]string{"role": "wep"}}} {
		c := cleaner(f, amicleanup.Newest(1))
		c.Policy.Select = s
		plan, err := c.Plan(t.Context())
		if !errors.Is(err, amicleanup.ErrNothingSelected) || !strings.Contains(err.Error(), "ami-web0 (web 1700000000)") || plan == nil {
			t.Errorf("%+v: Plan: error %v", s, err)
		}
	}
	if _, err := cleaner(newFake(), amicleanup.Newest(1)).Plan(t.Context()); err != nil {
		t.Errorf("Plan of an account without images: %v", err)
	}
}

// Snapshots without an image are items of the plan: reviewed, struck out, applied.
func TestFieldSnapshotsInReview(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.orphan("snap-a", nil)
	f.orphan("snap-b", nil)
	c := cleaner(f, amicleanup.Newest(1))
	c.Clock, c.Policy.Snapshots = &stepped{now: after(10 * 24)}, &amicleanup.SnapshotPolicy{}
	plan := mustPlan(t, c)
	var text, markdown strings.Builder
	if err := errors.Join(plan.WriteText(&text), plan.WriteMarkdown(&markdown)); err != nil || plan.Removals() != 3 ||
		!strings.Contains(text.String(), "    remove  snap-a") || !strings.Contains(markdown.String(), "| remove | `snap-a` |") {
		t.Errorf("%v, %d removals\n%s\n%s", err, plan.Removals(), text.String(), markdown.String())
	}
	plan.Targets[0].Snapshots = slices.DeleteFunc(plan.Targets[0].Snapshots, func(s amicleanup.SnapshotItem) bool { return s.Snapshot.ID == "snap-b" })
	f.orphan("snap-c", nil) // since
	result, err := c.Apply(t.Context(), plan)
	if err != nil || result.CountSnapshots(amicleanup.Removed) != 1 {
		t.Errorf("Apply: %+v, %v", result, err)
	}
	want := []string{"DeleteSnapshot snap-a", "DeregisterImage ami-web0"}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(f.changes()))); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// One release may have all images: the time is linear.
func TestFieldHugeReleaseIsLinear(t *testing.T) {
	evaluate := func(images int) time.Duration {
		list := make([]amicleanup.Image, images)
		for i := range list {
			list[i] = amicleanup.Image{
				ID: fmt.Sprintf("ami-%05d", i), Name: fmt.Sprintf("web%d %d", i/10, after(i).Unix()), State: "available",
				Tags: map[string]string{"commit": "1"}, Source: "ami-base", SourceInstance: "i-1",
			}
		}
		policy := amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}"}, Release: amicleanup.ByTag("commit"),
			Remove: []amicleanup.Match{amicleanup.Abandoned("*")}, Keep: []amicleanup.Rule{amicleanup.ParentOfKept()},
		}
		begun := cpuTime()
		if plan := policy.Evaluate(after(images), "r", list...); plan.Removals() != images {
			t.Errorf("%d removals, want %d", plan.Removals(), images)
		}
		policy.Remove = nil // then all of them stay for the newest
		if plan := policy.Evaluate(after(images), "r", list...); plan.Removals() != 0 {
			t.Errorf("%d removals, want none", plan.Removals())
		}
		return cpuTime() - begun
	}
	few, many := evaluate(2_000), evaluate(16_000)
	if many > 32*few { // eight times as much is linear, 64 times is quadratic
		t.Errorf("Evaluate took %s for 2,000 images and %s for 16,000", few, many)
	}
}

// A review can strike images out; the others go, and the limit counts those.
func TestFieldStruckOut(t *testing.T) {
	f := newFake()
	f.series("web", 5)
	c := cleaner(f, amicleanup.Newest(1))
	plan := mustPlan(t, c)
	items := plan.Targets[0].Items
	plan.Targets[0].Items = slices.DeleteFunc(items, func(i amicleanup.Item) bool { return i.Image.ID == "ami-web0" })
	c.Policy.Limits.Removals = 2
	if result, err := c.Apply(t.Context(), plan); err != nil || result.Count(amicleanup.Removed) != 2 {
		t.Errorf("Apply: %v, %v", outcomes(result), err)
	}
	if diff := cmp.Diff([]string{"DeregisterImage ami-web1", "DeregisterImage ami-web2"}, slices.Sorted(slices.Values(f.changes()))); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// The wait before Apply is logged.
func TestFieldWaitIsLogged(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	c := cleaner(f, amicleanup.Newest(1))
	var log strings.Builder
	c.Clock, c.SettleTime, c.Log = &stepped{now: after(48)}, 0, slog.New(slog.NewTextHandler(&log, nil))
	if _, err := c.Apply(t.Context(), mustPlan(t, c)); err != nil || !strings.Contains(log.String(), "waits for EC2 to show recent changes\" wait=30s") {
		t.Errorf("%v, log %s", err, log.String())
	}
}

// A removal costs about one call: images are read again many at a time.
func TestFieldOneCallForEachRemoval(t *testing.T) {
	f := newFake()
	f.series("web", 201)
	c := cleaner(f, amicleanup.Newest(1))
	plan := mustPlan(t, c)
	before := len(f.calls)
	if result, err := c.Apply(t.Context(), plan); err != nil || result.Count(amicleanup.Removed) != 200 {
		t.Fatalf("Apply: %v", err)
	}
	if n := len(f.calls) - before; n > 210 {
		t.Errorf("200 removals took %d calls", n)
	}
}

// Markdown fits into a comment, with totals and removals first.
func TestFieldMarkdownIsBounded(t *testing.T) {
	f := newFake()
	f.series("web", 2000)
	c := cleaner(f, amicleanup.Newest(1000))
	var text strings.Builder
	if err := mustPlan(t, c).WriteMarkdown(&text); err != nil || text.Len() > 65_000 {
		t.Errorf("WriteMarkdown: %d bytes, %v", text.Len(), err)
	}
	if got := text.String(); !strings.Contains(got, "1000 images to remove") || !strings.Contains(got, " more are not shown here.") {
		t.Errorf("the text has no totals:\n%s", got[:500])
	}
}

// roles is an STS that remembers what it was asked.
type roles struct{ in *sts.AssumeRoleInput }

func (r *roles) AssumeRole(_ context.Context, in *sts.AssumeRoleInput, _ ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	r.in = in
	return &sts.AssumeRoleOutput{Credentials: &ststypes.Credentials{
		AccessKeyId: aws.String("AKIA"), SecretAccessKey: aws.String("s"), SessionToken: aws.String("t"), Expiration: aws.Time(time.Now().Add(time.Hour)),
	}}, nil
}
