package ec2test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type instance struct {
	base

	region           *region
	reservation      string
	launchIndex      int
	clientToken      string
	image            *image
	arch             string
	bootMode         string
	kind             string // instance type
	keyName          string
	publicKey        string
	userData         []byte
	profile          string // ARN of the IAM instance profile
	association      base   // of the profile; zero without one
	subnet           *subnet
	groups           []*group
	interfaces       []*eni
	volumes          []*volume
	rootDevice       string
	phase            phase
	launched         time.Time
	reason           string // of the last transition, human-readable
	reasonCode       string // of the last transition
	metadata         metadataParams
	tenancy          string
	placedIn         placementParams
	reservedAs       *reservationParams
	enclave          bool
	licenses         []licenseParam
	ena              bool   // the image has the driver, according to EC2
	sriov            string // "simple" or empty
	spot             bool
	spotRequest      string
	maxPrice         float64 // of spot, in dollars per hour; 0 means any
	spotPersistent   bool    // the spot request is persistent
	spotBehavior     string  // on interruption; empty means terminate
	spotCanceled     bool    // the spot request was canceled
	outbid           bool    // the spot price rose above maxPrice
	ebsOptimal       bool
	monitoring       bool
	noTermination    bool // DisableApiTermination
	noStop           bool // DisableApiStop
	destCheck        bool
	shutdownBehavior string // stop or terminate

	privateIP netip.Addr
	publicIP  netip.Addr
	ipv6      netip.Addr
	elastic   *elasticIP // of which publicIP is the address; nil if it is not elastic
	wantsIP   bool       // gets a public address when it runs
	machine   *machine
}

func (i *instance) rootVolume() *volume { return i.volumeAt(i.rootDevice) }

func (i *instance) volumeAt(device string) *volume {
	for _, v := range i.volumes {
		if v.device == device {
			return v
		}
	}
	return nil
}

// mappings returns the block device mappings of an image of the instance.
func (i *instance) mappings() []mapping {
	out := make([]mapping, 0, len(i.volumes))
	for _, v := range i.volumes {
		size, encrypted, withDelete := v.sizeGiB, v.encrypted, v.deleteOnTermination
		ebs := &ebsParams{VolumeSize: &size, VolumeType: v.kind, Encrypted: &encrypted, DeleteOnTermination: &withDelete}
		if v.kind == "gp3" || v.kind == "io1" || v.kind == "io2" {
			iops := v.iops
			ebs.Iops = &iops
		}
		if v.kind == "gp3" {
			throughput := v.throughput
			ebs.Throughput = &throughput
		}
		out = append(out, mapping{Device: v.device, EBS: ebs})
	}
	return out
}

func (i *instance) sizeGiB() int {
	total := 0
	for _, v := range i.volumes {
		total += v.sizeGiB
	}
	return total
}

type instanceXML struct {
	ID              string                           `xml:"instanceId"`
	Image           string                           `xml:"imageId"`
	State           stateXML                         `xml:"instanceState"`
	PrivateDNS      string                           `xml:"privateDnsName"`
	PublicDNS       string                           `xml:"dnsName"`
	Reason          string                           `xml:"reason"`
	KeyName         string                           `xml:"keyName,omitempty"`
	LaunchIndex     int                              `xml:"amiLaunchIndex"`
	Type            string                           `xml:"instanceType"`
	Launched        string                           `xml:"launchTime"`
	Placement       placementXML                     `xml:"placement"`
	Monitoring      monitoringXML                    `xml:"monitoring"`
	Subnet          string                           `xml:"subnetId,omitempty"`
	VPC             string                           `xml:"vpcId,omitempty"`
	PrivateIP       string                           `xml:"privateIpAddress,omitempty"`
	PublicIP        string                           `xml:"ipAddress,omitempty"`
	IPv6            string                           `xml:"ipv6Address,omitempty"`
	SourceDestCheck bool                             `xml:"sourceDestCheck"`
	Groups          ec2query.Set[groupIDXML]         `xml:"groupSet"`
	StateReason     *stateReasonXML                  `xml:"stateReason,omitempty"`
	Architecture    string                           `xml:"architecture"`
	RootDeviceType  string                           `xml:"rootDeviceType"`
	RootDevice      string                           `xml:"rootDeviceName"`
	Mappings        ec2query.Set[instanceMappingXML] `xml:"blockDeviceMapping"`
	Virtualization  string                           `xml:"virtualizationType"`
	ClientToken     string                           `xml:"clientToken"`
	Lifecycle       string                           `xml:"instanceLifecycle,omitempty"`
	SpotRequest     string                           `xml:"spotInstanceRequestId,omitempty"`
	Tags            *ec2query.Set[tagXML]            `xml:"tagSet,omitempty"`
	Hypervisor      string                           `xml:"hypervisor"`
	Interfaces      ec2query.Set[instanceNICXML]     `xml:"networkInterfaceSet"`
	Profile         *profileXML                      `xml:"iamInstanceProfile,omitempty"`
	EBSOptimized    bool                             `xml:"ebsOptimized"`
	ENA             bool                             `xml:"enaSupport"`
	SRIOV           string                           `xml:"sriovNetSupport,omitempty"`
	BootMode        string                           `xml:"bootMode,omitempty"`
	TPM             string                           `xml:"tpmSupport,omitempty"`
	Metadata        metadataXML                      `xml:"metadataOptions"`
	Reservation     reservedXML                      `xml:"capacityReservationSpecification"`
	Enclave         enabledXML                       `xml:"enclaveOptions"`
	Licenses        *ec2query.Set[licenseXML]        `xml:"licenseSet,omitempty"`
	Platform        string                           `xml:"platformDetails"`
	Usage           string                           `xml:"usageOperation"`
}

type placementXML struct {
	Zone    string `xml:"availabilityZone"`
	ZoneID  string `xml:"availabilityZoneId"`
	Group   string `xml:"groupName"`
	Tenancy string `xml:"tenancy"`
	Host    string `xml:"hostId,omitempty"`
	Hosts   string `xml:"hostResourceGroupArn,omitempty"`
}

type monitoringXML struct {
	State string `xml:"state"`
}

type profileXML struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type instanceMappingXML struct {
	Device string         `xml:"deviceName"`
	EBS    instanceEBSXML `xml:"ebs"`
}

type instanceEBSXML struct {
	Volume              string `xml:"volumeId"`
	Status              string `xml:"status"`
	Attached            string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

type metadataXML struct {
	State    string `xml:"state"`
	Tokens   string `xml:"httpTokens"`
	Hops     int    `xml:"httpPutResponseHopLimit"`
	Endpoint string `xml:"httpEndpoint"`
	IPv6     string `xml:"httpProtocolIpv6"`
	Tags     string `xml:"instanceMetadataTags"`
}

// drivers returns the value of sriovNetSupport, which EC2 omits for instances
// with ENA.
func (i *instance) drivers() string {
	if i.ena {
		return ""
	}
	return i.sriov
}

func (c *call) instanceXML(i *instance) instanceXML {
	code := i.phase.code(c.now)
	out := instanceXML{
		ID: i.id, Image: i.image.id, State: code.xml(), Reason: i.reason, KeyName: i.keyName, LaunchIndex: i.launchIndex,
		Type: i.kind, Launched: ec2query.FormatTime(i.launched),
		Placement: placementXML{
			Zone: i.subnet.zone, ZoneID: c.zoneID(i.subnet.zone), Tenancy: cmp.Or(i.tenancy, "default"),
			Group: i.placedIn.GroupName, Host: i.placedIn.HostID, Hosts: i.placedIn.HostResourceGroupARN,
		},
		Reservation: i.reservedXML(), Enclave: enabledXML{i.enclave},
		Licenses:   ec2query.Optional(ec2query.MapSet(i.licenses, func(l licenseParam) licenseXML { return licenseXML(l) })),
		Monitoring: monitoringXML{"disabled"}, SourceDestCheck: i.destCheck,
		Architecture: i.arch, RootDeviceType: "ebs", RootDevice: i.rootDevice, Virtualization: "hvm", ClientToken: i.clientToken,
		Tags: i.tags.optional(c.now), Hypervisor: "xen", EBSOptimized: i.ebsOptimal, ENA: i.ena, SRIOV: i.drivers(), BootMode: i.bootMode, TPM: i.image.tpm,
		Platform: i.image.platform, Usage: i.image.usage,
		Metadata: metadataXML{
			State: "applied", Tokens: i.metadata.HTTPTokens, Hops: *i.metadata.HTTPPutResponseHopLimit,
			Endpoint: i.metadata.HTTPEndpoint, IPv6: i.metadata.HTTPProtocolIPv6, Tags: i.metadata.InstanceMetadataTags,
		},
	}
	if i.monitoring {
		out.Monitoring.State = "enabled"
	}
	if i.spot {
		out.Lifecycle, out.SpotRequest = "spot", i.spotRequest
	}
	if i.profile != "" {
		out.Profile = &profileXML{i.profile, namedID("AIPA", i.profile)}
	}
	if i.reasonCode != "" {
		out.StateReason = &stateReasonXML{i.reasonCode, i.reasonCode + ": " + reasonText(i.reasonCode)}
	}
	// A terminated instance has no network or volumes.
	if code == terminated {
		return out
	}
	out.Subnet, out.VPC = i.subnet.id, i.subnet.vpc.id
	out.PrivateIP, out.PrivateDNS = i.privateIP.String(), c.privateName(i.privateIP)
	if i.publicIP.IsValid() && code != pending {
		out.PublicIP, out.PublicDNS = i.publicIP.String(), i.publicName()
	}
	if i.ipv6.IsValid() {
		out.IPv6 = i.ipv6.String()
	}
	out.Groups = ec2query.MapSet(i.groups, (*group).xmlID)
	out.Interfaces = ec2query.MapSet(i.interfaces, c.instanceNIC)
	out.Mappings = ec2query.MapSet(i.volumes, func(v *volume) instanceMappingXML {
		return instanceMappingXML{v.device, instanceEBSXML{v.id, v.attachmentState(c.now), ec2query.FormatTime(v.attached), v.deleteOnTermination}}
	})
	return out
}

// instancesOf returns the instances of a call that changes them. Like EC2 it
// lists all missing ids in one error.
func (c *call) instancesOf(ids []string) ([]*instance, *ec2query.Error) {
	var absent []string
	var out []*instance
	for _, id := range ids {
		i, err := lookup(c, &c.instances, instanceKind(), id)
		switch {
		case err == nil:
			out = append(out, i)
		case err.Code == instanceKind().notFound:
			absent = append(absent, id)
		default:
			return nil, err
		}
	}
	if len(absent) > 1 {
		slices.Sort(absent)
		return nil, ec2query.Errorf(instanceKind().notFound, "The instance IDs '%s' do not exist", fmt.Sprint(absent))
	}
	if len(absent) == 1 {
		return nil, instanceKind().missing(absent[0])
	}
	return out, nil
}
