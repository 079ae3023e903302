package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

type templateRefXML struct {
	ID      string `xml:"LaunchTemplateId"`
	Name    string `xml:"LaunchTemplateName"`
	Version string `xml:"Version"`
}

func (r *templateRef) xml() *templateRefXML {
	if r == nil {
		return nil
	}
	return &templateRefXML{r.LaunchTemplateID, r.LaunchTemplateName, r.Version}
}

type mixedPolicyXML struct {
	Template     *templateRefXML                     `xml:"LaunchTemplate>LaunchTemplateSpecification"`
	Overrides    *ec2query.Members[mixedOverrideXML] `xml:"LaunchTemplate>Overrides,omitempty"`
	Distribution *mixedDistributionXML               `xml:"InstancesDistribution,omitempty"`
}

type mixedOverrideXML struct {
	Image    string          `xml:"ImageId,omitempty"`
	Type     string          `xml:"InstanceType,omitempty"`
	Capacity string          `xml:"WeightedCapacity,omitempty"`
	Template *templateRefXML `xml:"LaunchTemplateSpecification,omitempty"`
}

type mixedDistributionXML struct {
	OnDemandStrategy string `xml:"OnDemandAllocationStrategy,omitempty"`
	OnDemandBase     *int   `xml:"OnDemandBaseCapacity,omitempty"`
	OnDemandPercent  *int   `xml:"OnDemandPercentageAboveBaseCapacity,omitempty"`
	SpotStrategy     string `xml:"SpotAllocationStrategy,omitempty"`
	SpotMaxPrice     string `xml:"SpotMaxPrice,omitempty"`
}

func (p *mixedPolicy) xml() *mixedPolicyXML {
	if p == nil {
		return nil
	}
	out := &mixedPolicyXML{Template: p.LaunchTemplate.LaunchTemplateSpecification.xml()}
	out.Overrides = ec2query.OptionalMembers(ec2query.MapSet(p.LaunchTemplate.Overrides, func(o mixedOverride) mixedOverrideXML {
		return mixedOverrideXML{o.ImageID, o.InstanceType, o.WeightedCapacity, o.LaunchTemplateSpecification.xml()}
	}).Items)
	if d := p.InstancesDistribution; d != nil {
		out.Distribution = &mixedDistributionXML{
			d.OnDemandAllocationStrategy, d.OnDemandBaseCapacity, d.OnDemandPercentageAboveBaseCapacity, d.SpotAllocationStrategy, d.SpotMaxPrice,
		}
	}
	return out
}
