package inuse

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// scalingPerPage is the largest page of Auto Scaling; its default is 50.
const scalingPerPage = 100

// LaunchConfigurations returns the source of the images of launch
// configurations, whether or not a group uses them.
func LaunchConfigurations() Source {
	return Source{
		Name: "launch configurations", List: listLaunchConfigurations,
		Permissions: Reads("autoscaling:DescribeLaunchConfigurations"),
	}
}

func listLaunchConfigurations(ctx context.Context, at Place) ([]Reference, error) {
	g := newCollector(at)
	return g.finish(ctx, readLaunchConfigurations(ctx, autoscaling.NewFromConfig(at.Config), func(c *scalingtypes.LaunchConfiguration) {
		g.launchConfiguration(c, "launch configuration "+aws.ToString(c.LaunchConfigurationName))
	}))
}

func (g *collector) launchConfiguration(c *scalingtypes.LaunchConfiguration, by string) {
	g.launch(c.ImageId, c.UserData, by)
	for _, m := range c.BlockDeviceMappings {
		if m.Ebs != nil {
			g.attach(m.Ebs.SnapshotId, by)
		}
	}
}

func readLaunchConfigurations(ctx context.Context, client *autoscaling.Client, each func(*scalingtypes.LaunchConfiguration)) error {
	pages := autoscaling.NewDescribeLaunchConfigurationsPaginator(client, &autoscaling.DescribeLaunchConfigurationsInput{MaxRecords: aws.Int32(scalingPerPage)},
		func(o *autoscaling.DescribeLaunchConfigurationsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *autoscaling.DescribeLaunchConfigurationsOutput) *string {
		for i := range page.LaunchConfigurations {
			each(&page.LaunchConfigurations[i])
		}
		return page.NextToken
	})
}

// AutoScalingGroups returns the source of the images that Auto Scaling groups
// launch: through their launch template in the version that they name, mixed
// instances policies with their overrides, a launch configuration, and the
// target configuration of a running instance refresh. Empty groups count. So do the
// last three images that ec2.InstanceRefresh could roll a group back to.
func AutoScalingGroups() Source { return AutoScalingGroupsWith(goodImages) }

const goodImages = 3

// AutoScalingGroupsWith is like AutoScalingGroups with another number of images that
// each group could be rolled back to. They are known where ec2.InstanceRefresh made the
// versions of the launch template.
func AutoScalingGroupsWith(good int) Source {
	return Source{
		Name: "auto scaling groups", List: func(ctx context.Context, at Place) ([]Reference, error) { return listScalingGroups(ctx, at, good) },
		Permissions: readsTemplates(
			"autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeLaunchConfigurations", "autoscaling:DescribeInstanceRefreshes"),
	}
}

func listScalingGroups(ctx context.Context, at Place, good int) ([]Reference, error) {
	g := newCollector(at)
	g.back = good
	client := autoscaling.NewFromConfig(at.Config)
	var names []string
	users := map[string][]string{} // by launch configuration: the groups
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(client, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(scalingPerPage)},
		func(o *autoscaling.DescribeAutoScalingGroupsPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *autoscaling.DescribeAutoScalingGroupsOutput) *string {
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
		err = readLaunchConfigurations(ctx, client, func(c *scalingtypes.LaunchConfiguration) {
			config := aws.ToString(c.LaunchConfigurationName)
			for _, by := range users[config] {
				g.launchConfiguration(c, by+" through launch configuration "+config)
			}
		})
	}
	if err == nil {
		err = g.refreshes(ctx, client, names)
	}
	return g.finish(ctx, err)
}

// scalingTemplate adds a launch template that Auto Scaling names.
func (g *collector) scalingTemplate(ref *scalingtypes.LaunchTemplateSpecification, by string) {
	if ref != nil {
		g.template(ref.LaunchTemplateId, ref.LaunchTemplateName, ref.Version, by)
	}
}

func (g *collector) mixed(policy *scalingtypes.MixedInstancesPolicy, by string) {
	if policy == nil || policy.LaunchTemplate == nil {
		return
	}
	g.scalingTemplate(policy.LaunchTemplate.LaunchTemplateSpecification, by)
	for _, o := range policy.LaunchTemplate.Overrides {
		g.scalingTemplate(o.LaunchTemplateSpecification, by+" in an override")
		g.image(aws.ToString(o.ImageId), by+" in an override")
	}
}

// refreshes adds the target configurations of running instance refreshes. Auto
// Scaling describes those of one group per call.
func (g *collector) refreshes(ctx context.Context, client *autoscaling.Client, groups []string) error {
	return forEach(groups, func(group string) error {
		pages := autoscaling.NewDescribeInstanceRefreshesPaginator(client, &autoscaling.DescribeInstanceRefreshesInput{
			AutoScalingGroupName: aws.String(group), MaxRecords: aws.Int32(scalingPerPage),
		}, func(o *autoscaling.DescribeInstanceRefreshesPaginatorOptions) { o.StopOnDuplicateToken = true })
		return awsapi.EachPage(ctx, pages, func(page *autoscaling.DescribeInstanceRefreshesOutput) *string {
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

// endedRefreshes returns the states in which a refresh launches nothing more.
// Unknown states count as running.
func endedRefreshes() []scalingtypes.InstanceRefreshStatus {
	return []scalingtypes.InstanceRefreshStatus{
		scalingtypes.InstanceRefreshStatusSuccessful, scalingtypes.InstanceRefreshStatusFailed, scalingtypes.InstanceRefreshStatusCancelled,
		scalingtypes.InstanceRefreshStatusRollbackFailed, scalingtypes.InstanceRefreshStatusRollbackSuccessful,
	}
}
