package ec2test

import (
	"slices"
	"time"
)

// A Change is the moment at which a resource reached a state by itself, which
// is what bakes wait for.
type Change struct {
	ID    string
	State string // "running", "stopped", "terminated"; "available" and "failed" of an image; "completed" and "error" of a snapshot
	Time  time.Time
}

// Changes are all changes that have happened, in their order. What a client
// knew later than that, it noticed late.
func (s *Server) Changes() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var out []Change
	for _, list := range s.changes {
		for _, c := range list {
			if !c.Time.After(now) {
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return a.Time.Compare(b.Time) })
	return out
}

// willChange notes when a resource will reach a state. What it would have
// reached later than now by an earlier note, it does not.
func (s *Server) willChange(id, state string, at, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(s.changes[id], func(c Change) bool { return c.Time.After(now) })
	s.changes[id] = append(list, Change{ID: id, State: state, Time: at})
}
