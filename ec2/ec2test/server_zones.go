package ec2test

import (
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type regionXML struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

type describeRegionsInput struct {
	Filter     []filterParam
	RegionName []string
	AllRegions bool
}

type describeRegionsOutput struct {
	Regions ec2query.Set[regionXML] `xml:"regionInfo"`
}

func regionFilters() filters[regionXML] {
	return filters[regionXML]{
		"region-name":   func(_ *call, r regionXML) []string { return one(r.Name) },
		"endpoint":      func(_ *call, r regionXML) []string { return one(r.Endpoint) },
		"opt-in-status": func(_ *call, r regionXML) []string { return one(r.OptIn) },
	}
}

func (c *call) describeRegions(in *describeRegionsInput) (*describeRegionsOutput, *ec2query.Error) {
	m, err := c.server.known.regions.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	all := make(map[string]regionXML)
	for _, name := range c.server.opts.Regions {
		all[name] = regionXML{Name: name, Endpoint: "ec2." + name + ".amazonaws.com", OptIn: "opt-in-not-required"}
	}
	names := in.RegionName
	if len(names) == 0 {
		names = c.server.opts.Regions
	}
	out := &describeRegionsOutput{}
	for _, name := range names {
		r, ok := all[name]
		if !ok {
			return nil, ec2query.InvalidValue("region", name, "The region does not exist or is not enabled.")
		}
		if m.match(r) {
			out.Regions.Items = append(out.Regions.Items, r)
		}
	}
	return out, nil
}

type zoneXML struct {
	Zone   string `xml:"zoneName"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	ID     string `xml:"zoneId"`
	Group  string `xml:"groupName"`
	Border string `xml:"networkBorderGroup"`
	Type   string `xml:"zoneType"`
	OptIn  string `xml:"optInStatus"`
}

type describeZonesInput struct {
	Filter               []filterParam
	ZoneName             []string
	ZoneID               []string `ec2:"ZoneId"`
	AllAvailabilityZones bool
}

type describeZonesOutput struct {
	Zones ec2query.Set[zoneXML] `xml:"availabilityZoneInfo"`
}

func zoneFilters() filters[zoneXML] {
	return filters[zoneXML]{
		"zone-name":     func(_ *call, z zoneXML) []string { return one(z.Zone) },
		"zone-id":       func(_ *call, z zoneXML) []string { return one(z.ID) },
		"zone-type":     func(_ *call, z zoneXML) []string { return one(z.Type) },
		"region-name":   func(_ *call, z zoneXML) []string { return one(z.Region) },
		"group-name":    func(_ *call, z zoneXML) []string { return one(z.Group) },
		"state":         func(_ *call, z zoneXML) []string { return one(z.State) },
		"opt-in-status": func(_ *call, z zoneXML) []string { return one(z.OptIn) },
	}
}

func (c *call) describeZones(in *describeZonesInput) (*describeZonesOutput, *ec2query.Error) {
	m, err := c.server.known.zones.compile(c, in.Filter, nil)
	if err != nil {
		return nil, err
	}
	wanted := patterns(append(append([]string(nil), in.ZoneName...), in.ZoneID...))
	out := &describeZonesOutput{}
	found := 0
	for _, name := range c.zones() {
		z := zoneXML{name, "available", c.name, c.zoneID(name), c.name + "-zg-1", c.name, "availability-zone", "opt-in-not-required"}
		if len(wanted.exact) > 0 && !wanted.exact[z.Zone] && !wanted.exact[z.ID] {
			continue
		}
		found++
		if m.match(z) {
			out.Zones.Items = append(out.Zones.Items, z)
		}
	}
	if found < len(wanted.exact) {
		return nil, ec2query.Errorf("InvalidParameterValue", "Invalid availability zone-name or zone-id: %s", strings.Join(append(in.ZoneName, in.ZoneID...), ", "))
	}
	return out, nil
}
