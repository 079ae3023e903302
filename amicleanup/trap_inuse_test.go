package amicleanup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// A template without a group may be used by a person, a function or a pipeline.
func TestTrapTemplateWithoutGroup(t *testing.T) {
	w := newEstate(t, 4, nil, amicleanup.InUse(inuse.LaunchTemplates()))
	w.template("lonely", w.ids[1])
	w.check(1)
}

// After a rollback the default of a template is older than its newest version.
func TestTrapDefaultVersionAfterRollback(t *testing.T) {
	w := newEstate(t, 5, nil, amicleanup.InUse(inuse.LaunchTemplates()))
	w.template("web", w.ids[0], w.ids[1], w.ids[2], w.ids[3])
	w.makeDefault("web", "2")
	w.check(1, 3)
}

// Tools that never remove versions of a template keep every image forever.
func TestTrapOldTemplateVersions(t *testing.T) {
	w := newEstate(t, 4, nil, amicleanup.InUse(inuse.LaunchTemplates()))
	w.template("web", w.ids...)
	w.makeDefault("web", "4")
	w.check()
	w.cleaner.Policy.Keep = []amicleanup.Rule{amicleanup.InUse(inuse.AllLaunchTemplateVersions())}
	w.check(0, 1, 2)
}

// A group may be pinned to a version that is neither the default nor the
// newest, and so may its overrides.
func TestTrapVersionNamedByGroup(t *testing.T) {
	w := newEstate(t, 9, nil, amicleanup.InUse(inuse.LaunchTemplates(), inuse.AutoScalingGroups()))
	last := w.ids[8]
	w.template("web", w.ids[0], w.ids[1], last)
	w.makeDefault("web", "3")
	w.template("arm", w.ids[2], last)
	w.makeDefault("arm", "2")
	w.group("pinned", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("web", "2")})
	w.group("mixed", autoscaling.CreateAutoScalingGroupInput{MixedInstancesPolicy: &scalingtypes.MixedInstancesPolicy{LaunchTemplate: &scalingtypes.LaunchTemplate{
		LaunchTemplateSpecification: named("web", "$Latest"),
		Overrides: []scalingtypes.LaunchTemplateOverrides{
			{InstanceType: aws.String("m7g.large"), LaunchTemplateSpecification: named("arm", "1")},
			{InstanceType: aws.String("m7i.large"), ImageId: aws.String(w.ids[3])},
		},
	}}})
	w.launchConfiguration("attached", w.ids[4])
	w.launchConfiguration("loose", w.ids[5])
	w.group("old", autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: aws.String("attached")})
	plan := w.check(1, 2, 3, 4)
	want := fmt.Sprintf("auto scaling group pinned through launch template %s version 2", w.templateID("web"))
	if got := evidence(plan, w.ids[1]); !slices.Equal(got, []string{want}) {
		t.Errorf("evidence %q, want %q", got, want)
	}
	w.cleaner.Policy.Keep = append(w.cleaner.Policy.Keep, amicleanup.InUse(inuse.LaunchConfigurations()))
	w.check(1, 2, 3, 4, 5)
}

// A running refresh may bring a template that is not yet on its group.
func TestTrapRefreshTarget(t *testing.T) {
	clock := clock.NewVirtual(after(100))
	w := newEstate(t, 4, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Refresh: time.Hour}}, amicleanup.InUse(inuse.AutoScalingGroups()))
	w.template("next", w.ids[1], w.ids[3])
	w.template("now", w.ids[2])
	w.group("web", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("now", "$Default")})
	out, err := w.scaling.StartInstanceRefresh(t.Context(), &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String("web"), DesiredConfiguration: &scalingtypes.DesiredConfiguration{LaunchTemplate: named("next", "1")},
	})
	do(w, out, err)
	w.check(1, 2)
	clock.Advance(time.Hour)
	w.check(1)

	// A canceled refresh launches nothing.
	w.template("never", w.ids[0], w.ids[3])
	out, err = w.scaling.StartInstanceRefresh(t.Context(), &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String("web"), DesiredConfiguration: &scalingtypes.DesiredConfiguration{LaunchTemplate: named("never", "1")},
	})
	do(w, out, err)
	w.check(0, 1)
	cancelled, err := w.scaling.CancelInstanceRefresh(t.Context(), &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: aws.String("web")})
	do(w, cancelled, err)
	w.check(1)
}

// Spot requests and fleets launch long after they were made.
func TestTrapSpotAndFleets(t *testing.T) {
	w := newEstate(t, 8, nil, amicleanup.InUse(inuse.SpotRequests(), inuse.SpotFleets(), inuse.Fleets()))
	w.template("fleet", w.ids[2], w.ids[3], w.ids[7])
	w.makeDefault("fleet", "3")
	ctx := t.Context()
	request := func(image string) string {
		out, err := w.ec2.RequestSpotInstances(ctx, &awsec2.RequestSpotInstancesInput{
			Type: ec2types.SpotInstanceTypePersistent, LaunchSpecification: &ec2types.RequestSpotLaunchSpecification{ImageId: &image, InstanceType: "t3.micro"},
		})
		return *do(w, out, err).SpotInstanceRequests[0].SpotInstanceRequestId
	}
	request(w.ids[0])
	gone := request(w.ids[4])
	cancelled, err := w.ec2.CancelSpotInstanceRequests(ctx, &awsec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{gone}})
	do(w, cancelled, err)
	spotFleet := func(config ec2types.SpotFleetRequestConfigData) {
		config.IamFleetRole, config.TargetCapacity = aws.String("arn:aws:iam::123456789012:role/fleet"), aws.Int32(1)
		out, err := w.ec2.RequestSpotFleet(ctx, &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &config})
		do(w, out, err)
	}
	spotFleet(ec2types.SpotFleetRequestConfigData{LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: &w.ids[1]}}})
	spotFleet(ec2types.SpotFleetRequestConfigData{LaunchTemplateConfigs: []ec2types.LaunchTemplateConfig{{
		LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecification{LaunchTemplateName: aws.String("fleet"), Version: aws.String("1")},
	}}})
	fleet, err := w.ec2.CreateFleet(ctx, &awsec2.CreateFleetInput{
		TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)},
		LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
			LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: aws.String("fleet"), Version: aws.String("2")},
		}},
	})
	do(w, fleet, err)
	w.check(0, 1, 2, 3)
	ended, err := w.ec2.DeleteFleets(ctx, &awsec2.DeleteFleetsInput{FleetIds: []string{*fleet.FleetId}, TerminateInstances: aws.Bool(true)})
	do(w, ended, err)
	w.check(0, 1, 2)
}

// clusters is an EKS with one node group to a page.
type clusters struct {
	groups []ekstypes.Nodegroup
	err    error
}

func (c *clusters) ListClusters(context.Context, *eks.ListClustersInput, ...func(*eks.Options)) (*eks.ListClustersOutput, error) {
	return &eks.ListClustersOutput{Clusters: []string{"prod"}}, c.err
}

func (c *clusters) ListNodegroups(_ context.Context, in *eks.ListNodegroupsInput, _ ...func(*eks.Options)) (*eks.ListNodegroupsOutput, error) {
	at := len(aws.ToString(in.NextToken))
	out := &eks.ListNodegroupsOutput{Nodegroups: []string{*c.groups[at].NodegroupName}}
	if at+1 < len(c.groups) {
		out.NextToken = aws.String(strings.Repeat("x", at+1))
	}
	return out, nil
}

func (c *clusters) DescribeNodegroup(_ context.Context, in *eks.DescribeNodegroupInput, _ ...func(*eks.Options)) (*eks.DescribeNodegroupOutput, error) {
	for i := range c.groups {
		if *c.groups[i].NodegroupName == *in.NodegroupName {
			return &eks.DescribeNodegroupOutput{Nodegroup: &c.groups[i]}, nil
		}
	}
	return nil, &ekstypes.ResourceNotFoundException{}
}

// A monthly pruning left EKS without the image of its nodes: a node group
// launches from the version that it names, also when it has no nodes.
func TestTrapNodeGroups(t *testing.T) {
	w := newEstate(t, 5, nil, amicleanup.InUse(inuse.NodeGroups()))
	id := w.template("nodes", w.ids[1], w.ids[4])
	w.makeDefault("nodes", "2")
	fake := &clusters{groups: []ekstypes.Nodegroup{
		{NodegroupName: aws.String("plain"), ReleaseVersion: aws.String("1.33.1-20261101")},
		{NodegroupName: aws.String("own"), LaunchTemplate: &ekstypes.LaunchTemplateSpecification{Id: &id, Version: aws.String("1")}},
		{NodegroupName: aws.String("custom"), ReleaseVersion: &w.ids[2]},
	}}
	w.cleaner.Targets[0].Config = fakeConfig(w.cleaner.Targets[0].Config, fake)
	plan := w.check(1, 2)
	if got := evidence(plan, w.ids[2]); !slices.Equal(got, []string{"node group prod/custom"}) {
		t.Errorf("evidence %q", got)
	}
	fake.err = apiError("AccessDeniedException")
	w.check(0, 1, 2, 3)
}

// Use by another target's account counts. Accounts that are not targets are known only
// from usage reports.
func TestTrapUsedByAnotherAccount(t *testing.T) {
	clock := clock.Scaled(1000)
	w := newEstate(t, 5, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{UsageReport: time.Minute}}, amicleanup.InUse(inuse.Instances()))
	for _, id := range w.ids[:3] {
		out, err := w.ec2.ModifyImageAttribute(t.Context(), &awsec2.ModifyImageAttributeInput{ImageId: &id, LaunchPermission: &ec2types.LaunchPermissionModifications{
			Add: []ec2types.LaunchPermission{{UserId: aws.String(neighbour)}},
		}})
		do(w, out, err)
	}
	theirs := awsec2.NewFromConfig(w.ConfigFor(neighbour, where))
	out, err := theirs.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: &w.ids[0], MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro"})
	do(w, out, err)
	made, err := theirs.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("theirs"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &w.ids[1]},
	})
	do(w, made, err)
	w.check()

	reports := amicleanup.InUse(inuse.UsageReports(nil))
	own := w.cleaner.Policy.Keep
	w.cleaner.Policy.Keep = append(slices.Clone(own), reports)
	plan := w.check(0, 1)
	if got := evidence(plan, w.ids[0]); !slices.Equal(got, []string{"account " + neighbour + " with 1 of ec2:Instance"}) {
		t.Errorf("evidence %q", got)
	}
	w.check(0, 1)
	if n := w.CallCount("CreateImageUsageReport"); n != 3 {
		t.Errorf("%d reports, want one for each shared image and no second", n)
	}
	w.Fail(ec2test.Fault{Action: "DescribeImageUsageReportEntries", Code: "UnauthorizedOperation", Times: -1})
	w.check(0, 1, 2, 3)
	w.Mend()

	w.cleaner.Targets = append(w.cleaner.Targets, w.target(neighbour))
	w.cleaner.Policy.Keep = append(slices.Clone(own), amicleanup.InUse(inuse.LaunchTemplates()))
	w.check(0, 1)
}

// EC2's image references include recipes of Image Builder, and terminated instances by
// default. Apply asks again.
func TestTrapImageReferences(t *testing.T) {
	w := newEstate(t, 6, nil, amicleanup.InUse(inuse.ImageReferences(0)))
	recipe := func(name, id string) {
		if err := w.SetImageRecipe(where, name, id); err != nil {
			t.Fatal(err)
		}
	}
	recipe("base", w.ids[0])
	run, err := w.ec2.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: &w.ids[1], MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro"})
	do(w, run, err)
	ended, err := w.ec2.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{*run.Instances[0].InstanceId}})
	do(w, ended, err)
	w.launchConfiguration("unknown to it", w.ids[2])
	plan := w.check(0)
	recipe("late", w.ids[3])
	result, err := w.cleaner.Apply(t.Context(), plan)
	if err != nil || result.Count(amicleanup.Skipped) != 1 || result.Count(amicleanup.Removed) != 3 {
		t.Errorf("Apply: %v, %v", outcomes(result), err)
	}
	w.Fail(ec2test.Fault{Action: "DescribeImageReferences", Code: "UnauthorizedOperation", Times: -1})
	if plan, err := w.cleaner.Plan(t.Context()); !errors.Is(err, amicleanup.ErrUsageUnknown) || plan.Removals() != 0 {
		t.Errorf("Plan without an answer: %d removals, error %v", plan.Removals(), err)
	}
}
