package ec2test

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type rangeParam struct {
	CidrIP      string `ec2:"CidrIp"`
	Description string
}

type range6Param struct {
	CidrIPv6    string `ec2:"CidrIpv6"`
	Description string
}

type groupPairParam struct {
	GroupID     string `ec2:"GroupId"`
	GroupName   string
	UserID      string `ec2:"UserId"`
	VpcID       string `ec2:"VpcId"`
	Description string
}

type prefixListParam struct {
	PrefixListID string `ec2:"PrefixListId"`
	Description  string
}

type ipPermissionParam struct {
	IPProtocol    string `ec2:"IpProtocol"`
	FromPort      *int
	ToPort        *int
	IPRanges      []rangeParam      `ec2:"IpRanges"`
	IPv6Ranges    []range6Param     `ec2:"Ipv6Ranges"`
	Groups        []groupPairParam  `ec2:"Groups"`
	PrefixListIDs []prefixListParam `ec2:"PrefixListIds"`
}

// ruleParams are the parameters common to the calls that change rules.
type ruleParams struct {
	groupRef
	rangeParams
}

type rangeParams struct {
	IPPermissions []ipPermissionParam `ec2:"IpPermissions"`
	IPProtocol    string              `ec2:"IpProtocol"`
	FromPort      *int
	ToPort        *int
	CidrIP        string `ec2:"CidrIp"`
}

// rulesOf returns the rules that the parameters describe, without ids.
func (c *call) rulesOf(p *ruleParams, g *group, egress bool) ([]*rule, *ec2query.Error) {
	list := p.IPPermissions
	if p.CidrIP != "" || p.IPProtocol != "" {
		if len(list) > 0 {
			return nil, ec2query.InvalidCombination("The parameter 'ipPermissions' may not be used in combination with 'cidrIp'")
		}
		list = []ipPermissionParam{{
			IPProtocol: p.IPProtocol, FromPort: p.FromPort, ToPort: p.ToPort, IPRanges: []rangeParam{{CidrIP: p.CidrIP}},
		}}
	}
	var out []*rule
	for _, perm := range list {
		shape, err := perm.shape()
		if err != nil {
			return nil, err
		}
		shape.group, shape.egress = g, egress
		add := func(with func(*rule)) {
			made := *shape
			with(&made)
			out = append(out, &made)
		}
		for _, r := range perm.IPRanges {
			cidr, err := prefix(r.CidrIP, true)
			if err != nil {
				return nil, err
			}
			add(func(made *rule) { made.cidr, made.description = cidr, r.Description })
		}
		for _, r := range perm.IPv6Ranges {
			cidr, err := prefix(r.CidrIPv6, false)
			if err != nil {
				return nil, err
			}
			add(func(made *rule) { made.cidr, made.description = cidr, r.Description })
		}
		for _, pair := range perm.Groups {
			source, err := c.groupOf(groupRef{pair.GroupID, pair.GroupName})
			if err != nil {
				return nil, err
			}
			add(func(made *rule) { made.source, made.description = source, pair.Description })
		}
		for _, l := range perm.PrefixListIDs {
			add(func(made *rule) { made.prefixList, made.description = l.PrefixListID, l.Description })
		}
	}
	if len(out) == 0 {
		return nil, ec2query.MissingParameter("IpPermissions")
	}
	return out, nil
}

// prefix parses a CIDR block and clears its host bits, as EC2 does.
func prefix(s string, v4 bool) (netip.Prefix, *ec2query.Error) {
	cidr, err := netip.ParsePrefix(s)
	if err != nil || cidr.Addr().Is4() != v4 {
		return cidr, ec2query.Errorf("InvalidParameterValue", "CIDR block %s is malformed", s)
	}
	return cidr.Masked(), nil
}

// shape returns the rule without its source.
func (p ipPermissionParam) shape() (*rule, *ec2query.Error) {
	r := &rule{protocol: strings.ToLower(p.IPProtocol), from: -1, to: -1}
	switch r.protocol {
	case "":
		return nil, ec2query.MissingParameter("IpProtocol")
	case "6":
		r.protocol = "tcp"
	case "17":
		r.protocol = "udp"
	case "1":
		r.protocol = "icmp"
	case "58":
		r.protocol = "icmpv6"
	case "all":
		r.protocol = "-1"
	case "-1", "tcp", "udp", "icmp", "icmpv6":
	default:
		const highest = 255
		if n, err := strconv.Atoi(r.protocol); err != nil || n < 0 || n > highest {
			return nil, ec2query.Errorf("InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol.", p.IPProtocol)
		}
	}
	if r.protocol != "tcp" && r.protocol != "udp" {
		if p.FromPort != nil && p.ToPort != nil && strings.HasPrefix(r.protocol, "icmp") {
			r.from, r.to = *p.FromPort, *p.ToPort
		}
		return r, nil
	}
	if p.FromPort == nil || p.ToPort == nil {
		return nil, ec2query.Errorf("InvalidParameterValue", "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.")
	}
	r.from, r.to = *p.FromPort, *p.ToPort
	if r.from < 0 || r.to > 65535 || r.from > r.to {
		return nil, ec2query.Errorf("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", r.from, r.to)
	}
	return r, nil
}

type authorizeInput struct {
	ruleParams
	TagSpecification []tagSpecification
}

type authorizeOutput struct {
	Return bool                  `xml:"return"`
	Rules  ec2query.Set[ruleXML] `xml:"securityGroupRuleSet"`
}

func (c *call) authorizeIngress(in *authorizeInput) (*authorizeOutput, *ec2query.Error) {
	return c.authorize(in, false)
}

// authorizeEgressInput has no group name: names belong to EC2-Classic, which
// had no egress rules.
type authorizeEgressInput struct {
	GroupID string `ec2:"GroupId,required"`
	rangeParams
	TagSpecification []tagSpecification
}

func (c *call) authorizeEgress(in *authorizeEgressInput) (*authorizeOutput, *ec2query.Error) {
	return c.authorize(&authorizeInput{ruleParams{groupRef{GroupID: in.GroupID}, in.rangeParams}, in.TagSpecification}, true)
}

func (c *call) authorize(in *authorizeInput, egress bool) (*authorizeOutput, *ec2query.Error) {
	g, err := c.groupOf(in.groupRef)
	if err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "security-group-rule")
	if err != nil {
		return nil, err
	}
	rules, err := c.rulesOf(&in.ruleParams, g, egress)
	if err != nil {
		return nil, err
	}
	for _, made := range rules {
		if g.find(made.key()) != nil {
			return nil, duplicateRule(made)
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &authorizeOutput{Return: true}
	for _, made := range rules {
		made.base = c.newBase(ruleKind(), specs["security-group-rule"].clone())
		c.addRule(made)
		out.Rules.Items = append(out.Rules.Items, c.ruleXML(made))
	}
	return out, nil
}

func duplicateRule(r *rule) *ec2query.Error {
	return ec2query.Errorf("InvalidPermission.Duplicate", "the specified rule \"peer: %s, %s, from port: %d, to port: %d, ALLOW\" already exists",
		r.peer(), strings.ToUpper(r.protocol), r.from, r.to)
}

func missingRule() *ec2query.Error {
	return ec2query.Errorf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
}

func (g *group) find(key string) *rule {
	for _, r := range g.rules {
		if r.key() == key {
			return r
		}
	}
	return nil
}

type revokeInput struct {
	ruleParams
	SecurityGroupRuleID []string `ec2:"SecurityGroupRuleId"`
}

func (c *call) revokeIngress(in *revokeInput) (*ec2query.Return, *ec2query.Error) {
	return c.revoke(in, false)
}

type revokeEgressInput struct {
	GroupID string `ec2:"GroupId,required"`
	rangeParams
	SecurityGroupRuleID []string `ec2:"SecurityGroupRuleId"`
}

func (c *call) revokeEgress(in *revokeEgressInput) (*ec2query.Return, *ec2query.Error) {
	return c.revoke(&revokeInput{ruleParams{groupRef{GroupID: in.GroupID}, in.rangeParams}, in.SecurityGroupRuleID}, true)
}

// eachNamedRule calls do for the rules that a request names by content, and the group's
// own of the same content, which must exist.
func (c *call) eachNamedRule(in *ruleParams, g *group, egress bool, do func(want, have *rule)) *ec2query.Error {
	named, err := c.rulesOf(in, g, egress)
	if err != nil {
		return err
	}
	for _, want := range named {
		have := g.find(want.key())
		if have == nil {
			return missingRule()
		}
		do(want, have)
	}
	return nil
}

func (c *call) revoke(in *revokeInput, egress bool) (*ec2query.Return, *ec2query.Error) {
	g, err := c.groupOf(in.groupRef)
	if err != nil {
		return nil, err
	}
	var revoked []*rule
	for _, id := range in.SecurityGroupRuleID {
		r, err := lookup(c, &c.rules, ruleKind(), id)
		if err != nil {
			return nil, err
		}
		if r.group != g || r.egress != egress {
			return nil, ruleKind().missing(id)
		}
		revoked = append(revoked, r)
	}
	if len(in.SecurityGroupRuleID) == 0 {
		err := c.eachNamedRule(&in.ruleParams, g, egress, func(_, have *rule) { revoked = append(revoked, have) })
		if err != nil {
			return nil, err
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for _, r := range revoked {
		c.dropRule(r)
	}
	return ec2query.Done(), nil
}
