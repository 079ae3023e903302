package ec2test

import (
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// terminatedShown is how long a terminated instance stays visible.
const terminatedShown = time.Hour

// region is one region with the resources of all accounts. Everything in it is
// guarded by mu, which every call holds while it runs.
type region struct {
	server *Server
	name   string

	mu         sync.Mutex
	accounts   map[string]*accountState // by account
	images     table[*image]
	snapshots  table[*snapshot]
	volumes    table[*volume]
	instances  table[*instance]
	interfaces table[*eni]
	groups     table[*group]
	rules      table[*rule]
	keyPairs   table[*keyPair]
	templates  table[*template]
	vpcs       table[*vpc]
	subnets    table[*subnet]

	scalingGroups table[*scalingGroup]
	launchConfigs table[*launchConfig]
	spotRequests  table[*spotRequest]
	spotFleets    table[*spotFleet]
	fleets        table[*fleet]
	usageReports  table[*usageReport]
	imageBin      table[*binEntry[*image]]
	snapshotBin   table[*binEntry[*snapshot]]
	binRules      table[*binRule]
	recipes       []imageRecipe

	tokens           map[string]token
	buckets          map[string]*bucket
	imageNames       map[string]string   // image ids by account and name
	imagesBySnapshot map[string][]*image // by snapshot id
	keyrings         map[string]*keyring // KMS keys by account
	terminating      []*instance         // shutting down, the first to end first
	terminated       []*instance         // terminated and still shown
}

func newRegion(s *Server, name string) *region {
	r := &region{
		server:           s,
		name:             name,
		accounts:         make(map[string]*accountState),
		tokens:           make(map[string]token),
		buckets:          make(map[string]*bucket),
		imageNames:       make(map[string]string),
		imagesBySnapshot: make(map[string][]*image),
	}
	r.addVendors()
	return r
}

// zones are the names of the availability zones.
func (r *region) zones() []string {
	return []string{r.name + "a", r.name + "b", r.name + "c"}
}

// zoneID is the zone's name that is the same for all accounts: use1-az1.
func (r *region) zoneID(zone string) string {
	return regionCode(r.name) + "-az" + string('1'+zone[len(zone)-1]-'a')
}

// regionCode is the short name of a region in zone ids: us-east-1 is use1 and
// ap-southeast-2 is apse2.
func regionCode(name string) string {
	parts := strings.SplitN(name, "-", 3)
	if len(parts) < 3 {
		return name
	}
	short := strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c")
	return parts[0] + short.Replace(parts[1]) + parts[2]
}

// sweep does what has become due by now: it frees what terminated instances
// held, and forgets those that have been shown long enough. Instances end in
// the order in which they began to, so only the first ones need a look.
func (r *region) sweep(now time.Time) {
	for len(r.terminating) > 0 && r.terminating[0].phase.code(now) == terminated {
		r.freeResources(r.terminating[0])
		r.terminated = append(r.terminated, r.terminating[0])
		r.terminating = r.terminating[1:]
	}
	for len(r.terminated) > 0 && now.Sub(r.terminated[0].phase.at) >= terminatedShown {
		r.instances.remove(r.terminated[0].id)
		r.terminated = r.terminated[1:]
	}
}

// machines are the machines that are switched on.
func (r *region) machines() []*machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	var on []*machine
	for i := range r.instances.all() {
		if i.machine != nil {
			on = append(on, i.machine)
		}
	}
	return on
}

// anyRecord is the resource of the caller that has this id, of any kind that
// can have tags.
func (c *call) anyRecord(id string) (*base, *ec2query.Error) {
	finders := []struct {
		kind kind
		get  func(id string) (*base, bool)
	}{
		{imageKind(), baseOf(&c.images)},
		{snapshotKind(), baseOf(&c.snapshots)},
		{volumeKind(), baseOf(&c.volumes)},
		{interfaceKind(), baseOf(&c.interfaces)},
		{instanceKind(), baseOf(&c.instances)},
		{groupKind(), baseOf(&c.groups)},
		{ruleKind(), baseOf(&c.rules)},
		{keyPairKind(), baseOf(&c.keyPairs)},
		{templateKind(), baseOf(&c.templates)},
		{vpcKind(), baseOf(&c.vpcs)},
		{subnetKind(), baseOf(&c.subnets)},
	}
	for _, f := range finders {
		if _, ok := trimPrefix(id, f.kind.prefix); !ok {
			continue
		}
		b, ok := f.get(id)
		if !ok || !c.owns(b) || !c.isVisible(b) {
			return nil, f.kind.missing(id)
		}
		return b, nil
	}
	return nil, ec2query.Errorf("InvalidID", "The ID '%s' is not valid", id)
}

func baseOf[T record](t *table[T]) func(id string) (*base, bool) {
	return func(id string) (*base, bool) {
		r, ok := t.get(id)
		if !ok {
			return nil, false
		}
		return r.meta(), true
	}
}

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
