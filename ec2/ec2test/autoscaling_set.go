package ec2test

import (
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// memberOf returns a member of one of the caller's groups.
func (c *call) memberOf(id string) (*scalingGroup, *scalingMember, *ec2query.Error) {
	for g := range c.scalingGroups.all() {
		for _, m := range g.members {
			if c.owns(&g.base) && m.instance.id == id && !m.ends {
				return g, m, nil
			}
		}
	}
	return nil, nil, validationErrorf("Instance Id not found - No managed instance found for instance ID: %s", id)
}

// membersOf returns the members of a group by id.
func (c *call) membersOf(group string, ids []string) (*scalingGroup, []*scalingMember, *ec2query.Error) {
	g, err := c.scalingGroup(group)
	if err != nil {
		return nil, nil, err
	}
	var found []*scalingMember
	for _, id := range ids {
		in, m, err := c.memberOf(id)
		if err != nil || in != g {
			return nil, nil, validationErrorf("The instance %s is not part of Auto Scaling group %s.", id, group)
		}
		found = append(found, m)
	}
	return g, found, nil
}

type setInstanceHealthInput struct {
	InstanceID               string `ec2:"InstanceId,required"`
	HealthStatus             string `ec2:"HealthStatus,required,oneof=Healthy|Unhealthy"`
	ShouldRespectGracePeriod *bool
}

// setInstanceHealth sets the health of a member. Within the grace period it does
// so only if ShouldRespectGracePeriod is false.
func (c *call) setInstanceHealth(in *setInstanceHealthInput) (*ec2query.Empty, *ec2query.Error) {
	g, m, err := c.memberOf(in.InstanceID)
	if err != nil {
		return nil, err
	}
	respects := in.ShouldRespectGracePeriod == nil || *in.ShouldRespectGracePeriod
	inGrace := m.inService.IsZero() || int(c.now.Sub(m.inService).Seconds()) < intOr(g.set.HealthCheckGracePeriod, 0)
	switch {
	case in.HealthStatus == "Healthy":
		m.unhealthy = ""
	case !respects || !inGrace:
		m.unhealthy = "its health was set to Unhealthy"
	}
	c.keepGroup(g)
	return &ec2query.Empty{}, nil
}

type setInstanceProtectionInput struct {
	AutoScalingGroupName string   `ec2:"AutoScalingGroupName,required"`
	InstanceIDs          []string `ec2:"InstanceIds,required"`
	ProtectedFromScaleIn bool     `ec2:"ProtectedFromScaleIn,required"`
}

// noResult is an empty result that the response has all the same.
type noResult struct{}

func (c *call) setInstanceProtection(in *setInstanceProtectionInput) (*noResult, *ec2query.Error) {
	_, members, err := c.membersOf(in.AutoScalingGroupName, in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		m.protected = in.ProtectedFromScaleIn
	}
	return &noResult{}, nil
}

type enterStandbyInput struct {
	AutoScalingGroupName           string   `ec2:"AutoScalingGroupName,required"`
	InstanceIDs                    []string `ec2:"InstanceIds"`
	ShouldDecrementDesiredCapacity bool     `ec2:"ShouldDecrementDesiredCapacity,required"`
}

func (c *call) enterStandby(in *enterStandbyInput) (*noResult, *ec2query.Error) {
	g, members, err := c.membersOf(in.AutoScalingGroupName, in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	if next := g.desired() - len(members); in.ShouldDecrementDesiredCapacity {
		if next < *g.set.MinSize {
			return nil, validationErrorf("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To place into standby %d instances, please update the AutoScalingGroup sizes appropriately.",
				g.name, *g.set.MinSize, *g.set.MaxSize, g.desired(), len(members))
		}
		g.set.DesiredCapacity = &next
	}
	for _, m := range members {
		if m.state != memberInService {
			return nil, validationErrorf("The instance %s is not in InService.", m.instance.id)
		}
		m.state = memberStandby
	}
	c.keepGroup(g)
	return &noResult{}, nil
}

type exitStandbyInput struct {
	AutoScalingGroupName string   `ec2:"AutoScalingGroupName,required"`
	InstanceIDs          []string `ec2:"InstanceIds"`
}

func (c *call) exitStandby(in *exitStandbyInput) (*noResult, *ec2query.Error) {
	g, members, err := c.membersOf(in.AutoScalingGroupName, in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.state != memberStandby {
			return nil, validationErrorf("The instance %s is not in Standby.", m.instance.id)
		}
		m.state, m.inService = memberInService, c.now
	}
	next := min(g.desired()+len(members), *g.set.MaxSize)
	g.set.DesiredCapacity = &next
	c.keepGroup(g)
	return &noResult{}, nil
}

type scalingProcessesInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	ScalingProcesses     []string
}

// processes returns the group and the names of processes; no names mean all.
func (c *call) processes(in *scalingProcessesInput) (*scalingGroup, []string, *ec2query.Error) {
	all := []string{
		"Launch", "Terminate", "AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions",
	}
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil || len(in.ScalingProcesses) == 0 {
		return g, all, err
	}
	for _, name := range in.ScalingProcesses {
		if !slices.Contains(all, name) {
			return nil, nil, validationErrorf("%s is not a valid Process type.", name)
		}
	}
	return g, in.ScalingProcesses, nil
}

func (c *call) suspendProcesses(in *scalingProcessesInput) (*ec2query.Empty, *ec2query.Error) {
	g, names, err := c.processes(in)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		g.suspended[name] = true
	}
	return &ec2query.Empty{}, nil
}

func (c *call) resumeProcesses(in *scalingProcessesInput) (*ec2query.Empty, *ec2query.Error) {
	g, names, err := c.processes(in)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		delete(g.suspended, name)
	}
	c.keepGroup(g)
	return &ec2query.Empty{}, nil
}
