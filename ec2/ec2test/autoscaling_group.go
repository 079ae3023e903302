package ec2test

import (
	"cmp"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type createScalingGroupInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	Tags                 []scalingTag
	scalingSettings
}

type scalingTag struct {
	Key               string
	Value             string
	PropagateAtLaunch bool
	ResourceID        string `ec2:"ResourceId"`
	ResourceType      string
}

func (c *call) createScalingGroup(in *createScalingGroupInput) (*ec2query.Empty, *ec2query.Error) {
	name := in.AutoScalingGroupName
	if _, taken := byName(c, &c.scalingGroups, scalingGroupPrefix, name); taken {
		return nil, ec2query.Errorf("AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name %s already exists", name)
	}
	if in.MinSize == nil || in.MaxSize == nil {
		return nil, validationErrorf("MinSize and MaxSize are required.")
	}
	if err := c.checkScaling(&in.scalingSettings); err != nil {
		return nil, err
	}
	made := make(tags, len(in.Tags))
	for _, tag := range in.Tags {
		made[tag.Key] = tagValue{value: tag.Value}
	}
	g := &scalingGroup{base: c.newBase(kind{prefix: scalingGroupPrefix}, made), name: name, set: in.scalingSettings}
	g.id = namedID(scalingGroupPrefix, c.account, c.name, name)
	c.scalingGroups.put(g)
	return &ec2query.Empty{}, nil
}

type updateScalingGroupInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	scalingSettings
}

func (c *call) updateScalingGroup(in *updateScalingGroupInput) (*ec2query.Empty, *ec2query.Error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	next := g.set
	setIf(&next.MinSize, in.MinSize)
	setIf(&next.MaxSize, in.MaxSize)
	setIf(&next.DesiredCapacity, in.DesiredCapacity)
	if in.LaunchConfigurationName != "" || in.LaunchTemplate != nil || in.MixedInstancesPolicy != nil {
		next.LaunchConfigurationName, next.LaunchTemplate, next.MixedInstancesPolicy = in.LaunchConfigurationName, in.LaunchTemplate, in.MixedInstancesPolicy
	}
	if len(in.AvailabilityZones) > 0 {
		next.AvailabilityZones = in.AvailabilityZones
	}
	next.VPCZoneIdentifier = cmp.Or(in.VPCZoneIdentifier, next.VPCZoneIdentifier)
	next.HealthCheckType = cmp.Or(in.HealthCheckType, next.HealthCheckType)
	if err := c.checkScaling(&next); err != nil {
		return nil, err
	}
	g.set = next
	return &ec2query.Empty{}, nil
}

type deleteScalingGroupInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	ForceDelete          bool
}

func (c *call) deleteScalingGroup(in *deleteScalingGroupInput) (*ec2query.Empty, *ec2query.Error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if g.activeRefresh(c.now) != nil && !in.ForceDelete {
		return nil, ec2query.Errorf("ScalingActivityInProgress", "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.")
	}
	c.scalingGroups.remove(g.id)
	return &ec2query.Empty{}, nil
}

type templateRefXML struct {
	ID      string `xml:"LaunchTemplateId"`
	Name    string `xml:"LaunchTemplateName"`
	Version string `xml:"Version"`
}

func (r *templateRef) xml() *templateRefXML {
	if r == nil {
		return nil
	}
	return &templateRefXML{r.LaunchTemplateID, r.LaunchTemplateName, r.Version}
}

type mixedPolicyXML struct {
	Template     *templateRefXML                     `xml:"LaunchTemplate>LaunchTemplateSpecification"`
	Overrides    *ec2query.Members[mixedOverrideXML] `xml:"LaunchTemplate>Overrides,omitempty"`
	Distribution *mixedDistributionXML               `xml:"InstancesDistribution,omitempty"`
}

type mixedOverrideXML struct {
	Image    string          `xml:"ImageId,omitempty"`
	Type     string          `xml:"InstanceType,omitempty"`
	Capacity string          `xml:"WeightedCapacity,omitempty"`
	Template *templateRefXML `xml:"LaunchTemplateSpecification,omitempty"`
}

type mixedDistributionXML struct {
	OnDemandStrategy string `xml:"OnDemandAllocationStrategy,omitempty"`
	OnDemandBase     *int   `xml:"OnDemandBaseCapacity,omitempty"`
	OnDemandPercent  *int   `xml:"OnDemandPercentageAboveBaseCapacity,omitempty"`
	SpotStrategy     string `xml:"SpotAllocationStrategy,omitempty"`
	SpotMaxPrice     string `xml:"SpotMaxPrice,omitempty"`
}

func (p *mixedPolicy) xml() *mixedPolicyXML {
	if p == nil {
		return nil
	}
	out := &mixedPolicyXML{Template: p.LaunchTemplate.LaunchTemplateSpecification.xml()}
	out.Overrides = ec2query.OptionalMembers(ec2query.MapSet(p.LaunchTemplate.Overrides, func(o mixedOverride) mixedOverrideXML {
		return mixedOverrideXML{o.ImageID, o.InstanceType, o.WeightedCapacity, o.LaunchTemplateSpecification.xml()}
	}).Items)
	if d := p.InstancesDistribution; d != nil {
		out.Distribution = &mixedDistributionXML{
			d.OnDemandAllocationStrategy, d.OnDemandBaseCapacity, d.OnDemandPercentageAboveBaseCapacity, d.SpotAllocationStrategy, d.SpotMaxPrice,
		}
	}
	return out
}

type scalingGroupXML struct {
	Name     string                            `xml:"AutoScalingGroupName"`
	ARN      string                            `xml:"AutoScalingGroupARN"`
	Config   string                            `xml:"LaunchConfigurationName,omitempty"`
	Template *templateRefXML                   `xml:"LaunchTemplate,omitempty"`
	Mixed    *mixedPolicyXML                   `xml:"MixedInstancesPolicy,omitempty"`
	Min      int                               `xml:"MinSize"`
	Max      int                               `xml:"MaxSize"`
	Desired  int                               `xml:"DesiredCapacity"`
	Cooldown int                               `xml:"DefaultCooldown"`
	Zones    ec2query.Members[string]          `xml:"AvailabilityZones"`
	Subnets  string                            `xml:"VPCZoneIdentifier"`
	Health   string                            `xml:"HealthCheckType"`
	Created  string                            `xml:"CreatedTime"`
	Tags     ec2query.Members[scalingGroupTag] `xml:"Tags"`
	Running  ec2query.Members[ec2query.Empty]  `xml:"Instances"`
}

type scalingGroupTag struct {
	Resource string `xml:"ResourceId"`
	Type     string `xml:"ResourceType"`
	Key      string `xml:"Key"`
	Value    string `xml:"Value"`
}

func (c *call) scalingGroupXML(g *scalingGroup) scalingGroupXML {
	g.applyRefreshes(c.now)
	out := scalingGroupXML{
		Name: g.name, ARN: "arn:aws:autoscaling:" + c.name + ":" + g.owner + ":autoScalingGroup:" + g.id + ":autoScalingGroupName/" + g.name,
		Config: g.set.LaunchConfigurationName, Template: g.set.LaunchTemplate.xml(), Mixed: g.set.MixedInstancesPolicy.xml(),
		Min: *g.set.MinSize, Max: *g.set.MaxSize, Desired: *g.set.MinSize, Cooldown: 300,
		Zones: ec2query.MembersOf(g.set.AvailabilityZones...), Subnets: g.set.VPCZoneIdentifier,
		Health: cmp.Or(g.set.HealthCheckType, "EC2"), Created: ec2query.FormatTime(g.created),
	}
	if g.set.DesiredCapacity != nil {
		out.Desired = *g.set.DesiredCapacity
	}
	out.Tags = ec2query.MapMembers(g.tags.list(c.now), func(t tagXML) scalingGroupTag {
		return scalingGroupTag{g.name, "auto-scaling-group", t.Key, t.Value}
	})
	return out
}

type describeScalingGroupsInput struct {
	AutoScalingGroupNames []string
	recordsParams
}

type describeScalingGroupsOutput struct {
	Groups ec2query.Members[scalingGroupXML] `xml:"AutoScalingGroups"`
	Next   string                            `xml:"NextToken,omitempty"`
}

func (c *call) describeScalingGroups(in *describeScalingGroupsInput) (*describeScalingGroupsOutput, *ec2query.Error) {
	var found []*scalingGroup
	for g := range c.scalingGroups.all() {
		if c.owns(&g.base) && c.isVisible(&g.base) && (len(in.AutoScalingGroupNames) == 0 || slices.Contains(in.AutoScalingGroupNames, g.name)) {
			found = append(found, g)
		}
	}
	items, next, err := page(c, found, in.page(), recordsLimits(), func(g *scalingGroup) uint64 { return g.seq })
	return &describeScalingGroupsOutput{ec2query.MapMembers(items, c.scalingGroupXML), next}, err
}
