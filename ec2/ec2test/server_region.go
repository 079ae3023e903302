package ec2test

import (
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// terminatedShown is how long a terminated instance stays visible.
const terminatedShown = time.Hour

// region holds the resources of all accounts in a region. Everything is guarded
// by mu, which a call holds while it runs.
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
	gateways   table[*internetGateway]
	addresses  table[*elasticIP]
	nats       table[*natGateway]

	routeTables table[*routeTable]

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
	commands      []*sentCommand

	tokens           map[string]token
	buckets          map[string]*bucket
	imageNames       map[string]string   // image ids by account and name
	imagesBySnapshot map[string][]*image // by snapshot id
	keyrings         map[string]*keyring // KMS keys by account
	detaching        []*volume           // first to end first
	terminating      []*instance         // in shutting-down, first to end first
	terminated       []*instance         // and still shown
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

// zones returns the names of the availability zones.
func (r *region) zones() []string {
	letters, _ := zoneLayout(r.name)
	out := make([]string, 0, len(letters))
	for _, letter := range letters {
		out = append(out, r.name+string(letter))
	}
	return out
}

// zoneLayout returns the letters of a region's zones as a new account sees them,
// and the numbers of their ids in the same order.
func zoneLayout(region string) (letters, ids string) {
	switch region {
	case "us-east-1":
		return "abcdef", "612435"
	case "us-west-1":
		return "ab", "31"
	case "us-west-2":
		return "abcd", "2134"
	case "ap-northeast-1":
		return "acd", "412"
	case "ap-northeast-2":
		return "abcd", "1234"
	case "ca-central-1":
		return "abd", "124"
	}
	return "abc", "123"
}

// zoneID returns the id of a zone, such as use1-az1.
func (r *region) zoneID(zone string) string {
	letters, ids := zoneLayout(r.name)
	at := strings.IndexByte(letters, zone[len(zone)-1])
	return regionCode(r.name) + "-az" + ids[at:at+1]
}

// regionCode returns the abbreviation of a region in zone ids: "use1" for
// us-east-1, "apse2" for ap-southeast-2.
func regionCode(name string) string {
	parts := strings.SplitN(name, "-", 3)
	if len(parts) < 3 {
		return name
	}
	short := strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c")
	return parts[0] + short.Replace(parts[1]) + parts[2]
}

// sweep applies what has become due by now: it detaches volumes, frees the
// resources of terminated instances, and removes those shown long enough. The
// lists are in order of time, so only their heads are checked.
func (r *region) sweep(now time.Time) {
	for len(r.detaching) > 0 {
		v := r.detaching[0]
		if v.detaching && now.Before(v.done) {
			break
		}
		if v.detaching { // not yet by the termination of the instance
			v.detach()
		}
		r.detaching = r.detaching[1:]
	}
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

// machines returns the machines that are on.
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

// shelf is a table of taggable resources.
type shelf struct {
	kind kind
	get  func(id string) (*base, bool)
	all  iter.Seq[*base]
}

func shelfOf[T record](t *table[T], k kind) shelf {
	return shelf{kind: k, get: baseOf(t), all: func(yield func(*base) bool) {
		for r := range t.all() {
			if !yield(r.meta()) {
				return
			}
		}
	}}
}

// shelves returns the tables of all kinds of taggable resources.
func (r *region) shelves() []shelf {
	return []shelf{
		shelfOf(&r.images, imageKind()), shelfOf(&r.snapshots, snapshotKind()), shelfOf(&r.volumes, volumeKind()),
		shelfOf(&r.instances, instanceKind()), shelfOf(&r.interfaces, interfaceKind()),
		shelfOf(&r.groups, groupKind()), shelfOf(&r.rules, ruleKind()),
		shelfOf(&r.keyPairs, keyPairKind()), shelfOf(&r.templates, templateKind()),
		shelfOf(&r.spotRequests, spotKind()), shelfOf(&r.spotFleets, spotFleetKind()), shelfOf(&r.fleets, fleetKind()),
		shelfOf(&r.routeTables, routeTableKind()), shelfOf(&r.gateways, gatewayKind()),
		shelfOf(&r.addresses, elasticKind()), shelfOf(&r.nats, natKind()),
		shelfOf(&r.subnets, subnetKind()), shelfOf(&r.vpcs, vpcKind()),
	}
}

// anyRecord returns the caller's taggable resource of any kind with an id.
func (c *call) anyRecord(id string) (*base, *ec2query.Error) {
	for _, s := range c.shelves() {
		if !strings.HasPrefix(id, s.kind.prefix) {
			continue
		}
		b, ok := s.get(id)
		if !ok || !c.owns(b) || !c.isVisible(b) {
			return nil, s.kind.missing(id)
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
