package ec2test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type group struct {
	base

	name        string
	description string
	vpc         *vpc
	rules       []*rule
	preset      bool // made by AddSecurityGroup
}

type rule struct {
	base

	group       *group
	egress      bool
	protocol    string // tcp, udp, icmp, a number, or -1 for all
	from, to    int
	cidr        netip.Prefix // IPv4 or IPv6; invalid if the source is a group or prefix list
	source      *group
	prefixList  string
	description string
}

// peer returns the rule's source or destination.
func (r *rule) peer() string {
	switch {
	case r.source != nil:
		return r.source.id
	case r.cidr.IsValid():
		return r.cidr.String()
	}
	return r.prefixList
}

// key returns a string that is equal for equal rules.
func (r *rule) key() string {
	return strconv.FormatBool(r.egress) + " " + r.protocol + " " + strconv.Itoa(r.from) + " " + strconv.Itoa(r.to) + " " + r.peer()
}

// admits reports whether the group admits a TCP connection.
func (g *group) admits(from netip.Addr, port int) bool {
	return slices.ContainsFunc(g.rules, func(r *rule) bool {
		if r.egress || !r.cidr.IsValid() || !r.cidr.Contains(from) {
			return false
		}
		return r.protocol == "-1" || r.protocol == "tcp" && r.from <= port && port <= r.to
	})
}

func (r *region) defaultGroup(b base, v *vpc) {
	g := &group{base: b, name: "default", description: "default VPC security group", vpc: v}
	begin := func() base {
		return base{id: newID("sgr-", r.server.nextSeq()), seq: r.server.nextSeq(), owner: b.owner, created: b.created}
	}
	r.groups.put(g)
	r.addRule(&rule{base: begin(), group: g, protocol: "-1", from: -1, to: -1, source: g})
	r.addRule(&rule{base: begin(), group: g, egress: true, protocol: "-1", from: -1, to: -1, cidr: everywhere()})
}

func everywhere() netip.Prefix { return netip.PrefixFrom(netip.IPv4Unspecified(), 0) }

func (r *region) addRule(made *rule) {
	made.group.rules = append(made.group.rules, made)
	r.rules.put(made)
}

func (r *region) dropRule(gone *rule) {
	gone.group.rules = slices.DeleteFunc(gone.group.rules, func(have *rule) bool { return have == gone })
	r.rules.remove(gone.id)
}

func (r *region) dropGroup(g *group) {
	for _, gone := range slices.Clone(g.rules) {
		r.dropRule(gone)
	}
	r.groups.remove(g.id)
}

type groupIDXML struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

func (g *group) xmlID() groupIDXML { return groupIDXML{g.id, g.name} }

type groupXML struct {
	ID          string                      `xml:"groupId"`
	Name        string                      `xml:"groupName"`
	Owner       string                      `xml:"ownerId"`
	Description string                      `xml:"groupDescription"`
	VPC         string                      `xml:"vpcId"`
	ARN         string                      `xml:"securityGroupArn"`
	Ingress     ec2query.Set[permissionSet] `xml:"ipPermissions"`
	Egress      ec2query.Set[permissionSet] `xml:"ipPermissionsEgress"`
	Tags        *ec2query.Set[tagXML]       `xml:"tagSet,omitempty"`
}

func (c *call) groupXML(g *group) groupXML {
	return groupXML{
		ID: g.id, Name: g.name, Owner: g.owner, Description: g.description, VPC: g.vpc.id, ARN: c.arn("security-group", g.id),
		Ingress: g.permissions(false), Egress: g.permissions(true), Tags: g.tags.optional(c.now),
	}
}

func groupFilters() filters[*group] {
	each := func(egress bool, get func(*rule) string) func(*call, *group) []string {
		return func(_ *call, g *group) []string {
			var out []string
			for _, r := range g.rules {
				if v := get(r); r.egress == egress && v != "" {
					out = append(out, v)
				}
			}
			return out
		}
	}
	cidr := func(r *rule, v4 bool) string {
		if !r.cidr.IsValid() || r.cidr.Addr().Is4() != v4 {
			return ""
		}
		return r.cidr.String()
	}
	all := filters[*group]{
		"group-id":                      func(_ *call, g *group) []string { return one(g.id) },
		"group-name":                    func(_ *call, g *group) []string { return one(g.name) },
		"description":                   func(_ *call, g *group) []string { return one(g.description) },
		"vpc-id":                        func(_ *call, g *group) []string { return one(g.vpc.id) },
		"owner-id":                      func(_ *call, g *group) []string { return one(g.owner) },
		"ip-permission.protocol":        each(false, func(r *rule) string { return r.protocol }),
		"egress.ip-permission.protocol": each(true, func(r *rule) string { return r.protocol }),
	}
	for prefix, egress := range map[string]bool{"ip-permission.": false, "egress.ip-permission.": true} {
		all[prefix+"cidr"] = each(egress, func(r *rule) string { return cidr(r, true) })
		all[prefix+"ipv6-cidr"] = each(egress, func(r *rule) string { return cidr(r, false) })
		all[prefix+"from-port"] = each(egress, func(r *rule) string { return strconv.Itoa(r.from) })
		all[prefix+"to-port"] = each(egress, func(r *rule) string { return strconv.Itoa(r.to) })
		all[prefix+"prefix-list-id"] = each(egress, func(r *rule) string { return r.prefixList })
		for suffix, get := range map[string]func(*group) string{
			"group-id": func(g *group) string { return g.id }, "group-name": func(g *group) string { return g.name }, "user-id": func(g *group) string { return g.owner },
		} {
			all[prefix+suffix] = each(egress, func(r *rule) string {
				if r.source == nil {
					return ""
				}
				return get(r.source)
			})
		}
	}
	return all
}

type describeGroupsInput struct {
	Filter    []filterParam
	GroupID   []string `ec2:"GroupId"`
	GroupName []string
	pageParams
}

type describeGroupsOutput struct {
	Groups ec2query.Set[groupXML] `xml:"securityGroupInfo"`
	Next   string                 `xml:"nextToken,omitempty"`
}

func (c *call) describeGroups(in *describeGroupsInput) (*describeGroupsOutput, *ec2query.Error) {
	ids := slices.Clone(in.GroupID)
	for _, name := range in.GroupName {
		g, err := c.groupByName(name, nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, g.id)
	}
	items, next, err := find(c, &c.groups, query[*group]{
		kind: groupKind(), ids: ids, filters: in.Filter, known: c.server.known.groups, idName: "group-id", page: in.pageParams,
	})
	return &describeGroupsOutput{Next: next, Groups: ec2query.MapSet(items, c.groupXML)}, err
}

// groupByName returns the group with a name in a VPC. A nil VPC means the
// default one.
func (c *call) groupByName(name string, v *vpc) (*group, *ec2query.Error) {
	if v == nil {
		if v = c.defaultVPC(); v == nil {
			return nil, ec2query.Errorf("VPCIdNotSpecified", "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.")
		}
	}
	for g := range c.groups.all() {
		if g.name == name && g.vpc == v && c.isVisible(&g.base) {
			return g, nil
		}
	}
	return nil, ec2query.Errorf("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, v.id)
}

// chooseGroups returns the groups of an instance, by id or name, or else the
// default group.
func (c *call) chooseGroups(ids, names []string, in *subnet) ([]*group, *ec2query.Error) {
	if len(ids) > 0 && len(names) > 0 {
		return nil, ec2query.InvalidCombination("The parameter groupName may not be used in combination with the parameter groupId")
	}
	out, err := lookups(c, &c.groups, groupKind(), ids)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		g, err := c.groupByName(name, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	for _, g := range out {
		if g.vpc != in.vpc {
			return nil, ec2query.Errorf("InvalidParameter", "Security group %s and subnet %s belong to different networks.", g.id, in.id)
		}
	}
	if len(out) == 0 {
		g, err := c.groupByName("default", in.vpc)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

type createGroupInput struct {
	GroupName        string `ec2:"GroupName,required"`
	GroupDescription string `ec2:"GroupDescription,required"`
	VpcID            string `ec2:"VpcId"`
	TagSpecification []tagSpecification
}

type createGroupOutput struct {
	ID   string                `xml:"groupId"`
	ARN  string                `xml:"securityGroupArn"`
	Tags *ec2query.Set[tagXML] `xml:"tagSet,omitempty"`
}

func (c *call) createGroup(in *createGroupInput) (*createGroupOutput, *ec2query.Error) {
	v := c.defaultVPC()
	if in.VpcID != "" {
		var err *ec2query.Error
		if v, err = lookup(c, &c.vpcs, vpcKind(), in.VpcID); err != nil {
			return nil, err
		}
	} else if v == nil {
		return nil, ec2query.Errorf("VPCIdNotSpecified", "No default VPC for this user")
	}
	specs, err := tagSpecs(in.TagSpecification, "security-group")
	if err != nil {
		return nil, err
	}
	name, isID := strings.CutPrefix(in.GroupName, "sg-")
	switch {
	case len(in.GroupName) > 255 || !plainText(in.GroupName):
		return nil, ec2query.InvalidValue("groupName", in.GroupName, "Character sets beyond ASCII or more than 255 characters are not supported.")
	case in.GroupName == "default":
		return nil, ec2query.Errorf("InvalidParameterValue", "Cannot use reserved security group name: default")
	case isID && name != "":
		return nil, ec2query.InvalidValue("groupName", in.GroupName, "Group names may not be in the format sg-*.")
	case len(in.GroupDescription) > 255 || !plainText(in.GroupDescription):
		return nil, ec2query.InvalidValue("groupDescription", in.GroupDescription, "Character sets beyond ASCII or more than 255 characters are not supported.")
	}
	for g := range c.groups.all() {
		if g.name == in.GroupName && g.vpc == v {
			return nil, ec2query.Errorf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.GroupName, v.id)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	g := &group{base: c.newBase(groupKind(), specs["security-group"]), name: in.GroupName, description: in.GroupDescription, vpc: v}
	c.groups.put(g)
	c.addRule(&rule{base: c.newBase(ruleKind(), nil), group: g, egress: true, protocol: "-1", from: -1, to: -1, cidr: everywhere()})
	return &createGroupOutput{ID: g.id, ARN: c.arn("security-group", g.id), Tags: g.tags.optional(c.now)}, nil
}

func plainText(s string) bool {
	for _, r := range s {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return true
}

type groupRef struct {
	GroupID   string `ec2:"GroupId"`
	GroupName string
}

func (c *call) groupOf(ref groupRef) (*group, *ec2query.Error) {
	switch {
	case ref.GroupID != "":
		return lookup(c, &c.groups, groupKind(), ref.GroupID)
	case ref.GroupName != "":
		return c.groupByName(ref.GroupName, nil)
	}
	return nil, ec2query.MissingParameter("GroupId")
}

type deleteGroupOutput struct {
	Return bool   `xml:"return"`
	ID     string `xml:"groupId"`
}

func (c *call) deleteGroup(in *groupRef) (*deleteGroupOutput, *ec2query.Error) {
	g, err := c.groupOf(*in)
	if err != nil {
		return nil, err
	}
	if g.name == "default" {
		return nil, ec2query.Errorf("CannotDelete", "the specified group: %q name: \"default\" cannot be deleted by a user", g.id)
	}
	for nic := range c.interfaces.all() {
		if slices.Contains(nic.groups, g) {
			return nil, ec2query.Errorf("DependencyViolation", "resource %s has a dependent object", g.id)
		}
	}
	for other := range c.rules.all() {
		if other.source == g && other.group != g {
			return nil, ec2query.Errorf("DependencyViolation", "resource %s has a dependent object", g.id)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	c.dropGroup(g)
	return &deleteGroupOutput{Return: true, ID: g.id}, nil
}
