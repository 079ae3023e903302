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
