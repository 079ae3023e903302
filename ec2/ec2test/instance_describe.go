package ec2test

import (
	"cmp"
	"maps"
	"net/netip"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

func instanceFilters() filters[*instance] {
	each := func(get func(*group) string) func(*call, *instance) []string {
		return func(_ *call, i *instance) []string {
			out := make([]string, 0, len(i.groups))
			for _, g := range i.groups {
				out = append(out, get(g))
			}
			return out
		}
	}
	volumes := func(get func(*volume) string) func(*call, *instance) []string {
		return func(_ *call, i *instance) []string {
			out := make([]string, 0, len(i.volumes))
			for _, v := range i.volumes {
				out = append(out, get(v))
			}
			return out
		}
	}
	address := func(a netip.Addr) []string {
		if !a.IsValid() {
			return nil
		}
		return one(a.String())
	}
	details := instanceDetails()
	groupID, groupName := each(func(g *group) string { return g.id }), each(func(g *group) string { return g.name })
	maps.Copy(details, filters[*instance]{
		"architecture":                        func(_ *call, i *instance) []string { return one(i.arch) },
		"availability-zone":                   func(_ *call, i *instance) []string { return one(i.subnet.zone) },
		"availability-zone-id":                func(c *call, i *instance) []string { return one(c.zoneID(i.subnet.zone)) },
		"block-device-mapping.device-name":    volumes(func(v *volume) string { return v.device }),
		"block-device-mapping.volume-id":      volumes(func(v *volume) string { return v.id }),
		"client-token":                        func(_ *call, i *instance) []string { return one(i.clientToken) },
		"dns-name":                            func(_ *call, i *instance) []string { return one(i.publicName()) },
		"group-id":                            groupID,
		"group-name":                          groupName,
		"instance.group-id":                   groupID,
		"instance.group-name":                 groupName,
		"network-interface.group-id":          groupID,
		"iam-instance-profile.arn":            func(_ *call, i *instance) []string { return one(i.profile) },
		"image-id":                            func(_ *call, i *instance) []string { return one(i.image.id) },
		"instance-id":                         func(_ *call, i *instance) []string { return one(i.id) },
		"instance-lifecycle":                  func(_ *call, i *instance) []string { return lifecycle(i) },
		"instance-state-code":                 func(c *call, i *instance) []string { return one(strconv.Itoa(int(i.phase.code(c.now)))) },
		"instance-state-name":                 func(c *call, i *instance) []string { return one(i.phase.code(c.now).String()) },
		"instance-type":                       func(_ *call, i *instance) []string { return one(i.kind) },
		"ip-address":                          func(_ *call, i *instance) []string { return address(i.publicIP) },
		"key-name":                            func(_ *call, i *instance) []string { return one(i.keyName) },
		"launch-index":                        func(_ *call, i *instance) []string { return one(strconv.Itoa(i.launchIndex)) },
		"launch-time":                         func(_ *call, i *instance) []string { return one(ec2query.FormatTime(i.launched)) },
		"owner-id":                            func(_ *call, i *instance) []string { return one(i.owner) },
		"placement-group-name":                func(_ *call, i *instance) []string { return one(i.placedIn.GroupName) },
		"private-dns-name":                    func(c *call, i *instance) []string { return one(c.privateName(i.privateIP)) },
		"private-ip-address":                  func(_ *call, i *instance) []string { return address(i.privateIP) },
		"reservation-id":                      func(_ *call, i *instance) []string { return one(i.reservation) },
		"root-device-name":                    func(_ *call, i *instance) []string { return one(i.rootDevice) },
		"root-device-type":                    func(*call, *instance) []string { return one("ebs") },
		"spot-instance-request-id":            func(_ *call, i *instance) []string { return one(i.spotRequest) },
		"state-reason-code":                   func(_ *call, i *instance) []string { return one(i.reasonCode) },
		"subnet-id":                           func(_ *call, i *instance) []string { return one(i.subnet.id) },
		"network-interface.subnet-id":         func(_ *call, i *instance) []string { return one(i.subnet.id) },
		"tenancy":                             func(_ *call, i *instance) []string { return one(cmp.Or(i.tenancy, "default")) },
		"virtualization-type":                 func(*call, *instance) []string { return one("hvm") },
		"vpc-id":                              func(_ *call, i *instance) []string { return one(i.subnet.vpc.id) },
		"metadata-options.http-tokens":        func(_ *call, i *instance) []string { return one(i.metadata.HTTPTokens) },
		"network-interface.vpc-id":            func(_ *call, i *instance) []string { return one(i.subnet.vpc.id) },
		"network-interface.availability-zone": func(_ *call, i *instance) []string { return one(i.subnet.zone) },
	})
	return details
}

func lifecycle(i *instance) []string {
	if i.spot {
		return one("spot")
	}
	return nil
}

type describeInstancesInput struct {
	Filter                  []filterParam
	InstanceID              []string `ec2:"InstanceId"`
	IncludeManagedResources bool
	pageParams
}

type reservationXML struct {
	ID        string                    `xml:"reservationId"`
	Owner     string                    `xml:"ownerId"`
	Groups    ec2query.Set[groupIDXML]  `xml:"groupSet"`
	Instances ec2query.Set[instanceXML] `xml:"instancesSet"`
}

type describeInstancesOutput struct {
	Reservations ec2query.Set[reservationXML] `xml:"reservationSet"`
	Next         string                       `xml:"nextToken,omitempty"`
}

func (c *call) describeInstances(in *describeInstancesInput) (*describeInstancesOutput, *ec2query.Error) {
	items, next, err := find(c, &c.instances, query[*instance]{
		kind: instanceKind(), ids: in.InstanceID, filters: in.Filter, known: c.server.known.instances,
		idName: "instance-id", page: in.pageParams,
	})
	if err != nil {
		return nil, err
	}
	out := &describeInstancesOutput{Next: next}
	for _, i := range items {
		list := &out.Reservations.Items
		if n := len(*list); n == 0 || (*list)[n-1].ID != i.reservation {
			*list = append(*list, reservationXML{ID: i.reservation, Owner: i.owner})
		}
		last := &(*list)[len(*list)-1]
		last.Instances.Items = append(last.Instances.Items, c.instanceXML(i))
	}
	return out, nil
}
