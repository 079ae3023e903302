package ec2test

import (
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type describeScalingGroupsInput struct {
	AutoScalingGroupNames []string
	Filters               []scalingFilter
	recordsParams
}

type scalingFilter struct {
	Name   string
	Values []string
}

type describeScalingGroupsOutput struct {
	Groups ec2query.Members[scalingGroupXML] `xml:"AutoScalingGroups"`
	Next   string                            `xml:"NextToken,omitempty"`
}

// scalingFilters returns the filters of groups, besides those of one tag.
func scalingFilters() filters[*scalingGroup] {
	tagsOf := func(part func(tagXML) string) func(*call, *scalingGroup) []string {
		return func(c *call, g *scalingGroup) []string {
			list := g.tags.list(c.now)
			out := make([]string, 0, len(list))
			for _, t := range list {
				out = append(out, part(t))
			}
			return out
		}
	}
	return filters[*scalingGroup]{
		"tag-key":   tagsOf(func(t tagXML) string { return t.Key }),
		"tag-value": tagsOf(func(t tagXML) string { return t.Value }),
	}
}

func (c *call) describeScalingGroups(in *describeScalingGroupsInput) (*describeScalingGroupsOutput, *ec2query.Error) {
	params := make([]filterParam, 0, len(in.Filters))
	for _, f := range in.Filters {
		params = append(params, filterParam{Name: f.Name, Value: f.Values})
	}
	m, err := scalingFilters().compile(c, params, func(g *scalingGroup) tags { return g.tags })
	if err != nil {
		return nil, validationErrorf("%s", err.Message)
	}
	var found []*scalingGroup
	for g := range c.scalingGroups.all() {
		named := len(in.AutoScalingGroupNames) == 0 || slices.Contains(in.AutoScalingGroupNames, g.name)
		if c.owns(&g.base) && c.isVisible(&g.base) && named && m.match(g) {
			found = append(found, g)
		}
	}
	items, next, err := page(c, found, in.page(), recordsLimits(), func(g *scalingGroup) uint64 { return g.seq })
	return &describeScalingGroupsOutput{ec2query.MapMembers(items, c.scalingGroupXML), next}, err
}

type describeScalingInstancesInput struct {
	InstanceIDs []string `ec2:"InstanceIds"`
	recordsParams
}

type describeScalingInstancesOutput struct {
	Instances ec2query.Members[placedMemberXML] `xml:"AutoScalingInstances"`
	Next      string                            `xml:"NextToken,omitempty"`
}

func (c *call) describeScalingInstances(in *describeScalingInstancesInput) (*describeScalingInstancesOutput, *ec2query.Error) {
	type placed struct {
		group  *scalingGroup
		member *scalingMember
	}
	var found []placed
	for g := range c.scalingGroups.all() {
		for _, m := range g.members {
			if c.owns(&g.base) && (len(in.InstanceIDs) == 0 || slices.Contains(in.InstanceIDs, m.instance.id)) {
				found = append(found, placed{g, m})
			}
		}
	}
	slices.SortFunc(found, func(a, b placed) int { return int(a.member.instance.seq) - int(b.member.instance.seq) }) //nolint:gosec // far from overflow
	items, next, err := page(c, found, in.page(), recordsLimits(), func(p placed) uint64 { return p.member.instance.seq })
	return &describeScalingInstancesOutput{ec2query.MapMembers(items, func(p placed) placedMemberXML { return placedMemberXML{p.group.name, p.member.xml()} }), next}, err
}

type setDesiredCapacityInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	DesiredCapacity      int    `ec2:"DesiredCapacity,required"`
	HonorCooldown        bool
}

func (c *call) setDesiredCapacity(in *setDesiredCapacityInput) (*ec2query.Empty, *ec2query.Error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	next := g.set
	next.DesiredCapacity = &in.DesiredCapacity
	if err := checkCapacity(&next); err != nil {
		return nil, err
	}
	g.set = next
	c.keepGroup(g)
	return &ec2query.Empty{}, nil
}

// checkCapacity checks that the desired capacity is within the limits.
func checkCapacity(set *scalingSettings) *ec2query.Error {
	if *set.MinSize > *set.MaxSize {
		return validationErrorf("Max bound, %d, must be greater than or equal to min bound, %d", *set.MaxSize, *set.MinSize)
	}
	switch d := set.DesiredCapacity; {
	case d == nil:
	case *d > *set.MaxSize:
		return validationErrorf("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", *d, *set.MaxSize)
	case *d < *set.MinSize:
		return validationErrorf("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", *d, *set.MinSize)
	}
	return nil
}
