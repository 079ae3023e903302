package ec2test

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// spotFleet is a spot fleet request. It is active until canceled, and described
// forever. Requests of type maintain replace instances that terminate.
type spotFleet struct {
	base
	crew

	config   spotFleetConfig
	canceled bool
}

type spotFleetConfig struct {
	IAMFleetRole                     string `ec2:"IamFleetRole,required"`
	TargetCapacity                   *int   `ec2:"TargetCapacity,required"`
	OnDemandTargetCapacity           *int
	LaunchSpecifications             []spotFleetLaunch
	LaunchTemplateConfigs            []spotFleetTemplateConfig
	AllocationStrategy               string
	SpotPrice                        string
	Type                             string `ec2:"Type,oneof=request|maintain"`
	ClientToken                      string
	ExcessCapacityTerminationPolicy  string
	InstanceInterruptionBehavior     string
	ReplaceUnhealthyInstances        *bool
	TerminateInstancesWithExpiration *bool
	ValidUntil                       *time.Time
	TagSpecification                 []tagSpecification
}

type spotFleetTemplateConfig struct {
	LaunchTemplateSpecification *templateRef
	Overrides                   []spotFleetOverride
}

type spotFleetOverride struct {
	SpotPrice string
	overrideParams
}

type spotFleetLaunch struct {
	ImageID          string `ec2:"ImageId,required"`
	InstanceType     string
	KeyName          string
	SubnetID         string `ec2:"SubnetId"`
	SpotPrice        string
	WeightedCapacity string
	UserData         []byte
	EbsOptimized     *bool
	Groups           []struct {
		GroupID string `ec2:"GroupId"`
	} `ec2:"GroupSet"`
}

func spotFleetKind() kind {
	return kind{"sfr-", "spot-fleet-request", "InvalidSpotFleetRequestId.Malformed", "InvalidSpotFleetRequestId.NotFound", "The spot fleet request ID '%s' does not exist"}
}

func (f *spotFleet) state(now time.Time) string {
	living := f.living(now)
	switch {
	case !f.canceled:
		return "active"
	case slices.ContainsFunc(living, func(m fleetMember) bool { return m.instance.phase.to != terminated }):
		return "cancelled_running"
	case len(living) > 0:
		return "cancelled_terminating"
	}
	return "cancelled"
}

func (f *spotFleet) expired(now time.Time) bool {
	return f.config.ValidUntil != nil && now.After(*f.config.ValidUntil)
}

// into adds a launch specification to a launch.
func (l *spotFleetLaunch) into(in *runInstancesInput) {
	in.ImageID, in.InstanceType, in.KeyName, in.UserData, in.EbsOptimized = l.ImageID, l.InstanceType, l.KeyName, l.UserData, l.EbsOptimized
	in.SubnetID, _, _ = strings.Cut(l.SubnetID, ",")
	for _, g := range l.Groups {
		in.SecurityGroupID = append(in.SecurityGroupID, g.GroupID)
	}
}

// pools returns the ways in which a spot fleet can launch.
func (in *spotFleetConfig) pools() ([]fleetPool, *ec2query.Error) {
	configs := make([]fleetTemplateConfig, 0, len(in.LaunchTemplateConfigs))
	for _, config := range in.LaunchTemplateConfigs {
		made := fleetTemplateConfig{LaunchTemplateSpecification: config.LaunchTemplateSpecification}
		for _, o := range config.Overrides {
			made.Overrides = append(made.Overrides, fleetOverride{MaxPrice: cmp.Or(o.SpotPrice, in.SpotPrice), overrideParams: o.overrideParams})
		}
		configs = append(configs, made)
	}
	out, err := poolsOf(configs)
	if err != nil {
		return nil, err
	}
	for i := range in.LaunchSpecifications {
		launch := in.LaunchSpecifications[i]
		launch.SpotPrice = cmp.Or(launch.SpotPrice, in.SpotPrice)
		weight, err := positive("WeightedCapacity", launch.WeightedCapacity, 1)
		if err != nil {
			return nil, err
		}
		out = append(out, fleetPool{launch: &launch, weight: weight})
	}
	return out, nil
}

// fillSpotFleet launches the missing instances of a spot fleet.
func (c *call) fillSpotFleet(f *spotFleet) {
	pools, err := f.config.pools()
	if err != nil { // it was checked when the fleet was requested
		return
	}
	onDemand := 0
	if f.config.OnDemandTargetCapacity != nil {
		onDemand = *f.config.OnDemandTargetCapacity
	}
	c.fill(&f.crew, pools, onDemand, max(0, *f.config.TargetCapacity-onDemand))
}

type requestSpotFleetInput struct {
	SpotFleetRequestConfig spotFleetConfig `ec2:"SpotFleetRequestConfig,required"`
}

type spotFleetIDOutput struct {
	ID string `xml:"spotFleetRequestId"`
}

func (c *call) requestSpotFleet(in *requestSpotFleetInput) (*spotFleetIDOutput, *ec2query.Error) {
	config := in.SpotFleetRequestConfig
	known, err := c.usedToken(config.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		return &spotFleetIDOutput{known[0]}, nil
	}
	specs, err := tagSpecs(config.TagSpecification, "spot-fleet-request")
	if err != nil {
		return nil, err
	}
	if (len(config.LaunchSpecifications) == 0) == (len(config.LaunchTemplateConfigs) == 0) {
		return nil, ec2query.Errorf("InvalidSpotFleetRequestConfig", "Either LaunchSpecifications or LaunchTemplateConfigs must be specified, and not both.")
	}
	for _, l := range config.LaunchSpecifications {
		if _, err := c.usableImage(l.ImageID); err != nil {
			return nil, err
		}
	}
	for i := range config.LaunchTemplateConfigs {
		if err := c.checkFleetTemplate(config.LaunchTemplateConfigs[i].LaunchTemplateSpecification); err != nil {
			return nil, err
		}
	}
	if _, err := config.pools(); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	f := &spotFleet{base: c.newBase(spotFleetKind(), specs["spot-fleet-request"]), config: config}
	f.memberTags = tags{systemPrefix + "ec2spot:fleet-request-id": {value: f.id}}
	c.spotFleets.put(f)
	c.fillSpotFleet(f)
	c.rememberToken(config.ClientToken, f.id)
	return &spotFleetIDOutput{f.id}, nil
}

type spotFleetLaunchXML struct {
	Image    string                   `xml:"imageId"`
	Type     string                   `xml:"instanceType,omitempty"`
	Key      string                   `xml:"keyName,omitempty"`
	Subnet   string                   `xml:"subnetId,omitempty"`
	Price    string                   `xml:"spotPrice,omitempty"`
	Capacity string                   `xml:"weightedCapacity,omitempty"`
	UserData string                   `xml:"userData,omitempty"`
	Optimal  *bool                    `xml:"ebsOptimized,omitempty"`
	Groups   ec2query.Set[groupIDXML] `xml:"groupSet"`
}

type spotFleetTemplateConfigXML struct {
	Template  fleetTemplateRefXML                `xml:"launchTemplateSpecification"`
	Overrides ec2query.Set[spotFleetOverrideXML] `xml:"overrides"`
}

type spotFleetOverrideXML struct {
	Price string `xml:"spotPrice,omitempty"`
	overrideXML
}

func (t spotFleetTemplateConfig) xml() spotFleetTemplateConfigXML {
	return spotFleetTemplateConfigXML{
		fleetRef(t.LaunchTemplateSpecification),
		ec2query.MapSet(t.Overrides, func(o spotFleetOverride) spotFleetOverrideXML {
			return spotFleetOverrideXML{o.SpotPrice, o.xml()}
		}),
	}
}

type spotFleetConfigXML struct {
	Role      string                                   `xml:"iamFleetRole"`
	Capacity  int                                      `xml:"targetCapacity"`
	Strategy  string                                   `xml:"allocationStrategy"`
	Price     string                                   `xml:"spotPrice,omitempty"`
	Type      string                                   `xml:"type"`
	Launches  ec2query.Set[spotFleetLaunchXML]         `xml:"launchSpecifications"`
	Templates ec2query.Set[spotFleetTemplateConfigXML] `xml:"launchTemplateConfigs"`
}

type spotFleetXML struct {
	ID      string                `xml:"spotFleetRequestId"`
	State   string                `xml:"spotFleetRequestState"`
	Status  string                `xml:"activityStatus,omitempty"`
	Created string                `xml:"createTime"`
	Config  spotFleetConfigXML    `xml:"spotFleetRequestConfig"`
	Tags    *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func (c *call) spotFleetXML(f *spotFleet) spotFleetXML {
	in := &f.config
	status := "fulfilled"
	switch {
	case f.canceled:
		status = ""
	case f.capacityOf(Spot)+f.capacityOf(OnDemand) < float64(*in.TargetCapacity):
		status = "pending_fulfillment"
	}
	return spotFleetXML{ID: f.id, State: f.state(c.now), Status: status, Created: ec2query.FormatTime(f.created), Tags: f.tags.optional(c.now), Config: spotFleetConfigXML{
		Role: in.IAMFleetRole, Capacity: *in.TargetCapacity, Strategy: cmp.Or(in.AllocationStrategy, "lowestPrice"), Price: in.SpotPrice, Type: cmp.Or(in.Type, "maintain"),
		Launches: ec2query.MapSet(in.LaunchSpecifications, func(l spotFleetLaunch) spotFleetLaunchXML {
			out := spotFleetLaunchXML{
				Image: l.ImageID, Type: l.InstanceType, Key: l.KeyName, Subnet: l.SubnetID, Price: l.SpotPrice, Capacity: l.WeightedCapacity,
				UserData: base64.StdEncoding.EncodeToString(l.UserData), Optimal: l.EbsOptimized,
			}
			for _, g := range l.Groups {
				out.Groups.Items = append(out.Groups.Items, groupIDXML{ID: g.GroupID})
			}
			return out
		}),
		Templates: ec2query.MapSet(in.LaunchTemplateConfigs, spotFleetTemplateConfig.xml),
	}}
}

type describeSpotFleetsInput struct {
	SpotFleetRequestID []string `ec2:"SpotFleetRequestId"`
	pageParams
}

type describeSpotFleetsOutput struct {
	Fleets ec2query.Set[spotFleetXML] `xml:"spotFleetRequestConfigSet"`
	Next   string                     `xml:"nextToken,omitempty"`
}

func (c *call) describeSpotFleets(in *describeSpotFleetsInput) (*describeSpotFleetsOutput, *ec2query.Error) {
	items, next, err := find(c, &c.spotFleets, query[*spotFleet]{
		kind: spotFleetKind(), ids: in.SpotFleetRequestID, page: in.pageParams, limits: pageLimits{1, 1000},
	})
	return &describeSpotFleetsOutput{ec2query.MapSet(items, c.spotFleetXML), next}, err
}

type cancelSpotFleetsInput struct {
	SpotFleetRequestID []string `ec2:"SpotFleetRequestId,required"`
	TerminateInstances *bool    `ec2:"TerminateInstances,required"`
}

type canceledSpotFleetXML struct {
	ID   string `xml:"spotFleetRequestId"`
	Now  string `xml:"currentSpotFleetRequestState"`
	Then string `xml:"previousSpotFleetRequestState"`
}

type cancelSpotFleetsOutput struct {
	Done   ec2query.Set[canceledSpotFleetXML] `xml:"successfulFleetRequestSet"`
	Failed ec2query.Set[ec2query.Empty]       `xml:"unsuccessfulFleetRequestSet"`
}

func (c *call) cancelSpotFleets(in *cancelSpotFleetsInput) (*cancelSpotFleetsOutput, *ec2query.Error) {
	list, err := lookups(c, &c.spotFleets, spotFleetKind(), in.SpotFleetRequestID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &cancelSpotFleetsOutput{}
	for _, f := range list {
		then, living := f.state(c.now), f.living(c.now)
		f.canceled = true
		now := f.state(c.now)
		if *in.TerminateInstances && len(living) > 0 {
			now = "cancelled_terminating"
			c.end(living)
		}
		out.Done.Items = append(out.Done.Items, canceledSpotFleetXML{f.id, now, then})
	}
	return out, nil
}

type spotFleetInput struct {
	SpotFleetRequestID string `ec2:"SpotFleetRequestId,required"`
	pageParams
}

type spotFleetInstancesOutput struct {
	ID        string                          `xml:"spotFleetRequestId"`
	Instances ec2query.Set[activeInstanceXML] `xml:"activeInstanceSet"`
	Next      string                          `xml:"nextToken,omitempty"`
}

func (c *call) describeSpotFleetInstances(in *spotFleetInput) (*spotFleetInstancesOutput, *ec2query.Error) {
	f, err := lookup(c, &c.spotFleets, spotFleetKind(), in.SpotFleetRequestID)
	if err != nil {
		return nil, err
	}
	items, next, err := c.activeInstances(&f.crew, nil, in.pageParams)
	return &spotFleetInstancesOutput{f.id, items, next}, err
}

type modifySpotFleetInput struct {
	SpotFleetRequestID              string `ec2:"SpotFleetRequestId,required"`
	TargetCapacity                  *int
	OnDemandTargetCapacity          *int
	ExcessCapacityTerminationPolicy string `ec2:"ExcessCapacityTerminationPolicy,oneof=noTermination|default"`
}

func (c *call) modifySpotFleet(in *modifySpotFleetInput) (*ec2query.Return, *ec2query.Error) {
	f, err := lookup(c, &c.spotFleets, spotFleetKind(), in.SpotFleetRequestID)
	if err != nil {
		return nil, err
	}
	if f.canceled {
		return nil, ec2query.Errorf("InvalidSpotFleetRequestState", "The spot fleet request '%s' is in the state %s.", f.id, f.state(c.now))
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	setIf(&f.config.TargetCapacity, in.TargetCapacity)
	setIf(&f.config.OnDemandTargetCapacity, in.OnDemandTargetCapacity)
	f.config.ExcessCapacityTerminationPolicy = cmp.Or(in.ExcessCapacityTerminationPolicy, f.config.ExcessCapacityTerminationPolicy)
	if f.config.ExcessCapacityTerminationPolicy != "noTermination" {
		onDemand := 0
		if f.config.OnDemandTargetCapacity != nil {
			onDemand = *f.config.OnDemandTargetCapacity
		}
		c.shrink(&f.crew, onDemand, max(0, *f.config.TargetCapacity-onDemand))
	}
	c.fillSpotFleet(f)
	return ec2query.Done(), nil
}
