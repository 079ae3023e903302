package amicleanup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// A duty is something that a program does with a cleaner, whose policy is
// compared with the calls that it makes.
type duty struct {
	name    string
	keep    []amicleanup.Keeper
	policy  amicleanup.Policy // besides Select and Keep
	options *amicleanup.IAMPolicyOptions
	tell    func(w *estate) *amicleanup.PolicyDocument // nil is the cleaner's, with the options
	before  func(w *estate)                            // is not counted
	run     func(w *estate)                            // nil is removeAll
}

// removeAll plans, applies with an answer that is lost, and applies again.
func removeAll(w *estate) {
	w.t.Helper()
	plan := mustPlan(w.t, w.cleaner)
	if plan.Removals() == 0 {
		w.t.Error("nothing is to be removed")
	}
	w.Fail(ec2test.Fault{Action: "DeregisterImage", When: ec2test.After})
	for range 2 {
		if _, err := w.cleaner.Apply(w.t.Context(), plan); err != nil {
			w.t.Error(err)
		}
	}
	w.Mend()
}

// climb takes images down a ladder, up again and all the way down.
func climb(rungs int) func(w *estate) {
	return func(w *estate) {
		night(w.t, w.cleaner)
		out, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: w.ids, Tags: tags("keep", "me")})
		do(w, out, err)
		if r := night(w.t, w.cleaner); r.Count(amicleanup.Restored) == 0 {
			w.t.Errorf("nothing was restored: %v", outcomes(r))
		}
		gone, err := w.ec2.DeleteTags(w.t.Context(), &awsec2.DeleteTagsInput{Resources: w.ids, Tags: tags("keep", "me")})
		do(w, gone, err)
		for range rungs {
			night(w.t, w.cleaner)
			time.Sleep(30 * day)
		}
		removeAll(w)
	}
}

// everyUse has every kind of thing launch the newest image, by every way that
// takes a call.
func everyUse(w *estate) {
	newest := w.ids[len(w.ids)-1]
	w.parameter("/web", newest)
	w.template("web", "resolve:ssm:/web")
	w.launchConfiguration("web", newest)
	w.group("configured", autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: aws.String("web")})
	w.group("templated", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("web", "1")})
	spot, err := w.ec2.RequestSpotFleet(w.t.Context(), &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &ec2types.SpotFleetRequestConfigData{
		IamFleetRole: aws.String("arn:aws:iam::123456789012:role/fleet"), TargetCapacity: aws.Int32(1),
		LaunchTemplateConfigs: []ec2types.LaunchTemplateConfig{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecification{LaunchTemplateName: aws.String("web"), Version: aws.String("1")},
		}},
	}})
	do(w, spot, err)
	fleet, err := w.ec2.CreateFleet(w.t.Context(), &awsec2.CreateFleetInput{
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)},
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("web"), Version: aws.String("1")},
		}},
	})
	do(w, fleet, err)
	w.cleaner.Targets[0].Clusters = &watchedClusters{clusters: &clusters{groups: []ekstypes.Nodegroup{{
		NodegroupName: aws.String("web"), LaunchTemplate: &ekstypes.LaunchTemplateSpecification{Name: aws.String("web"), Version: aws.String("1")},
	}}}}
}

// shareAll shares the images with another account.
func shareAll(w *estate) {
	for _, id := range w.ids {
		w.share(id)
	}
}

// retain makes rules of the Recycle Bin.
func retain(w *estate) {
	rules := rbin.NewFromConfig(w.Config(where))
	for _, kind := range []rbintypes.ResourceType{rbintypes.ResourceTypeEc2Image, rbintypes.ResourceTypeEbsSnapshot} {
		rule, err := rules.CreateRule(w.t.Context(), &rbin.CreateRuleInput{
			ResourceType: kind, RetentionPeriod: &rbintypes.RetentionPeriod{RetentionPeriodUnit: "DAYS", RetentionPeriodValue: aws.Int32(30)},
		})
		do(w, rule, err)
	}
	time.Sleep(time.Hour)
}

// forget leaves a snapshot of a build without its image.
func forget(w *estate) {
	img, _ := w.look(w.ids[0])
	tagged, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: snapshotsOf(img), Tags: tags("bakestone:build", "dead")})
	do(w, tagged, err)
	out, err := w.ec2.DeregisterImage(w.t.Context(), &awsec2.DeregisterImageInput{ImageId: &w.ids[0]})
	do(w, out, err)
	time.Sleep(2 * day)
}

func removeOrphans(w *estate, policy *amicleanup.OrphanPolicy) {
	plan, err := w.cleaner.PlanOrphans(w.t.Context(), policy)
	do(w, plan, err)
	if result, err := w.cleaner.ApplyOrphans(w.t.Context(), policy, plan); err != nil || result.Count(amicleanup.Removed) == 0 {
		w.t.Errorf("orphans: %+v, %v", result, err)
	}
}

func undo(w *estate, r *amicleanup.Result) {
	w.t.Helper()
	if out, err := w.cleaner.Undo(w.t.Context(), r); err != nil || out.Count(amicleanup.Restored) == 0 {
		w.t.Errorf("undone: %v, %v", outcomes(out), err)
	}
}

// nightly is a service with all that it can have.
func nightly(w *estate) *amicleanup.Service {
	return &amicleanup.Service{
		Cleaner: w.cleaner, Orphans: &amicleanup.OrphanPolicy{},
		Lock: &amicleanup.ParameterLock{Client: w.ssm, Name: "/amicleanup/lock"},
	}
}

// duties are, together, everything that asks for a permission.
func duties() []duty {
	keep := func(k ...amicleanup.Keeper) []amicleanup.Keeper { return k }
	builds := &amicleanup.OrphanPolicy{}
	planning := &amicleanup.IAMPolicyOptions{PlanOnly: true}
	plan := func(w *estate) { mustPlan(w.t, w.cleaner) }
	all := []duty{
		{name: "keeps everything", run: plan},
		{
			name: "keepers that read nothing", before: func(w *estate) {
				out, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: w.ids, Tags: tags("owner", "me")})
				do(w, out, err)
			},
			keep: keep(amicleanup.Newest(1), amicleanup.NewestUsable(1), amicleanup.Calendar{Daily: 1}, amicleanup.Tagged("keep", "*"),
				amicleanup.KeepUntil("until"), amicleanup.Public(), amicleanup.IDs("ami-1"), amicleanup.ParentOfKept()),
			policy: amicleanup.Policy{Release: amicleanup.SameBuild},
		},
		{name: "plans only", keep: keep(amicleanup.Newest(1)), options: planning, run: plan},
		{name: "shared", keep: keep(amicleanup.Shared())},
		{name: "image references", keep: keep(amicleanup.SecondOpinion(amicleanup.ImageReferences(0)))},
		{
			name: "usage reports", before: shareAll,
			keep: keep(amicleanup.SecondOpinion(amicleanup.UsageReports(nil)), amicleanup.Newest(1)),
		},
		{
			name: "recoverable", before: retain, keep: keep(amicleanup.Newest(1)),
			policy:  amicleanup.Policy{Limits: amicleanup.Limits{Recoverable: 7 * day}},
			options: &amicleanup.IAMPolicyOptions{Undo: true},
			run: func(w *estate) {
				r := night(w.t, w.cleaner)
				undo(w, r)
				time.Sleep(time.Minute)
				removeAll(w)
			},
		},
		{
			name: "deprecates", keep: keep(amicleanup.Tagged("keep", "*")), run: climb(1),
			policy: amicleanup.Policy{Ladder: amicleanup.Ladder{Deprecated: 7 * day}},
		},
		{
			name: "disables", before: shareAll, keep: keep(amicleanup.Tagged("keep", "*")), run: climb(1),
			policy: amicleanup.Policy{Ladder: amicleanup.Ladder{Disabled: 7 * day}},
		},
		{
			name: "deprecates and disables", before: shareAll, keep: keep(amicleanup.Tagged("keep", "*")),
			policy:  amicleanup.Policy{Ladder: amicleanup.Ladder{Deprecated: 7 * day, Disabled: 7 * day}},
			options: &amicleanup.IAMPolicyOptions{Undo: true},
			run: func(w *estate) {
				retain(w)
				undo(w, night(w.t, w.cleaner))
				night(w.t, w.cleaner)
				time.Sleep(8 * day)
				undo(w, night(w.t, w.cleaner))
				night(w.t, w.cleaner)
				time.Sleep(8 * day)
				undo(w, night(w.t, w.cleaner))
				time.Sleep(time.Minute)
				removeAll(w)
			},
		},
		{
			name: "orphans", before: forget, options: &amicleanup.IAMPolicyOptions{Orphans: builds},
			run: func(w *estate) { removeOrphans(w, builds) },
		},
		{
			name: "plans orphans", before: forget, options: &amicleanup.IAMPolicyOptions{Orphans: builds, PlanOnly: true},
			run: func(w *estate) {
				out, err := w.cleaner.PlanOrphans(w.t.Context(), builds)
				do(w, out, err)
			},
		},
		{
			name: "service", before: forget, keep: keep(amicleanup.Newest(1)),
			tell: func(w *estate) *amicleanup.PolicyDocument { return nightly(w).IAMPolicy(nil) },
			run: func(w *estate) {
				if round := nightly(w).Once(w.t.Context()); round.Err != nil || round.Orphans == nil || round.Held != "" {
					w.t.Errorf("round: %+v", round)
				}
			},
		},
		{
			name: "service that only plans", keep: keep(amicleanup.Newest(1)),
			tell: func(w *estate) *amicleanup.PolicyDocument {
				return (&amicleanup.Service{Cleaner: w.cleaner}).IAMPolicy(&amicleanup.IAMPolicyOptions{PlanOnly: true})
			},
			run: func(w *estate) {
				s := &amicleanup.Service{Cleaner: w.cleaner, Review: func(context.Context, *amicleanup.Plan) (bool, error) { return false, nil }}
				if round := s.Once(w.t.Context()); round.Err != nil || round.Held == "" {
					w.t.Errorf("round: %+v", round)
				}
			},
		},
		{
			name: "after bake", keep: keep(amicleanup.Newest(1)),
			tell: func(w *estate) *amicleanup.PolicyDocument {
				retire, _ := amicleanup.AfterBake(*w.cleaner).(ec2.PolicyPublisher)
				return retire.IAMPolicy(where)
			},
			run: func(w *estate) {
				removeAll(w)
				if err := amicleanup.AfterBake(*w.cleaner).Publish(w.t.Context(), artifact{where: w.ids[len(w.ids)-1]}); err != nil {
					w.t.Error(err)
				}
			},
		},
	}
	sources := append(amicleanup.AllSources(), amicleanup.NodeGroups(), amicleanup.AllLaunchTemplateVersions(),
		amicleanup.Parameters("/web"), amicleanup.AtLeast(0, amicleanup.Instances()))
	for _, s := range sources {
		all = append(all, duty{name: s.Name(), before: everyUse, keep: keep(amicleanup.InUse(s))})
	}
	return all
}

// TestIAMPolicyIsWhatTheCallsNeed does every duty and compares the calls that
// EC2 saw with what the policy allows: nothing is missing, and nothing is too
// much.
func TestIAMPolicyIsWhatTheCallsNeed(t *testing.T) {
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

func (d *duty) document(w *estate) *amicleanup.PolicyDocument {
	if d.tell != nil {
		return d.tell(w)
	}
	return w.cleaner.IAMPolicy(d.options)
}

// calledBy are the actions of a policy, without those that EC2 calls in turn.
func calledBy(d *amicleanup.PolicyDocument) []string {
	own := *d
	own.Statement = nil
	for _, s := range d.Statement {
		if s.Sid != "LookThroughEC2" {
			own.Statement = append(own.Statement, s)
		}
	}
	return own.Actions()
}

// actions are those of the calls since the first one, as a policy names them;
// those that the test itself makes are not among them.
func (w *estate) actions(first int) []string {
	var seen []string
	if c, ok := w.cleaner.Targets[0].Clusters.(*watchedClusters); ok {
		seen = c.seen
	}
	for _, c := range w.Calls()[first:] {
		service := "ec2"
		switch {
		case c.Action == "CreateRule":
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

// watchedClusters notes what is called.
type watchedClusters struct {
	*clusters

	mu   sync.Mutex
	seen []string
}

func (c *watchedClusters) note(action string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, "eks:"+action)
}

func (c *watchedClusters) ListClusters(ctx context.Context, in *eks.ListClustersInput, o ...func(*eks.Options)) (*eks.ListClustersOutput, error) {
	c.note("ListClusters")
	return c.clusters.ListClusters(ctx, in, o...)
}

func (c *watchedClusters) ListNodegroups(ctx context.Context, in *eks.ListNodegroupsInput, o ...func(*eks.Options)) (*eks.ListNodegroupsOutput, error) {
	c.note("ListNodegroups")
	return c.clusters.ListNodegroups(ctx, in, o...)
}

func (c *watchedClusters) DescribeNodegroup(ctx context.Context, in *eks.DescribeNodegroupInput, o ...func(*eks.Options)) (*eks.DescribeNodegroupOutput, error) {
	c.note("DescribeNodegroup")
	return c.clusters.DescribeNodegroup(ctx, in, o...)
}

// TestIAMPolicyKnowsEveryCall looks for API calls in the source of the package
// and wants each of them in the policy of some duty.
func TestIAMPolicyKnowsEveryCall(t *testing.T) {
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
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	call := regexp.MustCompile(`(?i:client|parameters|clusters|scaling)\.([A-Z]\w+)\(\w+,|\.New([A-Z]\w+)Paginator\(`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(source), -1) {
			calls = append(calls, m[1]+m[2])
		}
	}
	slices.Sort(calls)
	if calls = slices.Compact(calls); len(calls) < 35 {
		t.Fatalf("found only %v", calls)
	}
	for _, name := range calls {
		if !slices.Contains(known, name) {
			t.Errorf("%s is called, but the policy of no duty has it: complete iamtable.go and duties", name)
		}
	}
}

// allows reports whether a statement allows an action on exactly these
// resources under this condition.
func allows(d *amicleanup.PolicyDocument, action, resource, condition string) bool {
	for _, s := range d.Statement {
		if slices.Contains(s.Action, action) && slices.Equal(s.Resource, strings.Fields(resource)) && fmt.Sprint(s.Condition) == "map["+condition+"]" {
			return true
		}
	}
	return false
}

// TestIAMPolicyNamesResources looks at what the policy of a definition allows on
// which resources, under which conditions.
func TestIAMPolicyNamesResources(t *testing.T) {
	const images, snapshots = "arn:aws:ec2:eu-west-1::image/*", "arn:aws:ec2:eu-west-1::snapshot/*"
	f := newFake()
	c := cleaner(f, amicleanup.Newest(1), amicleanup.SecondOpinion(amicleanup.UsageReports(nil), amicleanup.ImageReferences(0)),
		amicleanup.InUse(amicleanup.Instances()))
	c.Policy.Ladder = amicleanup.Ladder{Deprecated: day, Disabled: day}
	want := func(d *amicleanup.PolicyDocument, action, resource, condition string) {
		t.Helper()
		if !allows(d, action, resource, condition) {
			t.Errorf("no statement allows %s on %s if %s:\n%s", action, resource, condition, d)
		}
	}
	all := c.IAMPolicy(&amicleanup.IAMPolicyOptions{Undo: true, Orphans: &amicleanup.OrphanPolicy{Except: map[string]string{"keep": "*"}}})
	want(all, "ec2:DescribeImages", "*", "")
	want(all, "ec2:DeregisterImage", images, "")
	want(all, "ec2:DeleteSnapshot", snapshots, "")
	want(all, "ec2:DeleteSnapshot", snapshots, "Null:map[aws:ResourceTag/keep:[true]] StringLike:map[aws:ResourceTag/bakestone:build:[*]]")
	want(all, "ec2:CreateTags", images, "ForAllValues:StringLike:map[aws:TagKeys:[bakestone:retired bakestone:shared:*]]")
	want(all, "ec2:ModifyImageAttribute", images, "")
	want(all, "ec2:RestoreSnapshotFromRecycleBin", snapshots, "")
	want(all, "ec2:CreateImageUsageReport", "arn:aws:ec2:eu-west-1:*:image-usage-report/* "+images, "")
	want(all, "imagebuilder:ListImageRecipes", "*", "ForAnyValue:StringEquals:map[aws:CalledVia:[ec2-images.amazonaws.com]]")

	// The tags that are selected by are a condition of every change.
	c.Policy.Select = amicleanup.Select{Baked: true, Tags: map[string]string{"team": "web", "pipeline": "*"}, Except: map[string]string{"keep": "*", "stage": "prod"}}
	baked := c.IAMPolicy(&amicleanup.IAMPolicyOptions{Orphans: &amicleanup.OrphanPolicy{Described: true, Tags: map[string]string{"team": "web"}}})
	selected := "Null:map[aws:ResourceTag/keep:[true]] StringEquals:map[aws:ResourceTag/team:[web]] " +
		"StringLike:map[aws:ResourceTag/bakestone:build:[*] aws:ResourceTag/pipeline:[*]] StringNotEquals:map[aws:ResourceTag/stage:[prod]]"
	want(baked, "ec2:DeregisterImage", images, selected)
	want(baked, "ec2:DisableImage", images, selected)
	want(baked, "ec2:EnableImageDeprecation", images, selected)
	want(baked, "ec2:DeleteTags", images, "ForAllValues:StringLike:map[aws:TagKeys:[bakestone:retired bakestone:shared:*]] "+selected)
	want(baked, "ec2:DeleteSnapshot", snapshots, "StringLike:map[aws:ResourceTag/bakestone:build:[*]]")
	want(baked, "ec2:DeleteSnapshot", snapshots, "") // Described takes snapshots without tags
	if slices.ContainsFunc(baked.Actions(), func(a string) bool { return strings.Contains(a, "RecycleBin") && strings.Contains(a, "Restore") }) {
		t.Errorf("may undo: %s", baked)
	}

	// Accounts and regions.
	c.Targets = append(c.Targets, amicleanup.Target{Account: "b", Region: "us-east-1", Client: f}, amicleanup.Target{Account: "b", Region: "cn-north-1", Client: f})
	want(c.IAMPolicy(nil), "ec2:DeregisterImage", "arn:aws-cn:ec2:cn-north-1::image/* "+images+" arn:aws:ec2:us-east-1::image/*", selected)
	want(c.IAMPolicy(&amicleanup.IAMPolicyOptions{Accounts: []string{"b"}}), "ec2:DeregisterImage", "arn:aws-cn:ec2:cn-north-1::image/* arn:aws:ec2:us-east-1::image/*", selected)
	if none := c.IAMPolicy(&amicleanup.IAMPolicyOptions{Accounts: []string{"c"}}); len(none.Statement) > 0 {
		t.Errorf("an account without targets: %s", none)
	}
	if none := (&amicleanup.Service{Cleaner: c}).IAMPolicy(&amicleanup.IAMPolicyOptions{Accounts: []string{"c"}}); len(none.Statement) > 0 {
		t.Errorf("a service in an account without targets: %s", none)
	}
	lock := &amicleanup.ParameterLock{Name: "/amicleanup/lock"}
	want(lock.IAMPolicy(), "ssm:PutParameter", "arn:aws:ssm:*:*:parameter/amicleanup/lock", "")
}

// A source of the caller's own says what it calls.
type buckets struct{}

func (buckets) Name() string { return "buckets" }
func (buckets) References(context.Context, amicleanup.Target) ([]amicleanup.Reference, error) {
	return nil, nil
}
func (buckets) IAMActions() []string { return []string{"s3:ListAllMyBuckets"} }

// TestIAMPolicyTogether wants what an image, its AfterBake and a clean-up need
// in one policy, also for sources and opinions that are the caller's own.
func TestIAMPolicyTogether(t *testing.T) {
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	cloud := ec2.NewCloud(server.Config(where), nil)
	target := func(region string) amicleanup.Target {
		return amicleanup.Connect(cloud.Config(region), &amicleanup.ConnectOptions{NoCallLimits: true})
	}
	retire := amicleanup.AfterBake(amicleanup.Cleaner{
		Targets: []amicleanup.Target{target(where), target("us-east-1")},
		Policy:  amicleanup.Policy{Select: amicleanup.Select{Baked: true}, Keep: []amicleanup.Keeper{amicleanup.Newest(5)}},
	})
	img := &bake.Image{Name: "web", Builder: ec2.Builder{Cloud: cloud, Source: ec2.ImageID("ami-1")}, Publishers: []bake.Publisher{retire}}
	job := &amicleanup.Cleaner{Targets: []amicleanup.Target{target("us-west-2")}, Policy: amicleanup.Policy{
		Keep: []amicleanup.Keeper{
			amicleanup.InUse(amicleanup.AtLeast(1, buckets{})),
			amicleanup.SecondOpinion(amicleanup.Opinion{Name: "mine", IAMActions: []string{"tag:GetResources"}}),
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
		t.Errorf("of AfterBake it has a region where the image is not:\n%s", both)
	}
	img.Publishers = nil
	if extra := len(baking.Statement) - len(ec2.Policy(cloud, img).Statement); extra != 0 {
		t.Errorf("AfterBake takes %d statements more, though it removes what the image may remove:\n%s", extra, baking)
	}
}
