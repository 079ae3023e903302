package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

type fleetIDInput struct {
	FleetID string `ec2:"FleetId,required"`
}

type modifyFleetInput struct {
	fleetIDInput
	ExcessCapacityTerminationPolicy string                `ec2:"ExcessCapacityTerminationPolicy,oneof=termination|no-termination"`
	LaunchTemplateConfig            []fleetTemplateConfig `ec2:"LaunchTemplateConfig"`
	TargetCapacitySpecification     *capacityParams
}

// modifyFleet changes a fleet of type maintain, and launches or terminates
// instances accordingly.
func (c *call) modifyFleet(in *modifyFleetInput) (*ec2query.Return, *ec2query.Error) {
	f, err := lookup(c, &c.fleets, fleetKind(), in.FleetID)
	if err != nil {
		return nil, err
	}
	switch {
	case f.kind() != "maintain":
		return nil, ec2query.Errorf("UnsupportedOperation", "The fleet '%s' is of type %s. Only fleets of type maintain can be modified.", f.id, f.kind())
	case f.deleted:
		return nil, ec2query.Errorf("InvalidFleetState", "The fleet '%s' is in the state %s.", f.id, f.state(c.now))
	}
	next := f.in
	if len(in.LaunchTemplateConfig) > 0 {
		next.LaunchTemplateConfigs = in.LaunchTemplateConfig
	}
	if p := in.TargetCapacitySpecification; p != nil {
		if p.TotalTargetCapacity == nil {
			return nil, ec2query.MissingParameter("TargetCapacitySpecification.TotalTargetCapacity")
		}
		have := next.TargetCapacitySpecification
		next.TargetCapacitySpecification = *p
		if p.DefaultTargetCapacityType == "" {
			next.TargetCapacitySpecification.DefaultTargetCapacityType = have.DefaultTargetCapacityType
		}
	}
	if in.ExcessCapacityTerminationPolicy != "" {
		next.ExcessCapacityTerminationPolicy = in.ExcessCapacityTerminationPolicy
	}
	if err := c.checkFleetTemplates(in.LaunchTemplateConfig, false); err != nil {
		return nil, err
	}
	pools, err := poolsOf(next.LaunchTemplateConfigs)
	if err != nil {
		return nil, err
	}
	onDemand, spot, err := next.TargetCapacitySpecification.capacities()
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	f.in = next
	if f.in.ExcessCapacityTerminationPolicy != "no-termination" {
		c.shrink(&f.crew, onDemand, spot)
	}
	f.errors = c.fill(&f.crew, pools, onDemand, spot)
	return ec2query.Done(), nil
}

type activeInstanceXML struct {
	ID      string `xml:"instanceId"`
	Type    string `xml:"instanceType"`
	Request string `xml:"spotInstanceRequestId,omitempty"`
	Health  string `xml:"instanceHealth"`
}

type describeFleetInstancesInput struct {
	fleetIDInput
	Filter []filterParam
	pageParams
}

type describeFleetInstancesOutput struct {
	Fleet     string                          `xml:"fleetId"`
	Instances ec2query.Set[activeInstanceXML] `xml:"activeInstanceSet"`
	Next      string                          `xml:"nextToken,omitempty"`
}

func memberFilters() filters[fleetMember] {
	return filters[fleetMember]{
		"instance-type": func(_ *call, m fleetMember) []string { return one(m.instance.kind) },
	}
}

// activeInstances returns a page of the living instances of a crew.
func (c *call) activeInstances(w *crew, params []filterParam, p pageParams) (ec2query.Set[activeInstanceXML], string, *ec2query.Error) {
	m, err := c.server.known.members.compile(c, params, nil)
	if err != nil {
		return ec2query.Set[activeInstanceXML]{}, "", err
	}
	var found []fleetMember
	for _, have := range w.living(c.now) {
		if have.instance.phase.to != terminated && m.match(have) {
			found = append(found, have)
		}
	}
	items, next, err := page(c, found, p, pageLimits{1, 1000}, func(m fleetMember) uint64 { return m.instance.seq })
	return ec2query.MapSet(items, func(m fleetMember) activeInstanceXML {
		return activeInstanceXML{m.instance.id, m.instance.kind, m.instance.spotRequest, "healthy"}
	}), next, err
}

func (c *call) describeFleetInstances(in *describeFleetInstancesInput) (*describeFleetInstancesOutput, *ec2query.Error) {
	f, err := lookup(c, &c.fleets, fleetKind(), in.FleetID)
	if err != nil {
		return nil, err
	}
	if f.kind() == "instant" {
		return nil, ec2query.Errorf("UnsupportedOperation", "DescribeFleetInstances does not support fleets of type instant. Use DescribeFleets for '%s'.", f.id)
	}
	items, next, err := c.activeInstances(&f.crew, in.Filter, in.pageParams)
	return &describeFleetInstancesOutput{f.id, items, next}, err
}
