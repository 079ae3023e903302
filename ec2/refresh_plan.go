package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// A DetailedPublisher is a [bake.Publisher] that tells what Publish would do, for
// [Plan]: [InstanceRefresh].
type DetailedPublisher interface {
	bake.Publisher

	// PlanDetails returns lines about what Publish would do at each destination. It
	// creates nothing.
	PlanDetails(ctx context.Context, at Destination) ([]string, error)
}

// PlannedCalls returns the API actions that Publish calls if nothing fails.
func (p InstanceRefresh) PlannedCalls() []string {
	return []string{"CreateLaunchTemplateVersion", "StartInstanceRefresh"}
}

// place returns a destination as a place of groups.
func (p InstanceRefresh) targetsAt(ctx context.Context, at Destination) ([]*refreshTarget, error) {
	waves, err := p.findGroups(ctx, []refreshPlace{{region: at.Cloud.region(at.Region), where: at.Region}})
	return slices.Concat(waves...), err
}

// PlanDetails tells from which AMI each group would be rolled.
func (p InstanceRefresh) PlanDetails(ctx context.Context, at Destination) ([]string, error) {
	targets, err := p.targetsAt(ctx, at)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, t := range targets {
		g, err := t.groupState(ctx, t.group)
		if err != nil {
			return lines, fmt.Errorf("%s: %w", t, err)
		}
		lines = append(lines, fmt.Sprintf("wave %d: refreshes %s with %d instances, from %s (%s)", t.outcome.Wave, t, len(g.living()), g.image, g.launchVersion))
	}
	return lines, nil
}

// IAMPolicy returns the permissions that Preflight, Publish and RollBack need. Groups
// are named, or restricted by their tags. The permissions to launch and to pass roles
// are included, since Auto Scaling demands them of the caller.
func (p InstanceRefresh) IAMPolicy(regions ...string) *iampolicy.Document {
	const service = "autoscaling:"
	change := []string{service + "StartInstanceRefresh", service + "RollbackInstanceRefresh", service + "CancelInstanceRefresh"}
	g := grants{
		reading("DescribeLaunchTemplateVersions", "DescribeInstances", "DescribeImages"),
		{"Look", []string{service + "DescribeAutoScalingGroups", service + "DescribeInstanceRefreshes", service + "DescribeScalingActivities"}, []string{"*"}, nil},
	}
	for _, r := range regions {
		g = append(g, grant{"Publish", ec2Actions("CreateLaunchTemplateVersion"), arns("ec2", r, "launch-template/*"), nil})
		g = append(g, grant{"RefreshLaunches", ec2Actions("RunInstances"), arns("ec2", r, "*"), nil})
		for _, w := range p.Waves {
			var named []string
			for _, name := range w.Groups {
				named = append(named, "autoScalingGroup:*:autoScalingGroupName/"+name)
			}
			if len(named) > 0 {
				g = append(g, grant{"Refresh", change, scalingARNs(r, named), nil})
			}
			if len(w.Tags) > 0 {
				condition := map[string][]string{}
				for key, value := range w.Tags {
					condition["aws:ResourceTag/"+key] = []string{value}
				}
				g = append(g, grant{"Refresh", change, scalingARNs(r, []string{"autoScalingGroup:*:autoScalingGroupName/*"}), map[string]map[string][]string{"StringEquals": condition}})
			}
			if slices.ContainsFunc(w.Checks, func(c GroupCheck) bool { _, ok := bake.As[scriptedCheck](c); return ok }) {
				g = append(g, grant{"Check", []string{"ssm:SendCommand"}, append(arns("ec2", r, "instance/*"), "arn:"+iampolicy.Partition(r)+":ssm:"+r+"::document/AWS-RunShellScript"), nil},
					grant{"Look", []string{"ssm:GetCommandInvocation"}, []string{"*"}, nil})
			}
		}
		g = append(g, grant{"PassRole", []string{"iam:PassRole"}, []string{"arn:" + iampolicy.Partition(r) + ":iam::*:role/*"}, map[string]map[string][]string{
			"StringEquals": {"iam:PassedToService": {"ec2.amazonaws.com"}},
		}})
	}
	return g.document()
}

// A scriptedCheck is a GroupCheck that runs scripts by Systems Manager.
type scriptedCheck interface {
	usesSSM()
}

func (SSMCheck) usesSSM() {}

func scalingARNs(region string, resources []string) []string {
	out := make([]string, 0, len(resources))
	for _, name := range resources {
		out = append(out, "arn:"+iampolicy.Partition(region)+":autoscaling:"+region+":*:"+name)
	}
	return out
}

// Preflight reports groups that do not exist or that the AMI cannot be given to.
func (p InstanceRefresh) Preflight(ctx context.Context, at Destination) error {
	targets, err := p.targetsAt(ctx, at)
	errs := []error{err}
	o := &rollout{InstanceRefresh: p}
	for _, t := range targets {
		g, err := t.groupState(ctx, t.group)
		if err == nil {
			err = o.usable(g)
		}
		if err == nil && p.RefuseOthers {
			var past refreshHistory
			if past, err = t.refreshes(ctx); err == nil && past.active != nil {
				err = &RefreshInProgressError{t.group, past.active.id, past.active.image}
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t, err))
		}
	}
	return errors.Join(errs...)
}

// usable reports a group that could not be refreshed, or not rolled back.
func (o *rollout) usable(g *groupState) error {
	var errs []error
	for _, s := range g.SuspendedProcesses {
		if name := aws.ToString(s.ProcessName); slices.Contains([]string{"Launch", "Terminate", "InstanceRefresh", "HealthCheck", "ReplaceUnhealthy"}, name) {
			errs = append(errs, fmt.Errorf("its process %s is suspended, without which it cannot be refreshed: resume it", name))
		}
	}
	if !o.NoRollBack && g.usesParameter() {
		errs = append(errs, fmt.Errorf("%s takes its AMI from %s, whatever that has when an instance launches, so nothing can be rolled back to: "+
			"give the group a version with the id of an AMI, or set NoRollBack", g.launchVersion, strings.TrimPrefix(g.image, "resolve:ssm:")))
	}
	var protected, standby []string
	for _, i := range g.living() {
		switch id := aws.ToString(i.InstanceId); {
		case i.LifecycleState == scalingtypes.LifecycleStateStandby:
			standby = append(standby, id)
		case aws.ToBool(i.ProtectedFromScaleIn):
			protected = append(protected, id)
		}
	}
	if len(protected) > 0 && o.Preferences.Protected == "" {
		errs = append(errs, fmt.Errorf("instances %v are protected from scale in: set InstanceRefresh.Preferences.Protected", protected))
	}
	if len(standby) > 0 && o.Preferences.Standby == "" {
		errs = append(errs, fmt.Errorf("instances %v are in standby: set InstanceRefresh.Preferences.Standby", standby))
	}
	return errors.Join(errs...)
}
