package ec2test

import (
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// fleetMember is an instance of a fleet.
type fleetMember struct {
	instance *instance
	pool     fleetPool
	market   Market
}

// crew holds the instances of a fleet or spot fleet.
type crew struct {
	members    []fleetMember
	memberTags tags      // of new instances
	tried      time.Time // when it last launched
}

// capacityOf returns the capacity of the instances of a market that are not
// about to terminate.
func (w *crew) capacityOf(in Market) float64 {
	sum := 0.0
	for _, m := range w.members {
		if m.market == in && m.instance.phase.to != terminated {
			sum += m.pool.weight
		}
	}
	return sum
}

// living returns the instances that are not terminated.
func (w *crew) living(now time.Time) []fleetMember {
	return slices.DeleteFunc(slices.Clone(w.members), func(m fleetMember) bool { return m.instance.phase.code(now) == terminated })
}

// fill launches what is missing of the target capacities. A pool that cannot
// launch is reported, and the next one is tried.
func (c *call) fill(w *crew, pools []fleetPool, onDemand, spot int) []fleetErrorXML {
	var failed []fleetErrorXML
	w.tried = c.now
	for _, part := range []struct {
		market Market
		target int
	}{{OnDemand, onDemand}, {Spot, spot}} {
		missing := float64(part.target) - w.capacityOf(part.market)
		for _, p := range pools {
			if missing <= 0 {
				break
			}
			out, err := c.launchPool(p, part.market, int(math.Ceil(missing/p.weight)), w.memberTags)
			if err != nil {
				failed = append(failed, fleetErrorXML{p.xml(), part.market, err.Code, err.Message})
				continue
			}
			for _, made := range out.Instances.Items {
				i, _ := c.instances.get(made.ID)
				w.members = append(w.members, fleetMember{i, p, part.market})
				missing -= p.weight
			}
		}
	}
	return failed
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
	subnet, maxPrice := "", ""
	if o := p.override; o != nil {
		set("ImageId", o.ImageID)
		set("InstanceType", o.InstanceType)
		set("Placement.AvailabilityZone", o.AvailabilityZone)
		subnet, maxPrice = o.SubnetID, o.MaxPrice
	}
	if p.launch != nil {
		maxPrice = p.launch.SpotPrice
	}
	if in == Spot {
		set("InstanceMarketOptions.MarketType", string(Spot))
		set("InstanceMarketOptions.SpotOptions.MaxPrice", maxPrice)
	}
	var launch *runInstancesInput
	system = system.clone()
	if p.launch != nil {
		launch = new(runInstancesInput)
		if _, err := ec2query.Decode(request, launch); err != nil {
			return nil, err
		}
		p.launch.into(launch)
	} else {
		var fromTemplate tags
		var err *ec2query.Error
		if launch, fromTemplate, err = c.fromTemplate(&templateRef{LaunchTemplateID: p.ref.LaunchTemplateID, Version: p.ref.Version}, request); err != nil {
			return nil, err
		}
		maps.Copy(system, fromTemplate)
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
	return c.launchAll(launch, system)
}

// end terminates instances of a fleet.
func (c *call) end(members []fleetMember) {
	for _, m := range members {
		if m.instance.phase.to != terminated {
			c.beginTermination(m.instance, c.now, "Client.UserInitiatedShutdown")
			c.halt(m.instance.machine)
		}
	}
}

// shrink terminates instances in excess of the target capacities, the youngest
// first.
func (c *call) shrink(w *crew, onDemand, spot int) {
	for market, target := range map[Market]int{OnDemand: onDemand, Spot: spot} {
		for _, m := range slices.Backward(w.members) {
			if m.market == market && m.instance.phase.to != terminated && w.capacityOf(market)-m.pool.weight >= float64(target) {
				c.end([]fleetMember{m})
			}
		}
	}
}

// upkeep is the least time between two attempts to replace instances of fleets,
// or to fulfill spot requests.
const upkeep = time.Second

// maintain replaces the terminated instances of fleets, fulfills open spot
// requests, and keeps the Auto Scaling groups. It runs at the beginning of each call in the region.
func (c *call) maintain() {
	as := func(owner string) *call { return &call{region: c.region, action: c.action, account: owner, now: c.now} }
	due := func(tried time.Time) bool { return c.now.Sub(tried) >= upkeep }
	for f := range c.fleets.all() {
		onDemand, spot, err := f.in.TargetCapacitySpecification.capacities()
		if err != nil || f.deleted || f.kind() != "maintain" {
			continue
		}
		sub := as(f.owner)
		switch pools, err := poolsOf(f.in.LaunchTemplateConfigs); {
		case err != nil:
		case f.in.ValidUntil != nil && c.now.After(*f.in.ValidUntil):
			if truthOf(f.in.TerminateInstancesWithExpiration) {
				sub.end(f.members)
			}
		case due(f.tried):
			f.errors = append(f.errors[:0], sub.fill(&f.crew, pools, onDemand, spot)...)
		}
		c.deferred = append(c.deferred, sub.deferred...)
	}
	for f := range c.spotFleets.all() {
		if f.canceled || f.config.Type == "request" || !due(f.tried) || f.expired(c.now) {
			continue
		}
		sub := as(f.owner)
		sub.fillSpotFleet(f)
		c.deferred = append(c.deferred, sub.deferred...)
	}
	for r := range c.spotRequests.all() {
		if r.isOpen(c.now) && due(r.tried) {
			sub := as(r.owner)
			sub.fulfill(r)
			c.deferred = append(c.deferred, sub.deferred...)
		}
	}
	c.maintainGroups()
}
