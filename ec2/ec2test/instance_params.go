package ec2test

import "cmp"

type metadataParams struct {
	HTTPTokens              string `ec2:"HttpTokens,oneof=required|optional"`
	HTTPEndpoint            string `ec2:"HttpEndpoint,oneof=enabled|disabled"`
	HTTPPutResponseHopLimit *int   `ec2:"HttpPutResponseHopLimit"`
	HTTPProtocolIPv6        string `ec2:"HttpProtocolIpv6,oneof=enabled|disabled"`
	InstanceMetadataTags    string `ec2:"InstanceMetadataTags,oneof=enabled|disabled"`
}

// filled returns m with EC2's defaults, which for an image with IMDS support
// v2.0 include required tokens.
func (m metadataParams) filled(img *image) metadataParams {
	hops, tokens := 1, "optional"
	if img.imds == "v2.0" {
		hops, tokens = 2, "required"
	}
	m.HTTPTokens = cmp.Or(m.HTTPTokens, tokens)
	m.HTTPEndpoint = cmp.Or(m.HTTPEndpoint, "enabled")
	m.HTTPProtocolIPv6 = cmp.Or(m.HTTPProtocolIPv6, "disabled")
	m.InstanceMetadataTags = cmp.Or(m.InstanceMetadataTags, "disabled")
	if m.HTTPPutResponseHopLimit == nil {
		m.HTTPPutResponseHopLimit = &hops
	}
	return m
}

type profileParams struct {
	ARN  string `ec2:"Arn"`
	Name string `ec2:"Name"`
}

type placementParams struct {
	AvailabilityZone     string
	Tenancy              string `ec2:"Tenancy,oneof=default|dedicated|host"`
	HostID               string `ec2:"HostId"`
	HostResourceGroupARN string `ec2:"HostResourceGroupArn"`
	GroupName            string
}

type reservationTargetParams struct {
	ID    string `ec2:"CapacityReservationId"`
	Group string `ec2:"CapacityReservationResourceGroupArn"`
}

type reservationParams struct {
	Preference string                   `ec2:"CapacityReservationPreference,oneof=none|open|capacity-reservations-only"`
	Target     *reservationTargetParams `ec2:"CapacityReservationTarget"`
}

type licenseParam struct {
	ARN string `ec2:"LicenseConfigurationArn,required"`
}

type spotParams struct {
	MaxPrice                     string
	SpotInstanceType             string `ec2:"SpotInstanceType,oneof=one-time|persistent"`
	InstanceInterruptionBehavior string `ec2:"InstanceInterruptionBehavior,oneof=terminate|stop|hibernate"`
}

// pauses reports whether an interruption stops the instance rather than
// terminates it.
func pauses(behavior string) bool { return behavior == "stop" || behavior == "hibernate" }

type marketParams struct {
	MarketType  string `ec2:"MarketType,oneof=spot"`
	SpotOptions *spotParams
}

type nicParams struct {
	DeviceIndex              *int
	SubnetID                 string   `ec2:"SubnetId"`
	SecurityGroupID          []string `ec2:"SecurityGroupId"`
	AssociatePublicIPAddress *bool    `ec2:"AssociatePublicIpAddress"`
	DeleteOnTermination      *bool
	Description              string
	PrivateIPAddress         string `ec2:"PrivateIpAddress"`
	IPv6AddressCount         int    `ec2:"Ipv6AddressCount"`
}

type enabledParam struct{ Enabled bool }

type creditParam struct {
	CPUCredits string `ec2:"CpuCredits,oneof=standard|unlimited"`
}

// launchParams are the parameters common to RunInstances and launch templates.
type launchParams struct {
	ImageID                           string `ec2:"ImageId"`
	InstanceType                      string
	KeyName                           string
	UserData                          []byte
	SecurityGroupID                   []string `ec2:"SecurityGroupId"`
	SecurityGroup                     []string
	BlockDeviceMapping                []mapping
	NetworkInterface                  []nicParams
	IamInstanceProfile                *profileParams
	MetadataOptions                   *metadataParams
	Placement                         *placementParams
	CreditSpecification               *creditParam
	CapacityReservationSpecification  *reservationParams
	EnclaveOptions                    *enabledParam
	LicenseSpecification              []licenseParam
	InstanceMarketOptions             *marketParams
	InstanceInitiatedShutdownBehavior string `ec2:"InstanceInitiatedShutdownBehavior,oneof=stop|terminate"`
	EbsOptimized                      *bool
	DisableAPITermination             *bool `ec2:"DisableApiTermination"`
	DisableAPIStop                    *bool `ec2:"DisableApiStop"`
	Monitoring                        *enabledParam
	TagSpecification                  []tagSpecification
}

type templateRef struct {
	LaunchTemplateID   string `ec2:"LaunchTemplateId"`
	LaunchTemplateName string
	Version            string
}

type runInstancesInput struct {
	MinCount         int `ec2:"MinCount,required"`
	MaxCount         int `ec2:"MaxCount,required"`
	ClientToken      string
	SubnetID         string `ec2:"SubnetId"`
	PrivateIPAddress string `ec2:"PrivateIpAddress"`
	IPv6AddressCount int    `ec2:"Ipv6AddressCount"`
	LaunchTemplate   *templateRef
	launchParams
}
