package ec2test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// imageDataType is the data type of parameters that hold an image id.
const imageDataType = "aws:ec2:image"

// parameter is a version of an SSM parameter.
type parameter struct {
	name     string
	value    string
	kind     string // "String", "StringList" or "SecureString"
	dataType string // "text" or "aws:ec2:image"
	version  int64
	changed  time.Time
	labels   []string
}

// parameterStore holds the SSM parameters of all accounts and regions.
type parameterStore struct {
	mu  sync.Mutex
	all map[string][]parameter // versions, oldest first, by paramKey
}

// get returns a parameter by name, or by name and selector: name:version or
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

// label moves a label to a version; zero means the latest. It reports whether
// the version exists.
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

// remove deletes a parameter and reports whether it existed.
func (ps *parameterStore) remove(account, region, name string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	key := paramKey(account, region, name)
	_, ok := ps.all[key]
	delete(ps.all, key)
	return ok
}

// list returns the latest versions of an account's parameters in a region, by
// name. It omits AWS's public ones.
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

// publicPrefix precedes the names of AWS's public parameters.
const publicPrefix = "/aws/service/"

func paramKey(account, region, name string) string {
	if strings.HasPrefix(name, publicPrefix) {
		account = "aws"
	}
	return account + " " + region + " " + name
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
