package amicleanup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

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

// Use by another target's account counts. Accounts that are not targets are known only
// from usage reports.
func TestTrapUsedByAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEstate(t, 5, &ec2test.Options{Latency: ec2test.Latency{UsageReport: time.Minute}}, amicleanup.InUse(inuse.Instances()))
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
	})
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

// A launch may make a volume of a snapshot that belongs to an old image, or to none.
func TestTrapAttachedSnapshot(t *testing.T) {
	tick := clock.NewVirtual(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	w := newEstate(t, 4, &ec2test.Options{Clock: tick}, amicleanup.InUse(inuse.LaunchTemplates(), inuse.AutoScalingGroups()))
	described, err := w.ec2.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: w.ids[:1]})
	ofImage := *do(w, described, err).Images[0].BlockDeviceMappings[0].Ebs.SnapshotId
	volume, err := w.ec2.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(where + "a"), Size: aws.Int32(1)})
	loose, err2 := w.ec2.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: do(w, volume, err).VolumeId, TagSpecifications: []ec2types.TagSpecification{
		{ResourceType: ec2types.ResourceTypeSnapshot, Tags: tags("bakestone:build", "b1")},
	}})
	ofNone := *do(w, loose, err2).SnapshotId
	w.template("data", w.ids[3])
	for _, snapshot := range []string{ofImage, ofNone} {
		out, err := w.ec2.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: aws.String("data"), SourceVersion: aws.String("1"),
			LaunchTemplateData: &ec2types.RequestLaunchTemplateData{BlockDeviceMappings: []ec2types.LaunchTemplateBlockDeviceMappingRequest{
				{DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.LaunchTemplateEbsBlockDeviceRequest{SnapshotId: &snapshot}},
			}},
		})
		version := do(w, out, err).LaunchTemplateVersion.VersionNumber
		w.group(snapshot, autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("data", fmt.Sprint(*version))})
	}
	last, err := w.ec2.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateName: aws.String("data"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &w.ids[3]},
	})
	do(w, last, err)
	w.cleaner.Policy.Snapshots = &amicleanup.SnapshotPolicy{}
	tick.Advance(2 * amicleanup.Day)
	plan := w.check(0)
	if why := verdicts(plan)[ofNone]; !strings.HasPrefix(why, "is attached by auto scaling group "+ofNone) {
		t.Errorf("%s is kept because it %q", ofNone, why)
	}
	w.Fail(ec2test.Fault{Action: "DescribeAutoScalingGroups", Code: "UnauthorizedOperation", Times: -1})
	unread, err := w.cleaner.Plan(t.Context())
	if why := verdicts(unread)[ofNone]; !errors.Is(err, amicleanup.ErrUsageUnknown) || why != "may be attached: auto scaling groups could not be read" {
		t.Errorf("groups not read: %s is kept because it %q, %v", ofNone, why, err)
	}
}
