package amicleanup

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

// scalingPerPage is the most that Auto Scaling answers at once; unless it is
// asked to, it is half of that.
const scalingPerPage = 100

// LaunchConfigurations is the source of what launch configurations launch,
// whether or not a group has them. It needs Target.Scaling.
func LaunchConfigurations() Source { return launchConfigurations{} }

type launchConfigurations struct{}

func (launchConfigurations) Name() string { return "launch configurations" }

func (launchConfigurations) IAMActions() []string {
	return []string{"autoscaling:DescribeLaunchConfigurations"}
}

func (launchConfigurations) needs(t Target) string { return needsScaling(t) }

func needsScaling(t Target) string {
	if t.Scaling == nil {
		return "Scaling"
	}
	return ""
}

func (launchConfigurations) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	return g.finish(ctx, readLaunchConfigurations(ctx, t, func(c *scalingtypes.LaunchConfiguration) {
		g.image(aws.ToString(c.ImageId), "launch configuration "+aws.ToString(c.LaunchConfigurationName))
	}))
}

func readLaunchConfigurations(ctx context.Context, t Target, each func(*scalingtypes.LaunchConfiguration)) error {
	pages := autoscaling.NewDescribeLaunchConfigurationsPaginator(t.Scaling, &autoscaling.DescribeLaunchConfigurationsInput{MaxRecords: aws.Int32(scalingPerPage)},
		func(o *autoscaling.DescribeLaunchConfigurationsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return eachPage(ctx, pages, func(page *autoscaling.DescribeLaunchConfigurationsOutput) *string {
		for i := range page.LaunchConfigurations {
			each(&page.LaunchConfigurations[i])
		}
		return page.NextToken
	})
}

// AutoScalingGroups is the source of what Auto Scaling groups launch, through
// their launch template in the version that they name, through mixed instances
// policies with their overrides, through a launch configuration, and through
// the configuration that a running instance refresh is to bring. Groups of no
// instances count. It needs Target.Scaling.
func AutoScalingGroups() Source { return scalingGroups{} }

type scalingGroups struct{}

func (scalingGroups) Name() string { return "auto scaling groups" }

func (scalingGroups) IAMActions() []string {
	return append(templateActions(),
		"autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeLaunchConfigurations", "autoscaling:DescribeInstanceRefreshes")
}

func (scalingGroups) needs(t Target) string { return needsScaling(t) }

func (scalingGroups) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	var names []string
	users := map[string][]string{} // by launch configuration: the groups
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(t.Scaling, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(scalingPerPage)},
		func(o *autoscaling.DescribeAutoScalingGroupsPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := eachPage(ctx, pages, func(page *autoscaling.DescribeAutoScalingGroupsOutput) *string {
		for _, group := range page.AutoScalingGroups {
			name := aws.ToString(group.AutoScalingGroupName)
			by := "auto scaling group " + name
			names = append(names, name)
			g.scalingTemplate(group.LaunchTemplate, by)
			g.mixed(group.MixedInstancesPolicy, by)
			if config := aws.ToString(group.LaunchConfigurationName); config != "" {
				users[config] = append(users[config], by)
			}
		}
		return page.NextToken
	})
	if err == nil && len(users) > 0 {
		err = readLaunchConfigurations(ctx, t, func(c *scalingtypes.LaunchConfiguration) {
			config := aws.ToString(c.LaunchConfigurationName)
			for _, by := range users[config] {
				g.image(aws.ToString(c.ImageId), by+" through launch configuration "+config)
			}
		})
	}
	if err == nil {
		err = g.refreshes(ctx, t, names)
	}
	return g.finish(ctx, err)
}

// scalingTemplate adds a launch template that Auto Scaling names.
func (g *gathering) scalingTemplate(ref *scalingtypes.LaunchTemplateSpecification, by string) {
	if ref == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.templates = append(g.templates, templateVersion{
		aws.ToString(ref.LaunchTemplateId), aws.ToString(ref.LaunchTemplateName), aws.ToString(ref.Version), by,
	})
}

func (g *gathering) mixed(policy *scalingtypes.MixedInstancesPolicy, by string) {
	if policy == nil || policy.LaunchTemplate == nil {
		return
	}
	g.scalingTemplate(policy.LaunchTemplate.LaunchTemplateSpecification, by)
	for _, o := range policy.LaunchTemplate.Overrides {
		g.scalingTemplate(o.LaunchTemplateSpecification, by+" in an override")
		g.image(aws.ToString(o.ImageId), by+" in an override")
	}
}

// refreshes adds what running instance refreshes are to bring. Auto Scaling
// tells of one group at a time.
func (g *gathering) refreshes(ctx context.Context, t Target, groups []string) error {
	return atOnce(groups, func(group string) error {
		pages := autoscaling.NewDescribeInstanceRefreshesPaginator(t.Scaling, &autoscaling.DescribeInstanceRefreshesInput{
			AutoScalingGroupName: aws.String(group), MaxRecords: aws.Int32(scalingPerPage),
		}, func(o *autoscaling.DescribeInstanceRefreshesPaginatorOptions) { o.StopOnDuplicateToken = true })
		return eachPage(ctx, pages, func(page *autoscaling.DescribeInstanceRefreshesOutput) *string {
			for _, r := range page.InstanceRefreshes {
				if r.DesiredConfiguration != nil && !slices.Contains(endedRefreshes(), r.Status) {
					by := "instance refresh " + aws.ToString(r.InstanceRefreshId) + " of auto scaling group " + group
					g.scalingTemplate(r.DesiredConfiguration.LaunchTemplate, by)
					g.mixed(r.DesiredConfiguration.MixedInstancesPolicy, by)
				}
			}
			return page.NextToken
		})
	})
}

// endedRefreshes are the states in which a refresh launches nothing more. Any
// other counts, also one that there was not when this was written.
func endedRefreshes() []scalingtypes.InstanceRefreshStatus {
	return []scalingtypes.InstanceRefreshStatus{
		scalingtypes.InstanceRefreshStatusSuccessful, scalingtypes.InstanceRefreshStatusFailed, scalingtypes.InstanceRefreshStatusCancelled,
		scalingtypes.InstanceRefreshStatusRollbackFailed, scalingtypes.InstanceRefreshStatusRollbackSuccessful,
	}
}
