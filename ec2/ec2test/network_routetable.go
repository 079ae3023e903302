package ec2test

import (
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type routeTable struct {
	base

	vpc          *vpc
	routes       []*route // without the local ones
	associations []*routeAssociation
}

// routeAssociation applies a route table to a subnet, or to all subnets of the
// VPC that have no association.
type routeAssociation struct {
	id     string
	subnet *subnet // nil for the main association
}

func (r *region) putRouteTable(b base, v *vpc) *routeTable {
	t := &routeTable{base: b, vpc: v}
	r.routeTables.put(t)
	return t
}

func (t *routeTable) associate(s *subnet, seq uint64) *routeAssociation {
	a := &routeAssociation{newID("rtbassoc-", seq), s}
	t.associations = append(t.associations, a)
	return a
}

// dissociate removes the association with a subnet, if there is one.
func (t *routeTable) dissociate(s *subnet) {
	t.associations = slices.DeleteFunc(t.associations, func(a *routeAssociation) bool { return a.subnet == s })
}

// explicitTable returns the route table associated with a subnet, or nil.
func (r *region) explicitTable(s *subnet) *routeTable {
	for t := range r.routeTables.all() {
		if slices.ContainsFunc(t.associations, func(a *routeAssociation) bool { return a.subnet == s }) {
			return t
		}
	}
	return nil
}

// routeTableOf returns the route table that applies to a subnet.
func (r *region) routeTableOf(s *subnet) *routeTable {
	if t := r.explicitTable(s); t != nil {
		return t
	}
	return s.vpc.main
}

type associationStateXML struct {
	State string `xml:"state"`
}

type routeAssociationXML struct {
	ID     string              `xml:"routeTableAssociationId"`
	Table  string              `xml:"routeTableId"`
	Subnet string              `xml:"subnetId,omitempty"`
	Main   bool                `xml:"main"`
	State  associationStateXML `xml:"associationState"`
}

type routeTableXML struct {
	ID           string                            `xml:"routeTableId"`
	VPC          string                            `xml:"vpcId"`
	Owner        string                            `xml:"ownerId"`
	Routes       ec2query.Set[routeXML]            `xml:"routeSet"`
	Associations ec2query.Set[routeAssociationXML] `xml:"associationSet"`
	Gateways     ec2query.Set[ec2query.Empty]      `xml:"propagatingVgwSet"`
	Tags         ec2query.Set[tagXML]              `xml:"tagSet"`
}

func (c *call) routeTableXML(t *routeTable) routeTableXML {
	return routeTableXML{
		ID: t.id, VPC: t.vpc.id, Owner: t.owner, Tags: t.tags.set(c.now),
		Routes: ec2query.MapSet(t.all(), func(rt *route) routeXML { return c.routeXML(rt, t.vpc) }),
		Associations: ec2query.MapSet(t.associations, func(a *routeAssociation) routeAssociationXML {
			out := routeAssociationXML{a.id, t.id, "", a.subnet == nil, associationStateXML{"associated"}}
			if a.subnet != nil {
				out.Subnet = a.subnet.id
			}
			return out
		}),
	}
}

func routeTableFilters() filters[*routeTable] {
	associations := func(get func(routeAssociationXML) string) func(*call, *routeTable) []string {
		return func(c *call, t *routeTable) []string {
			return ec2query.MapSet(c.routeTableXML(t).Associations.Items, get).Items
		}
	}
	routes := func(get func(routeXML) string) func(*call, *routeTable) []string {
		return func(c *call, t *routeTable) []string {
			return ec2query.MapSet(c.routeTableXML(t).Routes.Items, get).Items
		}
	}
	return filters[*routeTable]{
		"route-table-id":                         func(_ *call, t *routeTable) []string { return one(t.id) },
		"vpc-id":                                 func(_ *call, t *routeTable) []string { return one(t.vpc.id) },
		"owner-id":                               func(_ *call, t *routeTable) []string { return one(t.owner) },
		"association.main":                       associations(func(a routeAssociationXML) string { return truth(a.Main)[0] }),
		"association.subnet-id":                  associations(func(a routeAssociationXML) string { return a.Subnet }),
		"association.route-table-id":             associations(func(a routeAssociationXML) string { return a.Table }),
		"association.route-table-association-id": associations(func(a routeAssociationXML) string { return a.ID }),
		"route.destination-cidr-block":           routes(func(rt routeXML) string { return rt.Destination }),
		"route.destination-ipv6-cidr-block":      routes(func(rt routeXML) string { return rt.Destination6 }),
		"route.gateway-id":                       routes(func(rt routeXML) string { return rt.Gateway }),
		"route.instance-id":                      routes(func(rt routeXML) string { return rt.Instance }),
		"route.origin":                           routes(func(rt routeXML) string { return rt.Origin }),
		"route.state":                            routes(func(rt routeXML) string { return rt.State }),
	}
}

type describeRouteTablesInput struct {
	Filter       []filterParam
	RouteTableID []string `ec2:"RouteTableId"`
	pageParams
}

type describeRouteTablesOutput struct {
	Tables ec2query.Set[routeTableXML] `xml:"routeTableSet"`
	Next   string                      `xml:"nextToken,omitempty"`
}

func (c *call) describeRouteTables(in *describeRouteTablesInput) (*describeRouteTablesOutput, *ec2query.Error) {
	items, next, err := find(c, &c.routeTables, query[*routeTable]{
		kind: routeTableKind(), ids: in.RouteTableID, filters: in.Filter, known: c.server.known.routeTables, page: in.pageParams, limits: pageLimits{5, 100},
	})
	return &describeRouteTablesOutput{ec2query.MapSet(items, c.routeTableXML), next}, err
}

type createRouteTableInput struct {
	vpcIDInput
	ClientToken      string
	TagSpecification []tagSpecification
}

type routeTableOutput struct {
	Table routeTableXML `xml:"routeTable"`
}

func (c *call) createRouteTable(in *createRouteTableInput) (*routeTableOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		t, err := lookup(c, &c.routeTables, routeTableKind(), known[0])
		if err != nil {
			return nil, err
		}
		return &routeTableOutput{c.routeTableXML(t)}, nil
	}
	v, err := lookup(c, &c.vpcs, vpcKind(), in.VpcID)
	if err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "route-table")
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	t := c.putRouteTable(c.newBase(routeTableKind(), specs["route-table"]), v)
	c.rememberToken(in.ClientToken, t.id)
	return &routeTableOutput{c.routeTableXML(t)}, nil
}

type routeTableIDInput struct {
	RouteTableID string `ec2:"RouteTableId,required"`
}

func (c *call) deleteRouteTable(in *routeTableIDInput) (*ec2query.Return, *ec2query.Error) {
	t, err := lookup(c, &c.routeTables, routeTableKind(), in.RouteTableID)
	if err != nil {
		return nil, err
	}
	if len(t.associations) > 0 {
		return nil, ec2query.Errorf("DependencyViolation", "The routeTable '%s' has dependencies and cannot be deleted.", t.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.routeTables.remove(t.id)
	return ec2query.Done(), nil
}

type associateRouteTableInput struct {
	routeTableIDInput
	subnetIDInput
}

type associateRouteTableOutput struct {
	ID    string              `xml:"associationId"`
	State associationStateXML `xml:"associationState"`
}

func (c *call) associateRouteTable(in *associateRouteTableInput) (*associateRouteTableOutput, *ec2query.Error) {
	t, err := lookup(c, &c.routeTables, routeTableKind(), in.RouteTableID)
	if err != nil {
		return nil, err
	}
	s, err := lookup(c, &c.subnets, subnetKind(), in.SubnetID)
	if err != nil {
		return nil, err
	}
	if t.vpc != s.vpc {
		return nil, ec2query.Errorf("InvalidParameterValue", "route table %s and subnet %s belong to different networks", t.id, s.id)
	}
	// To repeat an association changes nothing.
	if at := slices.IndexFunc(t.associations, func(a *routeAssociation) bool { return a.subnet == s }); at >= 0 {
		return &associateRouteTableOutput{t.associations[at].id, associationStateXML{"associated"}}, nil
	}
	if c.explicitTable(s) != nil {
		return nil, ec2query.Errorf("Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association", t.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	return &associateRouteTableOutput{t.associate(s, c.server.nextSeq()).id, associationStateXML{"associated"}}, nil
}

// routeAssociation returns the caller's association with an id, and its table.
func (c *call) routeAssociation(id string) (*routeTable, *routeAssociation, *ec2query.Error) {
	for t := range c.routeTables.all() {
		if !c.owns(&t.base) {
			continue
		}
		for _, a := range t.associations {
			if a.id == id {
				return t, a, nil
			}
		}
	}
	return nil, nil, ec2query.Errorf("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id)
}

func (c *call) disassociateRouteTable(in *associationIDInput) (*ec2query.Return, *ec2query.Error) {
	t, a, err := c.routeAssociation(in.AssociationID)
	if err != nil {
		return nil, err
	}
	if a.subnet == nil {
		return nil, ec2query.Errorf("InvalidParameterValue", "cannot disassociate the main route table association %s", a.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	t.dissociate(a.subnet)
	return ec2query.Done(), nil
}

type replaceAssociationInput struct {
	associationIDInput
	routeTableIDInput
}

type replaceAssociationOutput struct {
	ID    string              `xml:"newAssociationId"`
	State associationStateXML `xml:"associationState"`
}

// replaceAssociation also replaces the main route table of a VPC.
func (c *call) replaceAssociation(in *replaceAssociationInput) (*replaceAssociationOutput, *ec2query.Error) {
	from, a, err := c.routeAssociation(in.AssociationID)
	if err != nil {
		return nil, err
	}
	to, err := lookup(c, &c.routeTables, routeTableKind(), in.RouteTableID)
	if err != nil {
		return nil, err
	}
	if to.vpc != from.vpc {
		return nil, ec2query.Errorf("InvalidParameterValue", "route tables %s and %s belong to different networks", from.id, to.id)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	from.dissociate(a.subnet)
	if a.subnet == nil {
		to.vpc.main = to
	}
	return &replaceAssociationOutput{to.associate(a.subnet, c.server.nextSeq()).id, associationStateXML{"associated"}}, nil
}
