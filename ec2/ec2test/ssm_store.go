package ec2test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// imageDataType is the data type of parameters that name an image.
const imageDataType = "aws:ec2:image"

// parameter is one version of an SSM parameter.
type parameter struct {
	name     string
	value    string
	kind     string // String, StringList or SecureString
	dataType string // data type: text or aws:ec2:image
	version  int64
	changed  time.Time
	labels   []string
}

// parameterStore is the SSM parameters of all accounts and regions.
type parameterStore struct {
	mu  sync.Mutex
	all map[string][]parameter // the versions by key, the newest last
}

// get returns a parameter. Its name may have a selector: name:version or
// name:label.
func (ps *parameterStore) get(account, region, name string) (parameter, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if versions := ps.all[paramKey(account, region, name)]; len(versions) > 0 {
		return versions[len(versions)-1], true
	}
	name, selector, selected := strings.Cut(name, ":")
	if !selected {
		return parameter{}, false
	}
	for _, p := range ps.all[paramKey(account, region, name)] {
		if strconv.FormatInt(p.version, 10) == selector || slices.Contains(p.labels, selector) {
			return p, true
		}
	}
	return parameter{}, false
}

// put sets a parameter and returns its new version.
func (ps *parameterStore) put(account, region, name string, p parameter, now time.Time) int64 {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all == nil {
		ps.all = make(map[string][]parameter)
	}
	key := paramKey(account, region, name)
	p.name, p.version, p.changed = name, 1, now
	if have := ps.all[key]; len(have) > 0 {
		p.version = have[len(have)-1].version + 1
	}
	ps.all[key] = append(ps.all[key], p)
	return p.version
}

// label moves a label to a version; the newest when version is zero.
func (ps *parameterStore) label(account, region, name, label string, version int64) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	versions := ps.all[paramKey(account, region, name)]
	if len(versions) > 0 && version == 0 {
		version = versions[len(versions)-1].version
	}
	at := slices.IndexFunc(versions, func(p parameter) bool { return p.version == version })
	if at < 0 {
		return false
	}
	for i := range versions {
		versions[i].labels = slices.DeleteFunc(versions[i].labels, func(have string) bool { return have == label })
	}
	versions[at].labels = append(versions[at].labels, label)
	return true
}

// remove tells whether there was such a parameter.
func (ps *parameterStore) remove(account, region, name string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := paramKey(account, region, name)
	_, ok := ps.all[key]
	delete(ps.all, key)
	return ok
}

// of is the newest version of every parameter of an account in a region, by
// name, without AWS's own.
func (ps *parameterStore) list(account, region string) []parameter {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var out []parameter
	for key, versions := range ps.all {
		if strings.HasPrefix(key, account+" "+region+" ") {
			out = append(out, versions[len(versions)-1])
		}
	}
	slices.SortFunc(out, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	return out
}

// publicPrefix begins the names of the parameters that AWS gives everyone.
const publicPrefix = "/aws/service/"

func paramKey(account, region, name string) string {
	if strings.HasPrefix(name, publicPrefix) {
		account = "aws"
	}
	return account + " " + region + " " + name
}

func trimSlash(name string) string { return strings.TrimPrefix(name, "/") }

// aliasPrefix begins an image id that is the value of a parameter.
const aliasPrefix = "resolve:ssm:"

// resolveAlias is the image id that an id stands for: itself, or the value of
// the parameter after "resolve:ssm:". What can not be resolved stays as it is.
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
