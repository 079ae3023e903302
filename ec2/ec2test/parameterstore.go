package ec2test

import (
	"sync"
	"time"
)

// parameterStore is the SSM parameters of all accounts and regions.
type parameterStore struct {
	mu  sync.Mutex
	all map[string]parameter
}

func (ps *parameterStore) get(key string) (parameter, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, ok := ps.all[key]
	return p, ok
}

// put sets a parameter and returns its new version.
func (ps *parameterStore) put(key string, p parameter, now time.Time) int64 {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all == nil {
		ps.all = make(map[string]parameter)
	}
	p.version, p.changed = ps.all[key].version+1, now
	ps.all[key] = p
	return p.version
}
