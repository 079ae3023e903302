package ec2test

import (
	"cmp"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// Auto Scaling groups keep their desired capacity: they launch instances, replace
// unhealthy ones, and roll them in instance refreshes. A call begins with everything
// that became due since the call before, in order of time.

const scalingNamespace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

// scalingGroup is an Auto Scaling group.
type scalingGroup struct {
	base

	name       string
	set        scalingSettings
	targets    []string           // ARNs of target groups
	propagated map[string]bool    // keys of tags that new instances get
	refreshes  []*instanceRefresh // oldest first
	members    []*scalingMember   // oldest first
	activities []*scalingActivity // oldest first
	suspended  map[string]bool    // processes
	due        time.Time          // when something happens next; zero means at no known time
	pausedTo   time.Time          // no launches before, after one that failed
}

// scalingSettings are the parameters common to CreateAutoScalingGroup and
// UpdateAutoScalingGroup.
type scalingSettings struct {
	MinSize                 *int
	MaxSize                 *int
	DesiredCapacity         *int
	LaunchConfigurationName string
	LaunchTemplate          *templateRef
	MixedInstancesPolicy    *mixedPolicy
	AvailabilityZones       []string
	VPCZoneIdentifier       string
	HealthCheckType         string `ec2:"HealthCheckType"`
	HealthCheckGracePeriod  *int
	DefaultInstanceWarmup   *int
	DefaultCooldown         *int

	NewInstancesProtectedFromScaleIn *bool
}

type mixedPolicy struct {
	LaunchTemplate        *mixedTemplate
	InstancesDistribution *mixedDistribution
}

type mixedTemplate struct {
	LaunchTemplateSpecification *templateRef
	Overrides                   []mixedOverride
}

type mixedOverride struct {
	ImageID                     string `ec2:"ImageId"`
	InstanceType                string
	WeightedCapacity            string
	LaunchTemplateSpecification *templateRef
}

type mixedDistribution struct {
	OnDemandAllocationStrategy          string
	OnDemandBaseCapacity                *int
	OnDemandPercentageAboveBaseCapacity *int
	SpotAllocationStrategy              string
	SpotMaxPrice                        string
}

// refs returns the policy's references to launch templates.
func (p *mixedPolicy) refs() []*templateRef {
	if p == nil || p.LaunchTemplate == nil {
		return nil
	}
	refs := []*templateRef{p.LaunchTemplate.LaunchTemplateSpecification}
	for _, o := range p.LaunchTemplate.Overrides {
		refs = append(refs, o.LaunchTemplateSpecification)
	}
	return slices.DeleteFunc(refs, func(r *templateRef) bool { return r == nil })
}

// validationErrorf returns a ValidationError, Auto Scaling's code for most
// invalid requests.
func validationErrorf(format string, args ...any) *ec2query.Error {
	return ec2query.Errorf("ValidationError", format, args...)
}

// byName returns the caller's group or launch configuration with a name.
func byName[T record](c *call, t *table[T], prefix, name string) (T, bool) {
	return t.get(namedID(prefix, c.account, c.name, name))
}

const (
	scalingGroupPrefix = "asg-"
	launchConfigPrefix = "lc-"
)

func (c *call) scalingGroup(name string) (*scalingGroup, *ec2query.Error) {
	g, ok := byName(c, &c.scalingGroups, scalingGroupPrefix, name)
	if !ok || !c.isVisible(&g.base) {
		return nil, validationErrorf("AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
	}
	return g, nil
}

// checkScaling validates the settings of a group and completes their references
// to launch templates.
func (c *call) checkScaling(set *scalingSettings) *ec2query.Error {
	sources := 0
	for _, given := range []bool{set.LaunchConfigurationName != "", set.LaunchTemplate != nil, set.MixedInstancesPolicy != nil} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return validationErrorf("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
	}
	if set.LaunchConfigurationName != "" {
		if _, ok := byName(c, &c.launchConfigs, launchConfigPrefix, set.LaunchConfigurationName); !ok {
			return validationErrorf("Launch configuration name not found - Launch configuration %s not found", set.LaunchConfigurationName)
		}
	}
	if err := c.checkLaunch(set.LaunchTemplate, set.MixedInstancesPolicy); err != nil {
		return err
	}
	if len(set.AvailabilityZones) == 0 && set.VPCZoneIdentifier == "" {
		return validationErrorf("At least one Availability Zone or VPC Subnet is required.")
	}
	return nil
}

func (c *call) checkLaunch(ref *templateRef, mixed *mixedPolicy) *ec2query.Error {
	if mixed != nil && (mixed.LaunchTemplate == nil || mixed.LaunchTemplate.LaunchTemplateSpecification == nil) {
		return validationErrorf("The mixed instances policy must have a launch template.")
	}
	refs := mixed.refs()
	if ref != nil {
		refs = append(refs, ref)
	}
	for _, r := range refs {
		r.Version = cmp.Or(r.Version, "$Default")
		if err := c.resolveTemplate(r); err != nil {
			return validationErrorf("%s", err.Message)
		}
	}
	if mixed == nil {
		return nil
	}
	for _, o := range mixed.LaunchTemplate.Overrides {
		if o.ImageID == "" {
			continue
		}
		if _, err := c.usableImage(o.ImageID); err != nil {
			return validationErrorf("%s", err.Message)
		}
	}
	return nil
}

// scalingTable returns the calls of Auto Scaling by name.
func scalingTable() map[string]action {
	return tableOf(
		handle("CreateAutoScalingGroup", (*call).createScalingGroup),
		handle("UpdateAutoScalingGroup", (*call).updateScalingGroup),
		handle("DescribeAutoScalingGroups", (*call).describeScalingGroups, scalingFilters().names(false)...),
		handle("DeleteAutoScalingGroup", (*call).deleteScalingGroup),
		handle("SetDesiredCapacity", (*call).setDesiredCapacity),
		handle("CreateLaunchConfiguration", (*call).createLaunchConfig),
		handle("DescribeLaunchConfigurations", (*call).describeLaunchConfigs),
		handle("DeleteLaunchConfiguration", (*call).deleteLaunchConfig),

		handle("DescribeAutoScalingInstances", (*call).describeScalingInstances),
		handle("SetInstanceHealth", (*call).setInstanceHealth),
		handle("SetInstanceProtection", (*call).setInstanceProtection),
		handle("EnterStandby", (*call).enterStandby),
		handle("ExitStandby", (*call).exitStandby),
		handle("DescribeScalingActivities", (*call).describeActivities),
		handle("SuspendProcesses", (*call).suspendProcesses),
		handle("ResumeProcesses", (*call).resumeProcesses),

		handle("StartInstanceRefresh", (*call).startRefresh),
		handle("DescribeInstanceRefreshes", (*call).describeRefreshes),
		handle("CancelInstanceRefresh", (*call).cancelRefresh),
		handle("RollbackInstanceRefresh", (*call).rollBackRefresh),
	)
}

// recordsParams are Auto Scaling's paging parameters. MaxRecords is at most
// 100; nil means 50.
type recordsParams struct {
	MaxRecords *int
	NextToken  string
}

func (p recordsParams) page() pageParams {
	most := 50
	if p.MaxRecords != nil {
		most = *p.MaxRecords
	}
	return pageParams{MaxResults: &most, NextToken: p.NextToken}
}

func recordsLimits() pageLimits { return pageLimits{1, 100} }
