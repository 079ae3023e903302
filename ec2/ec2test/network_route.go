package ec2test

import (
	"net/netip"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// Values of a route's origin.
const (
	routeLocal   = "CreateRouteTable"
	routeCreated = "CreateRoute"
)

// route is an entry of a route table. Without a target it is a local one.
type route struct {
	destination netip.Prefix
	origin      string
	gateway     *internetGateway
	nic         *eni
	nat         *natGateway
}

func (rt *route) isLocal() bool { return rt.origin == routeLocal }

// routes returns the local routes of a VPC, and those of the route table.
func (t *routeTable) all() []*route {
	out := make([]*route, 0, len(t.vpc.cidrs)+len(t.routes))
	for _, b := range t.vpc.cidrs {
		out = append(out, &route{destination: b.cidr, origin: routeLocal})
	}
	return append(out, t.routes...)
}

func (t *routeTable) find(destination netip.Prefix) *route {
	all := t.all()
	if at := slices.IndexFunc(all, func(rt *route) bool { return rt.destination == destination }); at >= 0 {
		return all[at]
	}
	return nil
}

// stateOf returns the state of a route of a VPC.
func (r *region) stateOf(rt *route, v *vpc) string {
	gone := false
	switch {
	case rt.gateway != nil:
		_, exists := r.gateways.get(rt.gateway.id)
		gone = !exists || rt.gateway.vpc != v
	case rt.nat != nil:
		gone = !rt.nat.deleted.IsZero()
	case rt.nic != nil:
		_, exists := r.interfaces.get(rt.nic.id)
		gone = !exists || rt.nic.instance == nil || rt.nic.instance.phase.to != running
	}
	if gone {
		return "blackhole"
	}
	return "active"
}

type routeXML struct {
	Destination  string `xml:"destinationCidrBlock,omitempty"`
	Destination6 string `xml:"destinationIpv6CidrBlock,omitempty"`
	Gateway      string `xml:"gatewayId,omitempty"`
	Instance     string `xml:"instanceId,omitempty"`
	Owner        string `xml:"instanceOwnerId,omitempty"`
	Interface    string `xml:"networkInterfaceId,omitempty"`
	NAT          string `xml:"natGatewayId,omitempty"`
	State        string `xml:"state"`
	Origin       string `xml:"origin"`
}

func (c *call) routeXML(rt *route, v *vpc) routeXML {
	out := routeXML{State: c.stateOf(rt, v), Origin: rt.origin}
	if rt.destination.Addr().Is4() {
		out.Destination = rt.destination.String()
	} else {
		out.Destination6 = rt.destination.String()
	}
	switch {
	case rt.isLocal():
		out.Gateway = "local"
	case rt.gateway != nil:
		out.Gateway = rt.gateway.id
	case rt.nat != nil:
		out.NAT = rt.nat.id
	default:
		out.Interface = rt.nic.id
		if i := rt.nic.instance; i != nil {
			out.Instance, out.Owner = i.id, i.owner
		}
	}
	return out
}

// routeKey identifies a route of a table.
type routeKey struct {
	RouteTableID             string `ec2:"RouteTableId,required"`
	DestinationCidrBlock     string
	DestinationIPv6CidrBlock string `ec2:"DestinationIpv6CidrBlock"`
}

// parse returns the route table and the destination, without host bits.
func (c *call) parseRoute(in routeKey) (*routeTable, netip.Prefix, *ec2query.Error) {
	var none netip.Prefix
	t, err := lookup(c, &c.routeTables, routeTableKind(), in.RouteTableID)
	if err != nil {
		return nil, none, err
	}
	param, text, v4 := "destinationCidrBlock", in.DestinationCidrBlock, true
	switch {
	case text == "" && in.DestinationIPv6CidrBlock == "":
		return nil, none, ec2query.MissingParameter(param)
	case text != "" && in.DestinationIPv6CidrBlock != "":
		return nil, none, ec2query.InvalidCombination("The parameter destinationCidrBlock may not be used in combination with destinationIpv6CidrBlock")
	case text == "":
		param, text, v4 = "destinationIpv6CidrBlock", in.DestinationIPv6CidrBlock, false
	}
	cidr, parseErr := netip.ParsePrefix(text)
	if parseErr != nil || cidr.Addr().Is4() != v4 {
		return nil, none, ec2query.InvalidValue(param, text, "This is not a valid CIDR block.")
	}
	return t, cidr.Masked(), nil
}

type routeTarget struct {
	GatewayID          string `ec2:"GatewayId"`
	InstanceID         string `ec2:"InstanceId"`
	NetworkInterfaceID string `ec2:"NetworkInterfaceId"`
	NatGatewayID       string `ec2:"NatGatewayId"`
}

// routeTo returns the route to a target, which must be in the VPC.
func (c *call) routeTo(in routeTarget, t *routeTable) (*route, *ec2query.Error) {
	rt := &route{origin: routeCreated}
	given := 0
	for _, id := range []string{in.GatewayID, in.InstanceID, in.NetworkInterfaceID, in.NatGatewayID} {
		if id != "" {
			given++
		}
	}
	var err *ec2query.Error
	switch {
	case given == 0:
		return nil, ec2query.MissingParameter("gatewayId")
	case given > 1:
		return nil, ec2query.InvalidCombination("A route has exactly one target")
	case in.GatewayID == "local":
		return nil, ec2query.InvalidValue("gatewayId", in.GatewayID, "Only the routes of the VPC's own CIDR blocks are local.")
	case in.GatewayID != "":
		if rt.gateway, err = lookup(c, &c.gateways, gatewayKind(), in.GatewayID); err != nil {
			return nil, err
		}
		if rt.gateway.vpc != t.vpc {
			return nil, ec2query.Errorf("InvalidParameterValue", "route table %s and network gateway %s belong to different networks", t.id, rt.gateway.id)
		}
		return rt, nil
	case in.NatGatewayID != "":
		if rt.nat, err = lookup(c, &c.nats, natKind(), in.NatGatewayID); err != nil {
			return nil, err
		}
		if rt.nat.nic.subnet.vpc != t.vpc {
			return nil, ec2query.Errorf("InvalidParameterValue", "route table %s and NAT gateway %s belong to different networks", t.id, rt.nat.id)
		}
		return rt, nil
	case in.InstanceID != "":
		i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
		if err != nil {
			return nil, err
		}
		if i.phase.to == terminated {
			return nil, instanceKind().missing(i.id)
		}
		rt.nic = i.interfaces[0]
	default:
		if rt.nic, err = lookup(c, &c.interfaces, interfaceKind(), in.NetworkInterfaceID); err != nil {
			return nil, err
		}
	}
	if rt.nic.subnet.vpc != t.vpc {
		return nil, ec2query.Errorf("InvalidParameterValue", "route table %s and interface %s belong to different networks", t.id, rt.nic.id)
	}
	return rt, nil
}

type routeInput struct {
	routeKey
	routeTarget
}

func (c *call) createRoute(in *routeInput) (*ec2query.Return, *ec2query.Error) {
	const most = 500
	t, destination, err := c.parseRoute(in.routeKey)
	if err != nil {
		return nil, err
	}
	rt, err := c.routeTo(in.routeTarget, t)
	if err != nil {
		return nil, err
	}
	switch {
	case t.find(destination) != nil:
		return nil, ec2query.Errorf("RouteAlreadyExists", "The route identified by %s already exists.", destination)
	case len(t.routes) >= most:
		return nil, ec2query.Errorf("RouteLimitExceeded", "The maximum number of routes has been reached.")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	rt.destination = destination
	t.routes = append(t.routes, rt)
	return ec2query.Done(), nil
}

func (c *call) replaceRoute(in *routeInput) (*ec2query.Return, *ec2query.Error) {
	t, destination, err := c.parseRoute(in.routeKey)
	if err != nil {
		return nil, err
	}
	to, err := c.routeTo(in.routeTarget, t)
	if err != nil {
		return nil, err
	}
	have := t.find(destination)
	switch {
	case have == nil:
		return nil, ec2query.Errorf("InvalidParameterValue", "There is no route defined for '%s' in the route table. Use CreateRoute instead.", destination)
	case have.isLocal():
		return nil, ec2query.Errorf("InvalidParameterValue", "cannot replace local route %s in route table %s", destination, t.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	have.gateway, have.nic, have.nat = to.gateway, to.nic, to.nat
	return ec2query.Done(), nil
}

func (c *call) deleteRoute(in *routeKey) (*ec2query.Return, *ec2query.Error) {
	t, destination, err := c.parseRoute(*in)
	if err != nil {
		return nil, err
	}
	have := t.find(destination)
	switch {
	case have == nil:
		return nil, ec2query.Errorf("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", destination, t.id)
	case have.isLocal():
		return nil, ec2query.Errorf("InvalidParameterValue", "cannot remove local route %s in route table %s", destination, t.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	t.routes = slices.DeleteFunc(t.routes, func(rt *route) bool { return rt == have })
	return ec2query.Done(), nil
}
