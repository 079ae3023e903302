package amicleanup_test

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/imagebuilder"
	buildertypes "github.com/aws/aws-sdk-go-v2/service/imagebuilder/types"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// A duty is something that a program does with a cleaner, whose policy is
// compared with the calls that it makes.
type duty struct {
	name    string
	keep    []amicleanup.Rule
	policy  amicleanup.Policy // besides Select and Keep
	options *amicleanup.IAMPolicyOptions
	tell    func(w *estate) *iampolicy.Document // nil is the cleaner's, with the options
	before  func(w *estate)                     // is not counted
	run     func(w *estate)                     // nil is removeAll
}

// removeAll plans, applies with an answer that is lost, and applies again.
func removeAll(w *estate) {
	w.t.Helper()
	plan := mustPlan(w.t, w.cleaner)
	if plan.Removals() == 0 {
		w.t.Error("Plan: no removals, want some")
	}
	w.Fail(ec2test.Fault{Action: "DeregisterImage", When: ec2test.After})
	for range 2 {
		if _, err := w.cleaner.Apply(w.t.Context(), plan); err != nil {
			w.t.Error(err)
		}
	}
	w.Mend()
}

// climb takes images down a lifecycle, back, and all the way down.
func climb(steps int) func(w *estate) {
	return func(w *estate) {
		night(w.t, w.cleaner)
		out, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: w.ids, Tags: tags("keep", "me")})
		do(w, out, err)
		if r := night(w.t, w.cleaner); r.Count(amicleanup.Restored) == 0 {
			w.t.Errorf("nothing was restored: %v", outcomes(r))
		}
		gone, err := w.ec2.DeleteTags(w.t.Context(), &awsec2.DeleteTagsInput{Resources: w.ids, Tags: tags("keep", "me")})
		do(w, gone, err)
		for range steps {
			night(w.t, w.cleaner)
			time.Sleep(30 * day)
		}
		removeAll(w)
	}
}

// everyUse makes everything that can launch the newest image, in every way that needs
// a call.
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
	w.clusters = &watchedClusters{clusters: &clusters{groups: []ekstypes.Nodegroup{{
		NodegroupName: aws.String("web"), LaunchTemplate: &ekstypes.LaunchTemplateSpecification{Name: aws.String("web"), Version: aws.String("1")},
	}}}}
	w.cleaner.Targets[0].Config = fakeConfig(w.cleaner.Targets[0].Config, w.clusters)
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

func removeOrphans(w *estate) {
	if result, err := w.cleaner.Apply(w.t.Context(), mustPlan(w.t, w.cleaner)); err != nil || result.CountSnapshots(amicleanup.Removed) == 0 {
		w.t.Errorf("orphans: %+v, %v", result, err)
	}
}

func undo(w *estate, r *amicleanup.Result) {
	w.t.Helper()
	if out, err := w.cleaner.Undo(w.t.Context(), r); err != nil || out.Count(amicleanup.Restored) == 0 {
		w.t.Errorf("Undo: %v, %v", outcomes(out), err)
	}
}

// nightly returns a service with everything that it can have.
func nightly(w *estate) *service.Service {
	return &service.Service{
		Cleaner: w.cleaner,
		Lock:    &service.ParameterLock{Config: w.Config(where), Name: "/amicleanup/lock"},
	}
}

// duties returns everything that needs a permission.
func duties() []duty {
	keep := func(k ...amicleanup.Rule) []amicleanup.Rule { return k }
	builds := amicleanup.Policy{Snapshots: &amicleanup.SnapshotPolicy{}}
	planning := &amicleanup.IAMPolicyOptions{PlanOnly: true}
	plan := func(w *estate) { mustPlan(w.t, w.cleaner) }
	all := []duty{
		{name: "keeps everything", run: plan},
		{
			name: "rules that read nothing", before: func(w *estate) {
				out, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: w.ids, Tags: tags("owner", "me")})
				do(w, out, err)
			},
			keep: keep(amicleanup.Newest(1), amicleanup.NewestUsable(1), amicleanup.Calendar{Daily: 1}, amicleanup.Tagged("keep", "*"),
				amicleanup.KeepUntil("until"), amicleanup.Public(), amicleanup.IDs("ami-1"), amicleanup.ParentOfKept()),
			policy: amicleanup.Policy{Release: amicleanup.SameBuild()},
		},
		{name: "plans only", keep: keep(amicleanup.Newest(1)), options: planning, run: plan},
		{name: "shared", keep: keep(amicleanup.Shared())},
		{name: "image references", keep: keep(amicleanup.InUse(inuse.ImageReferences(0)))},
		{
			name: "usage reports", before: shareAll,
			keep: keep(amicleanup.InUse(inuse.UsageReports(nil)), amicleanup.Newest(1)),
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
			name: "lifts protection", keep: keep(amicleanup.Newest(1)),
			policy: amicleanup.Policy{LiftProtection: true},
			before: func(w *estate) {
				for _, id := range w.ids {
					out, err := w.ec2.EnableImageDeregistrationProtection(w.t.Context(), &awsec2.EnableImageDeregistrationProtectionInput{ImageId: &id})
					do(w, out, err)
				}
			},
			run: func(w *estate) {
				if r := night(w.t, w.cleaner); r.Count(amicleanup.Unprotected) == 0 {
					w.t.Errorf("Apply: %v, want images unprotected", outcomes(r))
				}
				removeAll(w)
			},
		},
		{
			name: "locked", keep: keep(amicleanup.Newest(1), amicleanup.Locked()),
		},
		{
			name: "deprecates", keep: keep(amicleanup.Tagged("keep", "*")), run: climb(1),
			policy: amicleanup.Policy{Lifecycle: amicleanup.Lifecycle{DeprecateFor: 7 * day}},
		},
		{
			name: "disables", before: shareAll, keep: keep(amicleanup.Tagged("keep", "*")), run: climb(1),
			policy: amicleanup.Policy{Lifecycle: amicleanup.Lifecycle{DisableFor: 7 * day}},
		},
		{
			name: "deprecates and disables", before: shareAll, keep: keep(amicleanup.Tagged("keep", "*")),
			policy:  amicleanup.Policy{Lifecycle: amicleanup.Lifecycle{DeprecateFor: 7 * day, DisableFor: 7 * day}},
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
			name: "orphans", before: forget, policy: builds,
			run: removeOrphans,
		},
		{
			name: "plans orphans", before: forget, policy: builds, options: planning, run: plan,
		},
		{
			name: "service", before: forget, policy: builds, keep: keep(amicleanup.Newest(1)),
			tell: func(w *estate) *iampolicy.Document { return nightly(w).IAMPolicy(nil) },
			run: func(w *estate) {
				if run := nightly(w).Once(w.t.Context()); run.Err != nil || run.Result.CountSnapshots(amicleanup.Removed) == 0 || run.Held != "" {
					w.t.Errorf("Once: %+v", run)
				}
			},
		},
		{
			name: "service that only plans", keep: keep(amicleanup.Newest(1)),
			tell: func(w *estate) *iampolicy.Document {
				return (&service.Service{Cleaner: w.cleaner}).IAMPolicy(&amicleanup.IAMPolicyOptions{PlanOnly: true})
			},
			run: func(w *estate) {
				s := &service.Service{Cleaner: w.cleaner, Review: func(context.Context, *amicleanup.Plan) (bool, error) { return false, nil }}
				if run := s.Once(w.t.Context()); run.Err != nil || run.Held == "" {
					w.t.Errorf("Once: %+v", run)
				}
			},
		},
		{
			name: "after bake", keep: keep(amicleanup.Newest(1)),
			tell: func(w *estate) *iampolicy.Document {
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
	sources := append(inuse.All(), inuse.AllLaunchTemplateVersions(),
		inuse.Parameters("/web"), inuse.SecureParameters(), inuse.SecureParameters("/web"), inuse.AtLeast(0, inuse.Instances()))
	for _, s := range sources {
		all = append(all, duty{name: s.Name, before: everyUse, keep: keep(amicleanup.InUse(s))})
	}
	return all
}

// watchedClusters records calls. It is also a Batch with an environment and an
// Image Builder with recipes.
type watchedClusters struct {
	*clusters

	mu   sync.Mutex
	seen []string
}

func (c *watchedClusters) note(action string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, action)
}

func (c *watchedClusters) ListClusters(ctx context.Context, in *eks.ListClustersInput, o ...func(*eks.Options)) (*eks.ListClustersOutput, error) {
	c.note("eks:ListClusters")
	return c.clusters.ListClusters(ctx, in, o...)
}

func (c *watchedClusters) ListNodegroups(ctx context.Context, in *eks.ListNodegroupsInput, o ...func(*eks.Options)) (*eks.ListNodegroupsOutput, error) {
	c.note("eks:ListNodegroups")
	return c.clusters.ListNodegroups(ctx, in, o...)
}

func (c *watchedClusters) DescribeNodegroup(ctx context.Context, in *eks.DescribeNodegroupInput, o ...func(*eks.Options)) (*eks.DescribeNodegroupOutput, error) {
	c.note("eks:DescribeNodegroup")
	return c.clusters.DescribeNodegroup(ctx, in, o...)
}

func (c *watchedClusters) DescribeComputeEnvironments(context.Context, *batch.DescribeComputeEnvironmentsInput, ...func(*batch.Options)) (*batch.DescribeComputeEnvironmentsOutput, error) {
	c.note("batch:DescribeComputeEnvironments")
	return &batch.DescribeComputeEnvironmentsOutput{ComputeEnvironments: []batchtypes.ComputeEnvironmentDetail{{
		ComputeResources: &batchtypes.ComputeResource{LaunchTemplate: &batchtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web")}},
	}}}, nil
}

func (c *watchedClusters) ListImageRecipes(context.Context, *imagebuilder.ListImageRecipesInput, ...func(*imagebuilder.Options)) (*imagebuilder.ListImageRecipesOutput, error) {
	c.note("imagebuilder:ListImageRecipes")
	return &imagebuilder.ListImageRecipesOutput{ImageRecipeSummaryList: []buildertypes.ImageRecipeSummary{
		{ParentImage: aws.String("ssm:/web")}, {ParentImage: aws.String("arn:aws:imagebuilder:eu-west-1:123456789012:image/web/x.x.x")},
	}}, nil
}

func (c *watchedClusters) ListContainerRecipes(context.Context, *imagebuilder.ListContainerRecipesInput, ...func(*imagebuilder.Options)) (*imagebuilder.ListContainerRecipesOutput, error) {
	c.note("imagebuilder:ListContainerRecipes")
	return &imagebuilder.ListContainerRecipesOutput{}, nil
}

func (c *watchedClusters) GetImage(context.Context, *imagebuilder.GetImageInput, ...func(*imagebuilder.Options)) (*imagebuilder.GetImageOutput, error) {
	c.note("imagebuilder:GetImage")
	return &imagebuilder.GetImageOutput{}, nil
}
