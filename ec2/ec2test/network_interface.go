package ec2test

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// eni is a network interface. Every instance has one.
type eni struct {
	base

	instance            *instance   // nil if not attached
	nat                 *natGateway // whose it is; nil for others
	subnet              *subnet
	groups              []*group
	address             netip.Addr
	description         string
	attachment          string
	attached            time.Time
	deleteOnTermination bool
}

func (c *call) makeInterface(i *instance, p *launchPlan) *eni {
	nic := &eni{
		base: c.newBase(interfaceKind(), p.specs["network-interface"].clone()), instance: i, subnet: p.subnet, groups: p.groups,
		address: i.privateIP, description: p.nicText, attachment: newID("eni-attach-", c.server.nextSeq()),
		attached: c.now, deleteOnTermination: p.nicDelete,
	}
	c.interfaces.put(nic)
	return nic
}

func (n *eni) status() string {
	if n.instance == nil && n.nat == nil {
		return "available"
	}
	return "in-use"
}

func (n *eni) mac() string {
	a := n.address.As4()
	return fmt.Sprintf("0a:ff:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3])
}

// instanceAssociationXML is a public address in the description of an instance.
type instanceAssociationXML struct {
	PublicIP  string `xml:"publicIp"`
	PublicDNS string `xml:"publicDnsName"`
	Owner     string `xml:"ipOwnerId"`
}

type associationXML struct {
	instanceAssociationXML
	Allocation  string `xml:"allocationId,omitempty"` // of an elastic address
	Association string `xml:"associationId,omitempty"`
}

type addressXML struct {
	Address     string          `xml:"privateIpAddress"`
	DNS         string          `xml:"privateDnsName"`
	Primary     bool            `xml:"primary"`
	Association *associationXML `xml:"association,omitempty"`
}

// instanceAddressXML is an addressXML in the description of an instance.
type instanceAddressXML struct {
	Address     string                  `xml:"privateIpAddress"`
	DNS         string                  `xml:"privateDnsName"`
	Primary     bool                    `xml:"primary"`
	Association *instanceAssociationXML `xml:"association,omitempty"`
}

type ipv6XML struct {
	Address string `xml:"ipv6Address"`
	Primary bool   `xml:"isPrimaryIpv6"`
}

type nicAttachmentXML struct {
	instanceAttachmentXML
	Instance string `xml:"instanceId"`
	Owner    string `xml:"instanceOwnerId"`
}

// instanceAttachmentXML is an attachment in the description of an instance.
type instanceAttachmentXML struct {
	ID                  string `xml:"attachmentId"`
	DeviceIndex         int    `xml:"deviceIndex"`
	Status              string `xml:"status"`
	Attached            string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

// nicXML is an interface as DescribeNetworkInterfaces shows it.
type nicXML struct {
	nicPartXML
	Zone        string                   `xml:"availabilityZone"`
	Attachment  *nicAttachmentXML        `xml:"attachment,omitempty"`
	Association *associationXML          `xml:"association,omitempty"`
	Addresses   ec2query.Set[addressXML] `xml:"privateIpAddressesSet"`
	Tags        ec2query.Set[tagXML]     `xml:"tagSet"`
}

// instanceNICXML is an interface in the description of an instance.
type instanceNICXML struct {
	nicPartXML
	Attachment  *instanceAttachmentXML           `xml:"attachment,omitempty"`
	Association *instanceAssociationXML          `xml:"association,omitempty"`
	Addresses   ec2query.Set[instanceAddressXML] `xml:"privateIpAddressesSet"`
}

// nicPartXML is common to nicXML and instanceNICXML.
type nicPartXML struct {
	ID              string                   `xml:"networkInterfaceId"`
	Subnet          string                   `xml:"subnetId"`
	VPC             string                   `xml:"vpcId"`
	Description     string                   `xml:"description"`
	Owner           string                   `xml:"ownerId"`
	Status          string                   `xml:"status"`
	MAC             string                   `xml:"macAddress"`
	Address         string                   `xml:"privateIpAddress"`
	DNS             string                   `xml:"privateDnsName"`
	SourceDestCheck bool                     `xml:"sourceDestCheck"`
	Type            string                   `xml:"interfaceType"`
	Groups          ec2query.Set[groupIDXML] `xml:"groupSet"`
	IPv6            ec2query.Set[ipv6XML]    `xml:"ipv6AddressesSet"`
}

func (c *call) nicXML(n *eni) nicXML {
	out := nicXML{Zone: n.subnet.zone, Tags: n.tags.set(c.now), nicPartXML: nicPartXML{
		ID: n.id, Subnet: n.subnet.id, VPC: n.subnet.vpc.id, Description: n.description, Owner: n.owner,
		Status: n.status(), MAC: n.mac(), Address: n.address.String(), DNS: c.privateName(n.address), SourceDestCheck: true,
		Type: "interface", Groups: ec2query.MapSet(n.groups, (*group).xmlID),
	}}
	if i := n.instance; i != nil {
		out.Attachment = &nicAttachmentXML{instanceAttachmentXML{n.attachment, 0, "attached", ec2query.FormatTime(n.attached), n.deleteOnTermination}, i.id, i.owner}
		if i.publicIP.IsValid() && i.phase.code(c.now) != pending {
			out.Association = &associationXML{instanceAssociationXML: instanceAssociationXML{i.publicIP.String(), i.publicName(), "amazon"}}
		}
		if i.ipv6.IsValid() {
			out.IPv6 = ec2query.SetOf(ipv6XML{Address: i.ipv6.String()})
		}
	}
	if n.nat != nil {
		out.Type = "nat_gateway"
	}
	if e := c.elasticOf(n); e != nil {
		out.Association = &associationXML{instanceAssociationXML{PublicIP: e.address.String(), Owner: e.owner}, e.id, e.association}
		if n.instance != nil {
			out.Association.PublicDNS = n.instance.publicName()
		}
	}
	out.Addresses = ec2query.SetOf(addressXML{out.Address, out.DNS, true, out.Association})
	return out
}

func (c *call) instanceNIC(n *eni) instanceNICXML {
	full := c.nicXML(n)
	part := instanceNICXML{nicPartXML: full.nicPartXML}
	if full.Attachment != nil {
		part.Attachment = &full.Attachment.instanceAttachmentXML
	}
	if full.Association != nil {
		part.Association = &full.Association.instanceAssociationXML
	}
	part.Addresses = ec2query.SetOf(instanceAddressXML{part.Address, part.DNS, true, part.Association})
	return part
}

func interfaceFilters() filters[*eni] {
	groupsOf := func(get func(*group) string) func(*call, *eni) []string {
		return func(_ *call, n *eni) []string {
			out := make([]string, 0, len(n.groups))
			for _, g := range n.groups {
				out = append(out, get(g))
			}
			return out
		}
	}
	instanceID := func(_ *call, n *eni) []string {
		if n.instance == nil {
			return nil
		}
		return one(n.instance.id)
	}
	by := func(get func(*nicXML) string) func(*call, *eni) []string {
		return shown((*call).nicXML, func(x nicXML) []string { return one(get(&x)) })
	}
	associated := func(get func(*associationXML) string) func(*call, *eni) []string {
		return by(func(x *nicXML) string {
			if x.Association == nil {
				return ""
			}
			return get(x.Association)
		})
	}
	attached := func(get func(*nicAttachmentXML) string) func(*call, *eni) []string {
		return by(func(x *nicXML) string {
			if x.Attachment == nil {
				return ""
			}
			return get(x.Attachment)
		})
	}
	publicIP := associated(func(a *associationXML) string { return a.PublicIP })
	f := filters[*eni]{
		"association.public-ip":           publicIP,
		"addresses.association.public-ip": publicIP,
		"association.public-dns-name":     associated(func(a *associationXML) string { return a.PublicDNS }),
		"association.ip-owner-id":         associated(func(a *associationXML) string { return a.Owner }),
		"addresses.association.owner-id":  associated(func(a *associationXML) string { return a.Owner }),
		"association.allocation-id":       associated(func(a *associationXML) string { return a.Allocation }),
		"association.association-id":      associated(func(a *associationXML) string { return a.Association }),
		"attachment.status":               attached(func(a *nicAttachmentXML) string { return a.Status }),
		"attachment.attach-time":          attached(func(a *nicAttachmentXML) string { return a.Attached }),
		"attachment.instance-owner-id":    attached(func(a *nicAttachmentXML) string { return a.Owner }),
		"attachment.device-index":         attached(func(a *nicAttachmentXML) string { return strconv.Itoa(a.DeviceIndex) }),
		"private-dns-name":                by(func(x *nicXML) string { return x.DNS }),
		"interface-type":                  by(func(x *nicXML) string { return x.Type }),
		"source-dest-check":               by(func(x *nicXML) string { return strconv.FormatBool(x.SourceDestCheck) }),
		"availability-zone-id":            func(c *call, n *eni) []string { return one(c.zoneID(n.subnet.zone)) },
		"ipv6-addresses.ipv6-address": shown((*call).nicXML, func(x nicXML) []string {
			all := make([]string, 0, len(x.IPv6.Items))
			for _, a := range x.IPv6.Items {
				all = append(all, a.Address)
			}
			return all
		}),
		"network-interface-id":             func(_ *call, n *eni) []string { return one(n.id) },
		"subnet-id":                        func(_ *call, n *eni) []string { return one(n.subnet.id) },
		"vpc-id":                           func(_ *call, n *eni) []string { return one(n.subnet.vpc.id) },
		"availability-zone":                func(_ *call, n *eni) []string { return one(n.subnet.zone) },
		"group-id":                         groupsOf(func(g *group) string { return g.id }),
		"group-name":                       groupsOf(func(g *group) string { return g.name }),
		"status":                           func(_ *call, n *eni) []string { return one(n.status()) },
		"description":                      func(_ *call, n *eni) []string { return one(n.description) },
		"owner-id":                         func(_ *call, n *eni) []string { return one(n.owner) },
		"private-ip-address":               func(_ *call, n *eni) []string { return one(n.address.String()) },
		"addresses.private-ip-address":     func(_ *call, n *eni) []string { return one(n.address.String()) },
		"mac-address":                      func(_ *call, n *eni) []string { return one(n.mac()) },
		"attachment.instance-id":           instanceID,
		"attachment.attachment-id":         func(_ *call, n *eni) []string { return one(n.attachment) },
		"attachment.delete-on-termination": func(_ *call, n *eni) []string { return truth(n.deleteOnTermination) },
	}
	f.always("true", "addresses.primary")
	f.always("false", "requester-managed", "operator.managed")
	return f.never("requester-id", "operator.principal")
}

type describeInterfacesInput struct {
	Filter                  []filterParam
	NetworkInterfaceID      []string `ec2:"NetworkInterfaceId"`
	IncludeManagedResources bool
	pageParams
}

type describeInterfacesOutput struct {
	Interfaces ec2query.Set[nicXML] `xml:"networkInterfaceSet"`
	Next       string               `xml:"nextToken,omitempty"`
}

func (c *call) describeInterfaces(in *describeInterfacesInput) (*describeInterfacesOutput, *ec2query.Error) {
	items, next, err := find(c, &c.interfaces, query[*eni]{
		kind: interfaceKind(), ids: in.NetworkInterfaceID, filters: in.Filter, known: c.server.known.interfaces,
		idName: "network-interface-id", page: in.pageParams,
	})
	return &describeInterfacesOutput{Next: next, Interfaces: ec2query.MapSet(items, c.nicXML)}, err
}

type interfaceIDInput struct {
	NetworkInterfaceID string `ec2:"NetworkInterfaceId,required"`
}

func (c *call) deleteInterface(in *interfaceIDInput) (*ec2query.Return, *ec2query.Error) {
	n, err := lookup(c, &c.interfaces, interfaceKind(), in.NetworkInterfaceID)
	if err != nil {
		return nil, err
	}
	if n.status() == "in-use" {
		return nil, ec2query.Errorf("InvalidParameterValue", "Network interface '%s' is currently in use.", n.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	if e := c.elasticOf(n); e != nil {
		e.leave()
	}
	c.interfaces.remove(n.id)
	delete(n.subnet.used, n.address)
	return ec2query.Done(), nil
}
