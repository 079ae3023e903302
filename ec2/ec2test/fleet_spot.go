package ec2test

import (
	"cmp"
	"encoding/base64"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// spotFleet is a spot fleet request. It launches no instances. It is active
// until canceled, and described forever.
type spotFleet struct {
	base

	config   spotFleetConfig
	canceled bool
}

type spotFleetConfig struct {
	IAMFleetRole                     string `ec2:"IamFleetRole,required"`
	TargetCapacity                   *int   `ec2:"TargetCapacity,required"`
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

func (f *spotFleet) state() string {
	if f.canceled {
		return "cancelled"
	}
	return "active"
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
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	f := &spotFleet{base: c.newBase(spotFleetKind(), specs["spot-fleet-request"]), config: config}
	c.spotFleets.put(f)
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
	Created string                `xml:"createTime"`
	Config  spotFleetConfigXML    `xml:"spotFleetRequestConfig"`
	Tags    *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func (c *call) spotFleetXML(f *spotFleet) spotFleetXML {
	in := &f.config
	return spotFleetXML{ID: f.id, State: f.state(), Created: ec2query.FormatTime(f.created), Tags: f.tags.optional(c.now), Config: spotFleetConfigXML{
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
		then := f.state()
		f.canceled = true
		out.Done.Items = append(out.Done.Items, canceledSpotFleetXML{f.id, f.state(), then})
	}
	return out, nil
}
