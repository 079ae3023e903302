package ec2test

import (
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// ruleParam is the new form of a rule.
type ruleParam struct {
	IPProtocol        string `ec2:"IpProtocol"`
	FromPort          *int
	ToPort            *int
	CidrIPv4          string `ec2:"CidrIpv4"`
	CidrIPv6          string `ec2:"CidrIpv6"`
	PrefixListID      string `ec2:"PrefixListId"`
	ReferencedGroupID string `ec2:"ReferencedGroupId"`
	Description       string
}

type ruleUpdate struct {
	SecurityGroupRuleID string     `ec2:"SecurityGroupRuleId,required"`
	SecurityGroupRule   *ruleParam `ec2:"SecurityGroupRule,required"`
}

type modifyRulesInput struct {
	GroupID           string       `ec2:"GroupId,required"`
	SecurityGroupRule []ruleUpdate `ec2:"SecurityGroupRule,required"`
}

// changed returns the rule that p describes, in the place of old.
func (c *call) changed(old *rule, p *ruleParam) (*rule, *ec2query.Error) {
	perm := ipPermissionParam{IPProtocol: p.IPProtocol, FromPort: p.FromPort, ToPort: p.ToPort}
	sources := 0
	if p.CidrIPv4 != "" {
		perm.IPRanges = []rangeParam{{p.CidrIPv4, p.Description}}
		sources++
	}
	if p.CidrIPv6 != "" {
		perm.IPv6Ranges = []range6Param{{p.CidrIPv6, p.Description}}
		sources++
	}
	if p.PrefixListID != "" {
		perm.PrefixListIDs = []prefixListParam{{p.PrefixListID, p.Description}}
		sources++
	}
	if p.ReferencedGroupID != "" {
		perm.Groups = []groupPairParam{{GroupID: p.ReferencedGroupID, Description: p.Description}}
		sources++
	}
	if sources != 1 {
		return nil, ec2query.InvalidCombination("The rule %s must have exactly one of CidrIpv4, CidrIpv6, PrefixListId and ReferencedGroupId", old.id)
	}
	list, err := c.rulesOf(&ruleParams{rangeParams: rangeParams{IPPermissions: []ipPermissionParam{perm}}}, old.group, old.egress)
	if err != nil {
		return nil, err
	}
	list[0].base = old.base
	return list[0], nil
}

func (c *call) modifyRules(in *modifyRulesInput) (*ec2query.Return, *ec2query.Error) {
	g, err := lookup(c, &c.groups, groupKind(), in.GroupID)
	if err != nil {
		return nil, err
	}
	next := make(map[string]*rule, len(in.SecurityGroupRule))
	for _, u := range in.SecurityGroupRule {
		old, err := lookup(c, &c.rules, ruleKind(), u.SecurityGroupRuleID)
		switch {
		case err != nil:
			return nil, err
		case old.group != g:
			return nil, ruleKind().missing(old.id)
		case next[old.id] != nil:
			return nil, ec2query.InvalidValue("SecurityGroupRuleId", old.id, "It is specified twice.")
		}
		if next[old.id], err = c.changed(old, u.SecurityGroupRule); err != nil {
			return nil, err
		}
	}
	keys := make(map[string]bool, len(g.rules))
	for _, r := range g.rules {
		if made := next[r.id]; made != nil {
			r = made
		}
		if keys[r.key()] {
			return nil, duplicateRule(r)
		}
		keys[r.key()] = true
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for _, r := range g.rules {
		if made := next[r.id]; made != nil {
			*r = *made
		}
	}
	return ec2query.Done(), nil
}

type ruleDescription struct {
	SecurityGroupRuleID string `ec2:"SecurityGroupRuleId,required"`
	Description         string
}

type describeRuleInput struct {
	groupRef
	IPPermissions                []ipPermissionParam `ec2:"IpPermissions"`
	SecurityGroupRuleDescription []ruleDescription
}

func (c *call) updateIngressText(in *describeRuleInput) (*ec2query.Return, *ec2query.Error) {
	return c.updateText(in, false)
}

func (c *call) updateEgressText(in *describeRuleInput) (*ec2query.Return, *ec2query.Error) {
	return c.updateText(in, true)
}

// updateText changes the descriptions of rules named by id or by content.
func (c *call) updateText(in *describeRuleInput, egress bool) (*ec2query.Return, *ec2query.Error) {
	g, err := c.groupOf(in.groupRef)
	if err != nil {
		return nil, err
	}
	texts := make(map[*rule]string)
	for _, d := range in.SecurityGroupRuleDescription {
		at := slices.IndexFunc(g.rules, func(r *rule) bool { return r.id == d.SecurityGroupRuleID && r.egress == egress })
		if at < 0 {
			return nil, ruleKind().missing(d.SecurityGroupRuleID)
		}
		texts[g.rules[at]] = d.Description
	}
	if len(texts) == 0 || len(in.IPPermissions) > 0 {
		err := c.eachNamedRule(&ruleParams{rangeParams: rangeParams{IPPermissions: in.IPPermissions}}, g, egress, func(want, have *rule) { texts[have] = want.description })
		if err != nil {
			return nil, err
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for r, text := range texts {
		r.description = text
	}
	return ec2query.Done(), nil
}
