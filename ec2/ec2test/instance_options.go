package ec2test

import (
	"cmp"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type metadataOptionsInput struct {
	InstanceID string `ec2:"InstanceId,required"`
	metadataParams
}

// check checks the hop limit; the other options are checked when they are parsed.
func (m *metadataParams) check() *ec2query.Error {
	const most = 64
	if hops := m.HTTPPutResponseHopLimit; hops != nil && (*hops < 1 || *hops > most) {
		return ec2query.InvalidValue("httpPutResponseHopLimit", intText(hops), "Expecting a value between 1 and 64.")
	}
	return nil
}

type metadataOptionsOutput struct {
	Instance string      `xml:"instanceId"`
	Options  metadataXML `xml:"instanceMetadataOptions"`
}

// modifyMetadataOptions changes the given options of an instance that runs or is stopped.
func (c *call) modifyMetadataOptions(in *metadataOptionsInput) (*metadataOptionsOutput, *ec2query.Error) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.metadataParams == (metadataParams{}) {
		return nil, ec2query.InvalidCombination("At least one instance metadata option must be specified")
	}
	if code := i.phase.code(c.now); code != running && code != stopped && code != pending {
		return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which its metadata options can be modified.", i.id)
	}
	if in.InstanceMetadataTags == "enabled" {
		var keys []string
		for _, tag := range i.tags.list(c.now) {
			keys = append(keys, tag.Key)
		}
		if err := checkMetadataTags(keys); err != nil {
			return nil, err
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	m := &i.metadata
	m.HTTPTokens = cmp.Or(in.HTTPTokens, m.HTTPTokens)
	m.HTTPEndpoint = cmp.Or(in.HTTPEndpoint, m.HTTPEndpoint)
	m.HTTPProtocolIPv6 = cmp.Or(in.HTTPProtocolIPv6, m.HTTPProtocolIPv6)
	m.InstanceMetadataTags = cmp.Or(in.InstanceMetadataTags, m.InstanceMetadataTags)
	if in.HTTPPutResponseHopLimit != nil {
		m.HTTPPutResponseHopLimit = in.HTTPPutResponseHopLimit
	}
	options := c.instanceXML(i).Metadata
	options.State = "pending"
	return &metadataOptionsOutput{i.id, options}, nil
}

type monitoredXML struct {
	ID         string        `xml:"instanceId"`
	Monitoring monitoringXML `xml:"monitoring"`
}

type monitorOutput struct {
	Instances ec2query.Set[monitoredXML] `xml:"instancesSet"`
}

func (c *call) monitorInstances(in *instanceIDsInput) (*monitorOutput, *ec2query.Error) {
	return c.setMonitoring(in.InstanceID, true, "pending")
}

func (c *call) unmonitorInstances(in *instanceIDsInput) (*monitorOutput, *ec2query.Error) {
	return c.setMonitoring(in.InstanceID, false, "disabling")
}

func (c *call) setMonitoring(ids []string, on bool, state string) (*monitorOutput, *ec2query.Error) {
	list, err := c.instancesOf(ids)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &monitorOutput{}
	for _, i := range list {
		i.monitoring = on
		out.Instances.Items = append(out.Instances.Items, monitoredXML{i.id, monitoringXML{state}})
	}
	return out, nil
}
