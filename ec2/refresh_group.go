package ec2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A refreshPlace is a region of an account whose groups get an AMI.
type refreshPlace struct {
	*region

	where string // the region, with the account if it is not the Builder's
	image string
}

// A refreshTarget is a group to roll.
type refreshTarget struct {
	refreshPlace

	group   string
	checks  []GroupCheck
	outcome GroupOutcome
}

func (t *refreshTarget) String() string { return "auto scaling group " + t.group + " in " + t.where }

// findGroups returns the groups of each wave.
func (p InstanceRefresh) findGroups(ctx context.Context, at []refreshPlace) ([][]*refreshTarget, error) {
	var errs []error
	waves := make([][]*refreshTarget, len(p.Waves))
	for _, place := range at {
		seen := map[string]bool{}
		for _, w := range p.Waves { // a name outranks tags of earlier waves
			for _, name := range w.Groups {
				seen[name] = true
			}
		}
		for i, w := range p.Waves {
			names, err := place.groupNames(ctx, w)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", place.where, err))
			}
			for _, name := range names {
				if seen[name] && !slices.Contains(w.Groups, name) {
					continue
				}
				seen[name] = true
				waves[i] = append(waves[i], &refreshTarget{
					refreshPlace: place, group: name, checks: w.Checks,
					outcome: GroupOutcome{Group: name, Where: place.where, Wave: i + 1, Image: place.image, Status: GroupNotBegun},
				})
			}
		}
	}
	return waves, errors.Join(errs...)
}

// groupNames returns the names of a wave's groups.
func (r *region) groupNames(ctx context.Context, w Wave) ([]string, error) {
	var names []string
	if len(w.Groups) > 0 {
		found, err := r.scalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: w.Groups})
		if err != nil {
			return nil, err
		}
		var missing []string
		for _, name := range w.Groups {
			if !slices.ContainsFunc(found, func(g scalingtypes.AutoScalingGroup) bool { return aws.ToString(g.AutoScalingGroupName) == name }) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return nil, bake.Invalid("InstanceRefresh.Waves", "auto scaling group %s not found", strings.Join(missing, ", "))
		}
		names = append(names, w.Groups...)
	}
	if len(w.Tags) == 0 {
		return names, nil
	}
	in := &autoscaling.DescribeAutoScalingGroupsInput{}
	for _, key := range slices.Sorted(maps.Keys(w.Tags)) {
		in.Filters = append(in.Filters, scalingtypes.Filter{Name: aws.String("tag:" + key), Values: []string{w.Tags[key]}})
	}
	found, err := r.scalingGroups(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, bake.Invalid("InstanceRefresh.Waves", "no auto scaling group has the tags of %s", w)
	}
	for _, g := range found {
		if name := aws.ToString(g.AutoScalingGroupName); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r *region) scalingGroups(ctx context.Context, in *autoscaling.DescribeAutoScalingGroupsInput) ([]scalingtypes.AutoScalingGroup, error) {
	const perPage = 100
	in.MaxRecords = aws.Int32(perPage)
	var all []scalingtypes.AutoScalingGroup
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(r.scaling, in, func(o *autoscaling.DescribeAutoScalingGroupsPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *autoscaling.DescribeAutoScalingGroupsOutput) *string {
		all = append(all, page.AutoScalingGroups...)
		return page.NextToken
	})
	return all, err
}

// A groupState is what a group launches, and its instances.
type groupState struct {
	scalingtypes.AutoScalingGroup

	launchVersion

	pinned bool // the group names the version by its number
}

// A launchVersion is a version of a launch template.
type launchVersion struct {
	template    string // id
	version     string // number
	image       string // "resolve:ssm:NAME" if it is that of a parameter
	description string
}

func (v launchVersion) String() string {
	return fmt.Sprintf("version %s of launch template %s", v.version, v.template)
}

// usesParameter reports whether the image is what a parameter has at the launch.
func (v launchVersion) usesParameter() bool { return strings.HasPrefix(v.image, "resolve:ssm:") }

// groupState reads a group and the version of the launch template that it uses.
func (r *region) groupState(ctx context.Context, name string) (*groupState, error) {
	found, err := r.scalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || aws.ToString(found[0].AutoScalingGroupName) != name {
		return nil, fmt.Errorf("auto scaling group %s not found", name)
	}
	g := &groupState{AutoScalingGroup: found[0]}
	ref, err := g.templateRef()
	if err != nil {
		return nil, err
	}
	version := aws.ToString(ref.Version)
	if version == "" {
		version = "$Default"
	}
	g.pinned = !strings.HasPrefix(version, "$")
	g.launchVersion, err = r.templateVersion(ctx, ref, version)
	return g, err
}

// templateRef returns the group's reference to its launch template. It reports groups
// that an AMI cannot be given to.
func (g *groupState) templateRef() (*scalingtypes.LaunchTemplateSpecification, error) {
	if mixed := g.MixedInstancesPolicy; mixed != nil && mixed.LaunchTemplate != nil && mixed.LaunchTemplate.LaunchTemplateSpecification != nil {
		for i, o := range mixed.LaunchTemplate.Overrides {
			if o.LaunchTemplateSpecification != nil || aws.ToString(o.ImageId) != "" {
				return nil, fmt.Errorf("override %d of the mixed instances policy has a launch template or AMI of its own, which one AMI cannot replace: move its types to a group of its own", i+1)
			}
		}
		return mixed.LaunchTemplate.LaunchTemplateSpecification, nil
	}
	if g.LaunchTemplate != nil {
		return g.LaunchTemplate, nil
	}
	if config := aws.ToString(g.LaunchConfigurationName); config != "" {
		return nil, fmt.Errorf("it uses the launch configuration %s, which no refresh can change: copy it to a launch template, and give that to the group "+
			"(UpdateAutoScalingGroup with LaunchTemplate, version 1)", config)
	}
	return nil, errors.New("it uses no launch template")
}

// templateVersion reads a version of a launch template.
func (r *region) templateVersion(ctx context.Context, ref *scalingtypes.LaunchTemplateSpecification, version string) (launchVersion, error) {
	in := &awsec2.DescribeLaunchTemplateVersionsInput{Versions: []string{version}}
	if in.LaunchTemplateId = ref.LaunchTemplateId; in.LaunchTemplateId == nil {
		in.LaunchTemplateName = ref.LaunchTemplateName
	}
	out, err := r.client.DescribeLaunchTemplateVersions(ctx, in)
	if err != nil {
		return launchVersion{}, err
	}
	if len(out.LaunchTemplateVersions) != 1 {
		return launchVersion{}, fmt.Errorf("version %s of launch template %s not found", version, aws.ToString(ref.LaunchTemplateId))
	}
	return templateVersionOf(&out.LaunchTemplateVersions[0]), nil
}

func templateVersionOf(v *ec2types.LaunchTemplateVersion) launchVersion {
	made := launchVersion{
		template: aws.ToString(v.LaunchTemplateId), version: strconv.FormatInt(aws.ToInt64(v.VersionNumber), 10), description: aws.ToString(v.VersionDescription),
	}
	if v.LaunchTemplateData != nil {
		made.image = aws.ToString(v.LaunchTemplateData.ImageId)
	}
	return made
}

// desired returns the configuration of the group with another version.
func (g *groupState) desired(version string) *scalingtypes.DesiredConfiguration {
	ref := &scalingtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(g.template), Version: aws.String(version)}
	if g.MixedInstancesPolicy == nil {
		return &scalingtypes.DesiredConfiguration{LaunchTemplate: ref}
	}
	policy := *g.MixedInstancesPolicy
	launch := *policy.LaunchTemplate
	launch.LaunchTemplateSpecification = ref
	policy.LaunchTemplate = &launch
	return &scalingtypes.DesiredConfiguration{MixedInstancesPolicy: &policy}
}

// living returns the group's instances that are not about to terminate.
func (g *groupState) living() []scalingtypes.Instance {
	return slices.DeleteFunc(slices.Clone(g.Instances), func(i scalingtypes.Instance) bool {
		return strings.HasPrefix(string(i.LifecycleState), "Terminat")
	})
}

// strays returns the ids of the group's instances that do not run an image.
func (r *region) strays(ctx context.Context, g *groupState, image string) ([]string, error) {
	instances, err := r.instancesOf(ctx, g)
	var strays []string
	for _, i := range instances {
		if i.ImageID != image {
			strays = append(strays, i.ID)
		}
	}
	return strays, err
}

// instancesOf describes the group's living instances.
func (r *region) instancesOf(ctx context.Context, g *groupState) ([]GroupInstance, error) {
	living := g.living()
	if len(living) == 0 {
		return nil, nil
	}
	in := &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{filter("tag:aws:autoscaling:groupName", aws.ToString(g.AutoScalingGroupName))}}
	var found []GroupInstance
	pages := awsec2.NewDescribeInstancesPaginator(r.client, in, func(o *awsec2.DescribeInstancesPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeInstancesOutput) *string {
		for _, reservation := range page.Reservations {
			for i := range reservation.Instances {
				made := groupInstanceOf(&reservation.Instances[i])
				made.InService = slices.ContainsFunc(living, func(l scalingtypes.Instance) bool {
					return aws.ToString(l.InstanceId) == made.ID && l.LifecycleState == scalingtypes.LifecycleStateInService
				})
				found = append(found, made)
			}
		}
		return page.NextToken
	})
	return slices.DeleteFunc(found, func(i GroupInstance) bool {
		return !slices.ContainsFunc(living, func(l scalingtypes.Instance) bool { return aws.ToString(l.InstanceId) == i.ID })
	}), err
}
