package ec2test

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// fleetPool is a way in which a fleet can launch: a launch template with an
// override, or the launch specification of a spot fleet.
type fleetPool struct {
	ref      *templateRef
	override *fleetOverride // nil if the configuration has no overrides
	launch   *spotFleetLaunch
	weight   float64 // capacity of one instance
	priority float64 // the lowest comes first
}

type poolXML struct {
	Template fleetTemplateRefXML `xml:"launchTemplateSpecification"`
	Override *fleetOverrideXML   `xml:"overrides,omitempty"`
}

type fleetErrorXML struct {
	Pool      poolXML `xml:"launchTemplateAndOverrides"`
	Lifecycle Market  `xml:"lifecycle"`
	Code      string  `xml:"errorCode"`
	Message   string  `xml:"errorMessage"`
}

type fleetInstancesXML struct {
	Pool      poolXML              `xml:"launchTemplateAndOverrides"`
	Lifecycle Market               `xml:"lifecycle"`
	IDs       ec2query.Set[string] `xml:"instanceIds"`
	Type      string               `xml:"instanceType"`
}

func (p fleetPool) xml() poolXML {
	var out poolXML
	if p.ref != nil { // a spot fleet's launch specification has none
		out.Template = fleetRef(p.ref)
	}
	if o := p.override; o != nil {
		out.Override = &fleetOverrideXML{o.ImageID, o.MaxPrice, o.xml()}
	}
	return out
}

// poolsOf returns the pools of templates in the order in which fleets try them.
func poolsOf(configs []fleetTemplateConfig) ([]fleetPool, *ec2query.Error) {
	var out []fleetPool
	for i := range configs {
		config := &configs[i]
		if len(config.Overrides) == 0 {
			out = append(out, fleetPool{ref: config.LaunchTemplateSpecification, weight: 1, priority: math.Inf(1)})
		}
		for j := range config.Overrides {
			p := fleetPool{ref: config.LaunchTemplateSpecification, override: &config.Overrides[j]}
			var err *ec2query.Error
			if p.weight, err = positive("WeightedCapacity", p.override.WeightedCapacity, 1); err != nil {
				return nil, err
			}
			if p.priority, err = positive("Priority", p.override.Priority, math.Inf(1)); err != nil {
				return nil, err
			}
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b fleetPool) int { return cmp.Compare(a.priority, b.priority) })
	return out, nil
}

// positive parses a number of an override, which is zero or more. Capacities
// must be greater than zero.
func positive(name, text string, fallback float64) (float64, *ec2query.Error) {
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n == 0 && name == "WeightedCapacity" {
		return 0, ec2query.InvalidValue(name, text, "It must be a positive number.")
	}
	return n, nil
}

// capacities returns the target capacity of each market.
func (p capacityParams) capacities() (onDemand, spot int, _ *ec2query.Error) {
	if p.OnDemandTargetCapacity != nil {
		onDemand = *p.OnDemandTargetCapacity
	}
	if p.SpotTargetCapacity != nil {
		spot = *p.SpotTargetCapacity
	}
	rest := *p.TotalTargetCapacity - onDemand - spot
	if rest < 0 || onDemand < 0 || spot < 0 {
		return 0, 0, ec2query.InvalidValue("TotalTargetCapacity", intText(p.TotalTargetCapacity), "It must be at least the sum of the other target capacities.")
	}
	if p.DefaultTargetCapacityType == string(Spot) {
		return onDemand, spot + rest, nil
	}
	return onDemand + rest, spot, nil
}
