package ec2test

import (
	"cmp"
	"maps"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type createScalingGroupInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	Tags                 []scalingTag
	TargetGroupARNs      []string `ec2:"TargetGroupARNs"`
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
	if err := checkCapacity(&in.scalingSettings); err != nil {
		return nil, err
	}
	made := make(tags, len(in.Tags))
	propagated := make(map[string]bool)
	for _, tag := range in.Tags {
		made[tag.Key] = tagValue{value: tag.Value}
		propagated[tag.Key] = tag.PropagateAtLaunch
	}
	g := &scalingGroup{
		base: c.newBase(kind{prefix: scalingGroupPrefix}, made), name: name, set: in.scalingSettings,
		targets: in.TargetGroupARNs, propagated: propagated, suspended: make(map[string]bool),
	}
	g.id = namedID(scalingGroupPrefix, c.account, c.name, name)
	c.scalingGroups.put(g)
	c.keepGroup(g)
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
	if r := g.activeRefresh(); r != nil && r.desired != nil && in.launch() != (scalingLaunch{}) {
		return nil, validationErrorf("An active instance refresh with a desired configuration exists. All configuration options derived from the desired configuration are not available for update while the instance refresh is active.")
	}
	next := g.set
	setIf(&next.MinSize, in.MinSize)
	setIf(&next.MaxSize, in.MaxSize)
	setIf(&next.DesiredCapacity, in.DesiredCapacity)
	setIf(&next.HealthCheckGracePeriod, in.HealthCheckGracePeriod)
	setIf(&next.DefaultInstanceWarmup, in.DefaultInstanceWarmup)
	setIf(&next.DefaultCooldown, in.DefaultCooldown)
	setIf(&next.NewInstancesProtectedFromScaleIn, in.NewInstancesProtectedFromScaleIn)
	if launch := in.launch(); launch != (scalingLaunch{}) {
		next.use(launch)
	}
	if len(in.AvailabilityZones) > 0 {
		next.AvailabilityZones = in.AvailabilityZones
	}
	next.VPCZoneIdentifier = cmp.Or(in.VPCZoneIdentifier, next.VPCZoneIdentifier)
	next.HealthCheckType = cmp.Or(in.HealthCheckType, next.HealthCheckType)
	if err := c.checkScaling(&next); err != nil {
		return nil, err
	}
	if err := checkCapacity(&next); err != nil {
		return nil, err
	}
	g.set = next
	c.keepGroup(g)
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
	if len(g.members) > 0 && !in.ForceDelete {
		return nil, ec2query.Errorf("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
	}
	if g.activeRefresh() != nil && !in.ForceDelete {
		return nil, ec2query.Errorf("ScalingActivityInProgress", "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.")
	}
	for _, m := range g.members {
		c.endMember(g, m, "the group was deleted")
	}
	c.scalingGroups.remove(g.id)
	return &ec2query.Empty{}, nil
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
	Members  ec2query.Members[memberXML]       `xml:"Instances"`
	Targets  ec2query.Members[string]          `xml:"TargetGroupARNs"`
	Warmup   *int                              `xml:"DefaultInstanceWarmup,omitempty"`
	Grace    int                               `xml:"HealthCheckGracePeriod"`
	Paused   ec2query.Members[suspendedXML]    `xml:"SuspendedProcesses"`
	Protects bool                              `xml:"NewInstancesProtectedFromScaleIn"`
}

type suspendedXML struct {
	Name   string `xml:"ProcessName"`
	Reason string `xml:"SuspensionReason"`
}

type scalingGroupTag struct {
	Resource string `xml:"ResourceId"`
	Type     string `xml:"ResourceType"`
	Key      string `xml:"Key"`
	Value    string `xml:"Value"`
	Spreads  bool   `xml:"PropagateAtLaunch"`
}

func (c *call) scalingGroupXML(g *scalingGroup) scalingGroupXML {
	out := scalingGroupXML{
		Name: g.name, ARN: "arn:aws:autoscaling:" + c.name + ":" + g.owner + ":autoScalingGroup:" + g.id + ":autoScalingGroupName/" + g.name,
		Config: g.set.LaunchConfigurationName, Template: g.set.LaunchTemplate.xml(), Mixed: g.set.MixedInstancesPolicy.xml(),
		Min: *g.set.MinSize, Max: *g.set.MaxSize, Desired: g.desired(), Cooldown: intOr(g.set.DefaultCooldown, 300),
		Zones: ec2query.MembersOf(g.set.AvailabilityZones...), Subnets: g.set.VPCZoneIdentifier,
		Health: cmp.Or(g.set.HealthCheckType, "EC2"), Created: ec2query.FormatTime(g.created),
	}
	out.Members = ec2query.MapMembers(g.members, (*scalingMember).xml)
	out.Targets, out.Warmup, out.Grace = ec2query.MembersOf(g.targets...), g.set.DefaultInstanceWarmup, intOr(g.set.HealthCheckGracePeriod, 0)
	out.Protects = truthOf(g.set.NewInstancesProtectedFromScaleIn)
	for _, process := range slices.Sorted(maps.Keys(g.suspended)) {
		out.Paused.Items = append(out.Paused.Items, suspendedXML{process, "User suspended"})
	}
	out.Tags = ec2query.MapMembers(g.tags.list(c.now), func(t tagXML) scalingGroupTag {
		return scalingGroupTag{g.name, "auto-scaling-group", t.Key, t.Value, g.propagated[t.Key]}
	})
	return out
}
