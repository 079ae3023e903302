package amicleanup_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// loop answers with the same page forever.
type loop struct{ *fake }

func (l loop) DescribeImages(ctx context.Context, in *awsec2.DescribeImagesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeImagesOutput, error) {
	out, err := l.fake.DescribeImages(ctx, in, opts...)
	if err == nil {
		out.NextToken = aws.String("0")
	}
	return out, err
}

func used(f *fake, image, instance string, state ec2types.InstanceStateName) {
	f.instances = append(f.instances, ec2types.Instance{
		ImageId: aws.String(image), InstanceId: aws.String(instance), State: &ec2types.InstanceState{Name: state},
	})
}

func template(image string) ec2types.LaunchTemplateVersion {
	return ec2types.LaunchTemplateVersion{
		LaunchTemplateId: aws.String("lt-1"), VersionNumber: aws.Int64(3),
		LaunchTemplateData: &ec2types.ResponseLaunchTemplateData{ImageId: aws.String(image)},
	}
}

func TestInUse(t *testing.T) {
	f := newFake()
	f.series("web", 5)
	used(f, "ami-web0", "i-stopped", ec2types.InstanceStateNameStopped)
	used(f, "ami-web1", "i-dead", ec2types.InstanceStateNameTerminated)
	f.templates = []ec2types.LaunchTemplateVersion{template("ami-web2"), {LaunchTemplateId: aws.String("lt-2")}}
	c := cleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates()))
	plan := mustPlan(t, c)
	if diff := cmp.Diff([]string{"ami-web1", "ami-web3"}, removals(plan)); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	var evidence []string
	for _, item := range plan.Targets[0].Items {
		for _, r := range item.Reasons {
			evidence = append(evidence, r.Evidence...)
		}
	}
	if diff := cmp.Diff([]string{"launch template lt-1 version 3", "instance i-stopped"}, evidence); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
	used(f, "ami-web1", "i-new", ec2types.InstanceStateNamePending)
	result, err := c.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ami-web1 skipped", "ami-web3 removed", "snap-web3 removed"}
	if diff := cmp.Diff(want, outcomes(result)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestUnreadSourceKeepsImages(t *testing.T) {
	fail := func(f *fake) {
		f.fail = func(action, _ string) error {
			if action == "DescribeInstances" {
				return apiError("RequestLimitExceeded")
			}
			return nil
		}
	}
	inUse := amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates())

	f := newFake()
	f.series("web", 3)
	fail(f)
	plan, err := cleaner(f, amicleanup.Newest(1), inUse).Plan(t.Context())
	if !errors.Is(err, amicleanup.ErrUsageUnknown) || strings.Count(err.Error(), "RequestLimitExceeded: ") != 1 || plan.Removals() != 0 {
		t.Errorf("Plan: removals %v, error %v, want none and one error", removals(plan), err)
	}
	if r := plan.Targets[0].Items[2].Reasons; len(r) != 1 || !r[0].Blocked || r[0].Text != "may be in use: instances could not be read" {
		t.Errorf("reasons %+v", r)
	}

	f = newFake()
	f.series("web", 3)
	f.templates = []ec2types.LaunchTemplateVersion{template("resolve:ssm:/web")}
	if plan, err := cleaner(f, amicleanup.Newest(1), inUse).Plan(t.Context()); err == nil || plan.Removals() != 0 {
		t.Errorf("with a parameter: removals %v", removals(plan))
	}

	f = newFake()
	f.series("web", 3)
	c := cleaner(f, amicleanup.Newest(1), inUse)
	plan = mustPlan(t, c)
	fail(f)
	result, err := c.Apply(t.Context(), plan)
	if !errors.Is(err, amicleanup.ErrUsageUnknown) || result.Count(amicleanup.Skipped) != 2 {
		t.Errorf("Apply: %v, %v", outcomes(result), err)
	}
}

// An image may be used by another account of the same region.
func TestInUseByAnotherAccount(t *testing.T) {
	home, other, far := newFake(), newFake(), newFake()
	home.series("web", 3)
	used(other, "ami-web0", "i-1", ec2types.InstanceStateNameRunning)
	far.fail = func(string, string) error { return apiError("OptInRequired") }
	c := cleaner(home, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
	c.Targets = append(c.Targets,
		accountTarget("b", "eu-west-1", other),
		target("us-east-1", far))
	plan, err := c.Plan(t.Context())
	if err == nil || !cmp.Equal(removals(plan), []string{"ami-web1"}) {
		t.Errorf("removals %v, error %v", removals(plan), err)
	}
	other.fail = far.fail
	if plan, _ := c.Plan(t.Context()); plan.Removals() != 0 {
		t.Errorf("other account unknown: removals %v", removals(plan))
	}
}

// A long run reads again what is in use.
func TestInUseReadAgainDuringApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.series("web", 4)
		c := cleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
		c.Parallel = 1
		f.fail = func(action, id string) error {
			if action == "DeregisterImage" && id == "ami-web0" {
				time.Sleep(2 * time.Minute)
				used(f, "ami-web1", "i-new", ec2types.InstanceStateNamePending)
			}
			return nil
		}
		result := night(t, c)
		want := []string{"ami-web0 removed", "snap-web0 removed", "ami-web1 skipped", "ami-web2 removed", "snap-web2 removed"}
		if diff := cmp.Diff(want, outcomes(result)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if got := result.Images[1].Detail; got != "is used by instance i-new now" {
			t.Errorf("detail %q", got)
		}
		f.series("db", 4)
		f.fail = func(action, id string) error {
			switch {
			case action == "DeregisterImage" && id == "ami-db0":
				time.Sleep(2 * time.Minute)
				f.fail = func(action, _ string) error {
					if action == "DescribeInstances" {
						return apiError("RequestLimitExceeded")
					}
					return nil
				}
			}
			return nil
		}
		plan := mustPlan(t, c)
		result, err := c.Apply(t.Context(), plan)
		if !errors.Is(err, amicleanup.ErrUsageUnknown) || result.Count(amicleanup.Removed) != 1 || result.Count(amicleanup.NotTried) != 2 {
			t.Errorf("when it cannot be read again: %v, %v", outcomes(result), err)
		}
	})
}
