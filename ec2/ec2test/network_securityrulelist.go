package ec2test

import (
	"slices"
	"strconv"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type ruleXML struct {
	ID          string               `xml:"securityGroupRuleId"`
	Group       string               `xml:"groupId"`
	Owner       string               `xml:"groupOwnerId"`
	Egress      bool                 `xml:"isEgress"`
	Protocol    string               `xml:"ipProtocol"`
	From        int                  `xml:"fromPort"`
	To          int                  `xml:"toPort"`
	CIDR        string               `xml:"cidrIpv4,omitempty"`
	CIDR6       string               `xml:"cidrIpv6,omitempty"`
	PrefixList  string               `xml:"prefixListId,omitempty"`
	Source      *referencedGroupXML  `xml:"referencedGroupInfo,omitempty"`
	Description string               `xml:"description,omitempty"`
	Tags        ec2query.Set[tagXML] `xml:"tagSet"`
}

type referencedGroupXML struct {
	ID   string `xml:"groupId"`
	User string `xml:"userId"`
}

func (c *call) ruleXML(r *rule) ruleXML {
	out := ruleXML{
		ID: r.id, Group: r.group.id, Owner: r.owner, Egress: r.egress, Protocol: r.protocol, From: r.from, To: r.to,
		PrefixList: r.prefixList, Description: r.description, Tags: r.tags.set(c.now),
	}
	switch {
	case r.source != nil:
		out.Source = &referencedGroupXML{r.source.id, r.source.owner}
	case r.cidr.IsValid() && r.cidr.Addr().Is4():
		out.CIDR = r.cidr.String()
	case r.cidr.IsValid():
		out.CIDR6 = r.cidr.String()
	}
	return out
}

func ruleFilters() filters[*rule] {
	return filters[*rule]{
		"group-id":               func(_ *call, r *rule) []string { return one(r.group.id) },
		"security-group-rule-id": func(_ *call, r *rule) []string { return one(r.id) },
	}
}

type describeRulesInput struct {
	Filter              []filterParam
	SecurityGroupRuleID []string `ec2:"SecurityGroupRuleId"`
	pageParams
}

type describeRulesOutput struct {
	Rules ec2query.Set[ruleXML] `xml:"securityGroupRuleSet"`
	Next  string                `xml:"nextToken,omitempty"`
}

func (c *call) describeRules(in *describeRulesInput) (*describeRulesOutput, *ec2query.Error) {
	items, next, err := find(c, &c.rules, query[*rule]{
		kind: ruleKind(), ids: in.SecurityGroupRuleID, filters: in.Filter, known: c.server.known.rules,
		idName: "security-group-rule-id", page: in.pageParams,
	})
	return &describeRulesOutput{Next: next, Rules: ec2query.MapSet(items, c.ruleXML)}, err
}

// permissionSet holds the rules of a group with the same protocol and ports,
// which DescribeSecurityGroups combines.
type permissionSet struct {
	Protocol string                      `xml:"ipProtocol"`
	From     *int                        `xml:"fromPort,omitempty"`
	To       *int                        `xml:"toPort,omitempty"`
	Groups   ec2query.Set[groupPairXML]  `xml:"groups"`
	Ranges   ec2query.Set[rangeXML]      `xml:"ipRanges"`
	Ranges6  ec2query.Set[range6XML]     `xml:"ipv6Ranges"`
	Lists    ec2query.Set[prefixListXML] `xml:"prefixListIds"`
}

type rangeXML struct {
	CIDR        string `xml:"cidrIp"`
	Description string `xml:"description,omitempty"`
}

type range6XML struct {
	CIDR        string `xml:"cidrIpv6"`
	Description string `xml:"description,omitempty"`
}

type groupPairXML struct {
	User        string `xml:"userId"`
	Group       string `xml:"groupId"`
	Description string `xml:"description,omitempty"`
}

type prefixListXML struct {
	ID          string `xml:"prefixListId"`
	Description string `xml:"description,omitempty"`
}

func (g *group) permissions(egress bool) ec2query.Set[permissionSet] {
	var out []permissionSet
	shapes := make(map[string]int)
	for _, r := range g.rules {
		if r.egress != egress {
			continue
		}
		shape := r.protocol + " " + strconv.Itoa(r.from) + " " + strconv.Itoa(r.to)
		at, ok := shapes[shape]
		if !ok {
			at = len(out)
			shapes[shape] = at
			p := permissionSet{Protocol: r.protocol}
			if r.protocol != "-1" {
				from, to := r.from, r.to
				p.From, p.To = &from, &to
			}
			out = append(out, p)
		}
		p := &out[at]
		switch {
		case r.source != nil:
			p.Groups.Items = append(p.Groups.Items, groupPairXML{r.source.owner, r.source.id, r.description})
		case r.prefixList != "":
			p.Lists.Items = append(p.Lists.Items, prefixListXML{r.prefixList, r.description})
		case r.cidr.Addr().Is4():
			p.Ranges.Items = append(p.Ranges.Items, rangeXML{r.cidr.String(), r.description})
		default:
			p.Ranges6.Items = append(p.Ranges6.Items, range6XML{r.cidr.String(), r.description})
		}
	}
	return ec2query.SetOf(slices.Clip(out)...)
}
