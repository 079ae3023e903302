package ec2test

import (
	"slices"
	"time"
)

// A Change records when a resource reached a state by itself. Compare its time
// to that of a client's next call to see how long the client took to notice.
type Change struct {
	ID    string    // of the resource
	State string    // of instances "running", "stopped", "terminated"; of images "available", "failed"; of snapshots "completed", "error"
	Time  time.Time // by the server's clock
}

// Changes returns the changes until now, in order of time.
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

// willChange records when a resource will reach a state, and drops changes
// recorded for later than now.
func (s *Server) willChange(id, state string, at, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(s.changes[id], func(c Change) bool { return c.Time.After(now) })
	s.changes[id] = append(list, Change{ID: id, State: state, Time: at})
}
