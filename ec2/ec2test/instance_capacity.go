package ec2test

import (
	"fmt"
	"math"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// A Market is a purchasing option of instances.
type Market string

// The purchasing options.
const (
	OnDemand Market = "on-demand"
	Spot     Market = "spot"
)

// market holds limits of capacity, quotas and prices. It is guarded by
// Server.mu.
type market struct {
	pools  map[pool]int     // number of instances
	prices map[pool]float64 // of spot, in dollars per hour
	vcpus  map[Market]int   // quota of each account and region
}

// pool identifies the capacity of an instance type in a zone.
type pool struct{ kind, zone string }

// SetCapacity limits the number of instances of a type in a zone, across
// accounts and markets. Launches beyond the limit fail with
// InsufficientInstanceCapacity until an instance stops or terminates. A launch
// that names no zone uses one with free capacity; one with a smaller MinCount
// gets as many instances as fit. A negative number removes the limit.
func (s *Server) SetCapacity(instanceType, zone string, instances int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.market.pools == nil {
		s.market.pools = make(map[pool]int)
	}
	s.market.pools[pool{instanceType, zone}] = instances
}

// SetSpotPrice sets the price of a spot instance in dollars per hour. A launch
// with a lower maximum price fails with SpotMaxPriceTooLow, and running
// instances with one are reclaimed. By default every maximum price suffices.
func (s *Server) SetSpotPrice(instanceType, zone string, dollars float64) error {
	s.mu.Lock()
	if s.market.prices == nil {
		s.market.prices = make(map[pool]float64)
	}
	s.market.prices[pool{instanceType, zone}] = dollars
	s.mu.Unlock()
	var outbid []string
	for _, r := range s.existing() {
		r.mu.Lock()
		for i := range r.instances.all() {
			if i.spot && i.kind == instanceType && i.subnet.zone == zone && i.maxPrice > 0 && i.maxPrice < dollars && i.holdsCapacity(r) {
				outbid = append(outbid, i.id)
				i.outbid = true
			}
		}
		r.mu.Unlock()
	}
	for _, id := range outbid {
		if err := s.Reclaim(id); err != nil {
			return err
		}
	}
	return nil
}

// SetQuota limits the vCPUs of an account in each region. Launches beyond the
// limit fail with VcpuLimitExceeded, or MaxSpotInstanceCountExceeded for spot.
// A negative number removes the limit.
func (s *Server) SetQuota(of Market, vcpus int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.market.vcpus == nil {
		s.market.vcpus = make(map[Market]int)
	}
	s.market.vcpus[of] = vcpus
}

// holdsCapacity reports whether the instance uses capacity.
func (i *instance) holdsCapacity(r *region) bool {
	code := i.phase.code(r.server.now())
	return code == pending || code == running
}

func (i *instance) market() Market {
	if i.spot {
		return Spot
	}
	return OnDemand
}

// noLimit exceeds the size of any launch.
const noLimit = math.MaxInt32

// freeCapacity returns how many more instances of a type SetCapacity allows in
// a zone.
func (c *call) freeCapacity(instanceType, zone string) int {
	c.server.mu.Lock()
	places, scarce := c.server.market.pools[pool{instanceType, zone}]
	c.server.mu.Unlock()
	if !scarce || places < 0 {
		return noLimit
	}
	for i := range c.instances.all() {
		if i.kind == instanceType && i.subnet.zone == zone && i.holdsCapacity(c.region) {
			places--
		}
	}
	return places
}

// quotaFor returns how many more instances of a type the account's quota
// allows, and the quota in vCPUs.
func (c *call) quotaFor(kind instanceType, in Market) (instances, quota int) {
	c.server.mu.Lock()
	quota, limited := c.server.market.vcpus[in]
	c.server.mu.Unlock()
	if !limited || quota < 0 {
		return noLimit, quota
	}
	free := quota
	for i := range c.instances.all() {
		if i.owner == c.account && i.market() == in && i.holdsCapacity(c.region) {
			free -= c.server.known.types[i.kind].vcpus
		}
	}
	return free / kind.vcpus, quota
}

// launchCount returns how many instances can be launched, between least and
// most. It fails if capacity or quota is insufficient, or the maximum price too
// low.
func (c *call) launchCount(kind instanceType, zone string, in Market, maxPrice float64, least, most int) (int, *ec2query.Error) {
	s := c.server
	s.mu.Lock()
	price := s.market.prices[pool{kind.name, zone}]
	s.mu.Unlock()
	allowed, quota := c.quotaFor(kind, in)
	switch {
	case allowed < least && in == Spot:
		return 0, ec2query.Errorf("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
	case allowed < least:
		return 0, ec2query.Errorf("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket "+
			"that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.", quota)
	case in == Spot && maxPrice > 0 && maxPrice < price:
		return 0, ec2query.Errorf("SpotMaxPriceTooLow", "Your Spot request price of %v is lower than the minimum required Spot request fulfillment price of %v.", maxPrice, price)
	}
	if err := s.capacity(c.name, kind.name, zone, in, false); err != nil {
		return 0, err
	}
	places := c.freeCapacity(kind.name, zone)
	if places < least {
		return 0, noCapacity(kind.name, zone)
	}
	return min(most, allowed, places), nil
}

// capacity returns the error of a capacity fault that matches a launch. With
// peek the call does not count as a launch.
func (s *Server) capacity(region, instanceType, zone string, in Market, peek bool) *ec2query.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if !f.isCapacity() || f.InstanceType != "" && f.InstanceType != instanceType || f.Zone != "" && f.Zone != zone ||
			f.Region != "" && f.Region != region || f.Market != "" && f.Market != in {
			continue
		}
		hit := f.fails(f.seen + 1)
		if !peek {
			f.seen++
		}
		switch {
		case !hit:
		case f.Code == "":
			return noCapacity(instanceType, zone)
		default:
			return f.error(fmt.Sprintf("Your requested instance type (%s) is not supported in your requested Availability Zone (%s).", instanceType, zone))
		}
	}
	return nil
}

func noCapacity(instanceType, zone string) *ec2query.Error {
	const code = "InsufficientInstanceCapacity"
	return &ec2query.Error{Code: code, Status: statusOf(code), Message: fmt.Sprintf(
		"We currently do not have sufficient %s capacity in the Availability Zone you requested (%s). "+
			"Our system will be working on provisioning additional capacity.", instanceType, zone)}
}

// offered reports whether a type is offered in a zone.
func (c *call) offered(instanceType, zone string) bool {
	err := c.server.capacity(c.name, instanceType, zone, OnDemand, true)
	return err == nil || err.Code != "Unsupported"
}

// spotPrice returns the maximum price of a spot launch in dollars per hour.
// Zero means any.
func spotPrice(in *marketParams) (float64, *ec2query.Error) {
	if in == nil || in.SpotOptions == nil {
		return 0, nil
	}
	if pauses(in.SpotOptions.InstanceInterruptionBehavior) && in.SpotOptions.SpotInstanceType != "persistent" {
		return 0, ec2query.InvalidCombination("The interruption behavior '%s' requires a persistent Spot request.", in.SpotOptions.InstanceInterruptionBehavior)
	}
	if in.SpotOptions.MaxPrice == "" {
		return 0, nil
	}
	price, err := strconv.ParseFloat(in.SpotOptions.MaxPrice, 64)
	if err != nil || price <= 0 {
		return 0, ec2query.InvalidValue("MaxPrice", in.SpotOptions.MaxPrice, "It must be a price in dollars.")
	}
	return price, nil
}
