package ec2test

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// parameter is a version of an SSM parameter.
type parameter struct {
	name        string
	value       string
	kind        string // "String", "StringList" or "SecureString"
	dataType    string // "text", "aws:ec2:image" or "aws:ssm:integration"
	description string
	pattern     string // that values must match
	tier        string // "Standard" or "Advanced"
	keyID       string // of a SecureString
	version     int64
	changed     time.Time
	labels      []string
}

// parameterEntry holds the versions of a parameter, oldest first.
type parameterEntry struct {
	tags     tags
	versions []parameter
}

func (e *parameterEntry) latest() parameter { return e.versions[len(e.versions)-1] }

// find returns the version with a selector: a number or a label. The empty
// selector selects the latest version.
func (e *parameterEntry) find(selector string) (parameter, bool) {
	if selector == "" {
		return e.latest(), true
	}
	for _, p := range e.versions {
		if strconv.FormatInt(p.version, 10) == selector || slices.Contains(p.labels, selector) {
			return p, true
		}
	}
	return parameter{}, false
}

// maxVersions is SSM's limit on the versions of a parameter.
const maxVersions = 100

// add adds a version and returns its number. The oldest version goes if there
// are too many, unless it has a label.
func (e *parameterEntry) add(p parameter, now time.Time) (int64, *ec2query.Error) {
	p.version, p.changed, p.labels = 1, now, nil
	p.tier, p.dataType = cmp.Or(p.tier, "Standard"), cmp.Or(p.dataType, "text")
	if len(e.versions) > 0 {
		p.version, p.name = e.latest().version+1, e.latest().name
	}
	if len(e.versions) >= maxVersions {
		if oldest := e.versions[0]; len(oldest.labels) > 0 {
			return 0, ec2query.Errorf("ParameterMaxVersionLimitExceeded", "You attempted to create a new version of %s by calling the PutParameter API with the overwrite flag. "+
				"Version %d, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again.", p.name, oldest.version)
		}
		e.versions = e.versions[1:]
	}
	e.versions = append(e.versions, p)
	return p.version, nil
}

// parameterStore holds the SSM parameters of all accounts and regions.
type parameterStore struct {
	mu  sync.Mutex
	all map[string]*parameterEntry // by paramKey
}

// entry runs f with a parameter, and reports whether it exists. The name has no
// selector.
func (ps *parameterStore) entry(account, region, name string, f func(*parameterEntry)) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	e := ps.all[paramKey(account, region, name)]
	if e != nil {
		f(e)
	}
	return e != nil
}

// get returns a parameter by name, or by name and selector: name:version or
// name:label.
func (ps *parameterStore) get(account, region, name string) (p parameter, ok bool) {
	name, selector, _ := strings.Cut(name, ":")
	ps.entry(account, region, name, func(e *parameterEntry) { p, ok = e.find(selector) })
	return p, ok
}

// put sets a parameter and returns its new version.
func (ps *parameterStore) put(account, region string, p parameter, t tags, now time.Time) (int64, *ec2query.Error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all == nil {
		ps.all = make(map[string]*parameterEntry)
	}
	key := paramKey(account, region, p.name)
	if ps.all[key] == nil {
		ps.all[key] = &parameterEntry{tags: t}
	}
	return ps.all[key].add(p, now)
}

// remove deletes a parameter and reports whether it existed.
func (ps *parameterStore) remove(account, region, name string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := paramKey(account, region, name)
	_, ok := ps.all[key]
	delete(ps.all, key)
	return ok
}

// publicOwner owns AWS's public parameters.
const publicOwner = "aws"

// list returns copies of an account's parameters in a region, by name. It omits
// AWS's public ones, which belong to publicOwner.
func (ps *parameterStore) list(account, region string) []parameterEntry {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var out []parameterEntry
	for key, e := range ps.all {
		if strings.HasPrefix(key, account+" "+region+" ") {
			out = append(out, parameterEntry{e.tags.clone(), slices.Clone(e.versions)})
		}
	}
	slices.SortFunc(out, func(a, b parameterEntry) int { return strings.Compare(a.latest().name, b.latest().name) })
	return out
}

// publicPrefix precedes the names of AWS's public parameters.
const publicPrefix = "/aws/service/"

// paramKey returns the key of a parameter. A name of one level is the same with
// and without a slash in front.
func paramKey(account, region, name string) string {
	if strings.HasPrefix(name, publicPrefix) {
		account = publicOwner
	}
	return account + " " + region + " " + trimSlash(name)
}

func trimSlash(name string) string { return strings.TrimPrefix(name, "/") }

// aliasPrefix marks an image id as the name of a parameter.
const aliasPrefix = "resolve:ssm:"

// resolveAlias returns the value of the parameter named by an id with the
// prefix "resolve:ssm:". It returns any other id, and one that cannot be
// resolved, unchanged.
func (c *call) resolveAlias(id string) string {
	name, ok := strings.CutPrefix(id, aliasPrefix)
	if !ok {
		return id
	}
	p, ok := c.server.params.get(c.account, c.name, name)
	if !ok {
		return id
	}
	return p.value
}
