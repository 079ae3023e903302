package ec2test

import (
	"cmp"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// fleetPool is a combination of a launch template and an override from which an
// instant fleet can launch.
type fleetPool struct {
	ref      *templateRef
	override *fleetOverride // nil if the configuration has no overrides
	weight   float64        // capacity of one instance
	priority float64        // the lowest comes first
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
	out := poolXML{Template: fleetRef(p.ref)}
	if o := p.override; o != nil {
		out.Override = &fleetOverrideXML{o.ImageID, o.MaxPrice, o.xml()}
	}
	return out
}

// pools returns the fleet's pools in the order in which it tries them.
func (in *createFleetInput) pools() ([]fleetPool, *ec2query.Error) {
	var out []fleetPool
	for i := range in.LaunchTemplateConfigs {
		config := &in.LaunchTemplateConfigs[i]
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

// fill launches the instances of an instant fleet. A pool that cannot launch is
// reported, and the next one is tried.
func (c *call) fill(f *fleet, pools []fleetPool, onDemand, spot int, instanceTags tags) {
	system := instanceTags.clone()
	system[systemPrefix+"ec2:fleet-id"] = tagValue{value: f.id}
	for _, part := range []struct {
		market Market
		target int
	}{{OnDemand, onDemand}, {Spot, spot}} {
		missing := float64(part.target)
		for _, p := range pools {
			if missing <= 0 {
				break
			}
			out, err := c.launchPool(p, part.market, int(math.Ceil(missing/p.weight)), system)
			if err != nil {
				f.errors = append(f.errors, fleetErrorXML{p.xml(), part.market, err.Code, err.Message})
				continue
			}
			made := fleetInstancesXML{Pool: p.xml(), Lifecycle: part.market}
			for _, i := range out.Instances.Items {
				made.IDs.Items = append(made.IDs.Items, i.ID)
				made.Type = i.Type
				missing -= p.weight
			}
			f.instances = append(f.instances, made)
		}
	}
}

// launchPool launches between one and most instances from a pool, as
// RunInstances would.
func (c *call) launchPool(p fleetPool, in Market, most int, system tags) (*runInstancesOutput, *ec2query.Error) {
	request := url.Values{"MinCount": {"1"}, "MaxCount": {strconv.Itoa(min(most, 1000))}}
	set := func(key, value string) {
		if value != "" {
			request.Set(key, value)
		}
	}
	subnet := ""
	if o := p.override; o != nil {
		set("ImageId", o.ImageID)
		set("InstanceType", o.InstanceType)
		set("Placement.AvailabilityZone", o.AvailabilityZone)
		subnet = o.SubnetID
	}
	if in == Spot {
		set("InstanceMarketOptions.MarketType", string(Spot))
		if p.override != nil {
			set("InstanceMarketOptions.SpotOptions.MaxPrice", p.override.MaxPrice)
		}
	}
	launch, fromTemplate, err := c.fromTemplate(&templateRef{LaunchTemplateID: p.ref.LaunchTemplateID, Version: p.ref.Version}, request)
	if err != nil {
		return nil, err
	}
	if in == OnDemand {
		launch.InstanceMarketOptions = nil
	}
	if subnet, _, _ = strings.Cut(subnet, ","); subnet != "" {
		if len(launch.NetworkInterface) > 0 { // it keeps its security groups
			launch.NetworkInterface[0].SubnetID = strings.TrimSpace(subnet)
		} else {
			launch.SubnetID = strings.TrimSpace(subnet)
		}
	}
	maps.Copy(fromTemplate, system)
	return c.launchAll(launch, fromTemplate)
}

// endInstances terminates the fleet's instances.
func (c *call) endInstances(f *fleet) {
	for _, made := range f.instances {
		for _, id := range made.IDs.Items {
			if i, ok := c.instances.get(id); ok && i.phase.to != terminated {
				c.beginTermination(i, c.now, "Client.UserInitiatedShutdown")
				c.halt(i.machine)
			}
		}
	}
}
