package ec2test

import (
	"cmp"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// fleet is an EC2 Fleet. It is active until deleted, and described forever.
// Fleets of type maintain replace instances that terminate.
type fleet struct {
	base
	crew

	in      createFleetInput
	deleted bool
	errors  []fleetErrorXML // of the last attempt to launch
}

type fleetTemplateConfig struct {
	LaunchTemplateSpecification *templateRef
	Overrides                   []fleetOverride
}

type fleetOverride struct {
	ImageID  string `ec2:"ImageId"`
	MaxPrice string
	overrideParams
}

// overrideParams are the parameters common to the overrides of fleets and spot
// fleets.
type overrideParams struct {
	InstanceType     string
	SubnetID         string `ec2:"SubnetId"`
	AvailabilityZone string
	Priority         string
	WeightedCapacity string
}

type capacityParams struct {
	TotalTargetCapacity       *int
	OnDemandTargetCapacity    *int
	SpotTargetCapacity        *int
	DefaultTargetCapacityType string `ec2:"DefaultTargetCapacityType,oneof=spot|on-demand|capacity-block"`
}

type createFleetInput struct {
	LaunchTemplateConfigs       []fleetTemplateConfig `ec2:"LaunchTemplateConfigs,required"`
	TargetCapacitySpecification capacityParams        `ec2:"TargetCapacitySpecification,required"`
	Type                        string                `ec2:"Type,oneof=request|maintain|instant"`
	SpotOptions                 *struct {
		AllocationStrategy string
	}
	OnDemandOptions *struct {
		AllocationStrategy string
	}
	ClientToken                      string
	ExcessCapacityTerminationPolicy  string
	ReplaceUnhealthyInstances        *bool
	TerminateInstancesWithExpiration *bool
	ValidUntil                       *time.Time
	TagSpecification                 []tagSpecification
}

func fleetKind() kind {
	return kind{"fleet-", "fleet", "InvalidFleetId.Malformed", "InvalidFleetId.NotFound", "The fleet ID '%s' does not exist"}
}

func (f *fleet) state(now time.Time) string {
	living := f.living(now)
	switch {
	case !f.deleted:
		return "active"
	case slices.ContainsFunc(living, func(m fleetMember) bool { return m.instance.phase.to != terminated }):
		return "deleted_running"
	case len(living) > 0:
		return "deleted_terminating"
	}
	return "deleted"
}

// checkFleetTemplate validates a fleet's reference to a launch template and
// completes it.
func (c *call) checkFleetTemplate(ref *templateRef) *ec2query.Error {
	switch {
	case ref == nil:
		return ec2query.MissingParameter("LaunchTemplateConfigs.LaunchTemplateSpecification")
	case ref.Version == "":
		return ec2query.MissingParameter("LaunchTemplateConfigs.LaunchTemplateSpecification.Version")
	}
	return c.resolveTemplate(ref)
}

// checkFleetTemplates validates a fleet's launch templates. Only instant fleets
// may override images.
func (c *call) checkFleetTemplates(configs []fleetTemplateConfig, instant bool) *ec2query.Error {
	for i := range configs {
		if err := c.checkFleetTemplate(configs[i].LaunchTemplateSpecification); err != nil {
			return err
		}
		for _, o := range configs[i].Overrides {
			if o.ImageID == "" {
				continue
			}
			if !instant {
				return ec2query.InvalidCombination("ImageId is only available for fleets of type instant")
			}
			if _, err := c.usableImage(c.resolveAlias(o.ImageID)); err != nil {
				return err
			}
		}
	}
	return nil
}

type createFleetOutput struct {
	ID        string                           `xml:"fleetId"`
	Errors    *ec2query.Set[fleetErrorXML]     `xml:"errorSet,omitempty"` // only of instant fleets
	Instances *ec2query.Set[fleetInstancesXML] `xml:"fleetInstanceSet,omitempty"`
}

func (c *call) createFleet(in *createFleetInput) (*createFleetOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		f, err := lookup(c, &c.fleets, fleetKind(), known[0])
		if err != nil {
			return nil, err
		}
		return f.response(), nil
	}
	specs, err := tagSpecs(in.TagSpecification, "fleet", "instance")
	if err != nil {
		return nil, err
	}
	if in.TargetCapacitySpecification.TotalTargetCapacity == nil {
		return nil, ec2query.MissingParameter("TargetCapacitySpecification.TotalTargetCapacity")
	}
	if err := c.checkFleetTemplates(in.LaunchTemplateConfigs, in.Type == "instant"); err != nil {
		return nil, err
	}
	pools, err := poolsOf(in.LaunchTemplateConfigs)
	if err != nil {
		return nil, err
	}
	onDemand, spot, err := in.TargetCapacitySpecification.capacities()
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	f := &fleet{base: c.newBase(fleetKind(), specs["fleet"]), in: *in}
	c.fleets.put(f)
	c.rememberToken(in.ClientToken, f.id)
	f.memberTags = specs["instance"].clone()
	f.memberTags[systemPrefix+"ec2:fleet-id"] = tagValue{value: f.id}
	f.errors = c.fill(&f.crew, pools, onDemand, spot)
	return f.response(), nil
}

// response returns the response of the call that creates the fleet.
func (f *fleet) response() *createFleetOutput {
	out := &createFleetOutput{ID: f.id}
	if f.kind() == "instant" {
		errors, instances := ec2query.SetOf(f.errors...), ec2query.SetOf(f.instancesXML()...)
		out.Errors, out.Instances = &errors, &instances
	}
	return out
}

// instancesXML returns the instances by pool and market.
func (f *fleet) instancesXML() []fleetInstancesXML {
	var out []fleetInstancesXML
	last := fleetPool{}
	for _, m := range f.members {
		if n := len(out); n == 0 || last != m.pool || out[n-1].Lifecycle != m.market {
			out = append(out, fleetInstancesXML{Pool: m.pool.xml(), Lifecycle: m.market, Type: m.instance.kind})
			last = m.pool
		}
		ids := &out[len(out)-1].IDs
		ids.Items = append(ids.Items, m.instance.id)
	}
	return out
}

type fleetOverrideXML struct {
	Image    string `xml:"imageId,omitempty"`
	MaxPrice string `xml:"maxPrice,omitempty"`
	overrideXML
}

type overrideXML struct {
	Type     string `xml:"instanceType,omitempty"`
	Subnet   string `xml:"subnetId,omitempty"`
	Zone     string `xml:"availabilityZone,omitempty"`
	Priority string `xml:"priority,omitempty"`
	Capacity string `xml:"weightedCapacity,omitempty"`
}

func (o overrideParams) xml() overrideXML {
	return overrideXML{o.InstanceType, o.SubnetID, o.AvailabilityZone, o.Priority, o.WeightedCapacity}
}

type fleetTemplateRefXML struct {
	ID      string `xml:"launchTemplateId"`
	Name    string `xml:"launchTemplateName"`
	Version string `xml:"version"`
}

type fleetTemplateConfigXML struct {
	Template  fleetTemplateRefXML            `xml:"launchTemplateSpecification"`
	Overrides ec2query.Set[fleetOverrideXML] `xml:"overrides"`
}

func (t fleetTemplateConfig) xml() fleetTemplateConfigXML {
	return fleetTemplateConfigXML{
		fleetRef(t.LaunchTemplateSpecification),
		ec2query.MapSet(t.Overrides, func(o fleetOverride) fleetOverrideXML {
			return fleetOverrideXML{o.ImageID, o.MaxPrice, o.xml()}
		}),
	}
}

func fleetRef(ref *templateRef) fleetTemplateRefXML {
	return fleetTemplateRefXML{ref.LaunchTemplateID, ref.LaunchTemplateName, ref.Version}
}

type capacityXML struct {
	Total    int    `xml:"totalTargetCapacity"`
	OnDemand *int   `xml:"onDemandTargetCapacity,omitempty"`
	Spot     *int   `xml:"spotTargetCapacity,omitempty"`
	Default  string `xml:"defaultTargetCapacityType,omitempty"`
}

type fleetXML struct {
	ID        string                               `xml:"fleetId"`
	State     string                               `xml:"fleetState"`
	Activity  string                               `xml:"activityStatus,omitempty"`
	Fulfilled float64                              `xml:"fulfilledCapacity"`
	OnDemand  float64                              `xml:"fulfilledOnDemandCapacity"`
	Excess    string                               `xml:"excessCapacityTerminationPolicy,omitempty"`
	Type      string                               `xml:"type"`
	Created   string                               `xml:"createTime"`
	Configs   ec2query.Set[fleetTemplateConfigXML] `xml:"launchTemplateConfigs"`
	Capacity  capacityXML                          `xml:"targetCapacitySpecification"`
	Tags      *ec2query.Set[tagXML]                `xml:"tagSet,omitempty"`
	Errors    *ec2query.Set[fleetErrorXML]         `xml:"errorSet,omitempty"`
	Instances *ec2query.Set[fleetInstancesXML]     `xml:"fleetInstanceSet,omitempty"`
}

func (c *call) fleetXML(f *fleet) fleetXML {
	want := f.in.TargetCapacitySpecification
	onDemand, spot := f.capacityOf(OnDemand), f.capacityOf(Spot)
	activity := "fulfilled"
	switch {
	case f.deleted && len(f.living(c.now)) > 0:
		activity = "pending_termination"
	case f.deleted:
		activity = ""
	case onDemand+spot < float64(*want.TotalTargetCapacity) && len(f.errors) > 0:
		activity = "error"
	case onDemand+spot < float64(*want.TotalTargetCapacity):
		activity = "pending_fulfillment"
	}
	return fleetXML{
		Activity: activity, Fulfilled: onDemand + spot, OnDemand: onDemand, Excess: f.in.ExcessCapacityTerminationPolicy,
		ID: f.id, State: f.state(c.now), Type: f.kind(), Created: ec2query.FormatTime(f.created), Tags: f.tags.optional(c.now),
		Errors: f.response().Errors, Instances: f.response().Instances,
		Configs:  ec2query.MapSet(f.in.LaunchTemplateConfigs, fleetTemplateConfig.xml),
		Capacity: capacityXML{*want.TotalTargetCapacity, want.OnDemandTargetCapacity, want.SpotTargetCapacity, want.DefaultTargetCapacityType},
	}
}

// kind returns the fleet's type.
func (f *fleet) kind() string { return cmp.Or(f.in.Type, "maintain") }

func fleetFilters() filters[*fleet] {
	return filters[*fleet]{
		"fleet-state":     func(c *call, f *fleet) []string { return one(f.state(c.now)) },
		"activity-status": func(c *call, f *fleet) []string { return one(c.fleetXML(f).Activity) },
		"type":            func(_ *call, f *fleet) []string { return one(f.kind()) },
	}
}

type describeFleetsInput struct {
	Filter  []filterParam
	FleetID []string `ec2:"FleetId"`
	pageParams
}

type describeFleetsOutput struct {
	Fleets ec2query.Set[fleetXML] `xml:"fleetSet"`
	Next   string                 `xml:"nextToken,omitempty"`
}

// describeFleets omits instant fleets unless they are named, as the API
// reference says.
func (c *call) describeFleets(in *describeFleetsInput) (*describeFleetsOutput, *ec2query.Error) {
	items, next, err := find(c, &c.fleets, query[*fleet]{
		kind: fleetKind(), ids: in.FleetID, filters: in.Filter, known: c.server.known.fleets, page: in.pageParams, limits: pageLimits{1, 1000},
		omit: func(f *fleet) bool { return f.kind() == "instant" },
	})
	return &describeFleetsOutput{ec2query.MapSet(items, c.fleetXML), next}, err
}

type deleteFleetsInput struct {
	FleetID            []string `ec2:"FleetId,required"`
	TerminateInstances *bool    `ec2:"TerminateInstances,required"`
}

type deletedFleetXML struct {
	ID   string `xml:"fleetId"`
	Now  string `xml:"currentFleetState"`
	Then string `xml:"previousFleetState"`
}

type deleteFleetsOutput struct {
	Done   ec2query.Set[deletedFleetXML] `xml:"successfulFleetDeletionSet"`
	Failed ec2query.Set[ec2query.Empty]  `xml:"unsuccessfulFleetDeletionSet"`
}

func (c *call) deleteFleets(in *deleteFleetsInput) (*deleteFleetsOutput, *ec2query.Error) {
	list, err := lookups(c, &c.fleets, fleetKind(), in.FleetID)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(f *fleet) bool { return f.kind() == "instant" }) && !*in.TerminateInstances {
		return nil, ec2query.InvalidCombination("The instances of an instant fleet must be terminated with it")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &deleteFleetsOutput{}
	for _, f := range list {
		then, living := f.state(c.now), f.living(c.now)
		f.deleted = true
		now := f.state(c.now)
		if *in.TerminateInstances && len(living) > 0 {
			now = "deleted_terminating"
			c.end(living)
		}
		out.Done.Items = append(out.Done.Items, deletedFleetXML{f.id, now, then})
	}
	return out, nil
}
