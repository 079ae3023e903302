package ec2test

import (
	"fmt"
	"strings"
	"time"
)

// A Resource is something that exists in the server and that someone made:
// neither a vendor's nor a default.
type Resource struct {
	Type    string // as in tags: "instance", "image", "snapshot", "volume", "security-group", "network-interface", "key-pair", "launch-template", "role", "instance-profile"
	ID      string
	Region  string
	Account string
	State   string // of instances, images, snapshots and volumes
	Name    string // of images, groups, key pairs and templates
	Created time.Time
	Tags    map[string]string
}

// String is the resource in a line: "instance i-0123 (running) in us-east-1".
func (r Resource) String() string {
	var s strings.Builder
	s.WriteString(r.Type + " " + r.ID)
	if r.Name != "" {
		fmt.Fprintf(&s, " %q", r.Name)
	}
	if r.State != "" {
		s.WriteString(" (" + r.State + ")")
	}
	s.WriteString(" in " + r.Region)
	return s.String()
}

// Resources are the resources that exist now, of every account and region, and
// for which keep is true; a nil keep keeps all. Terminated instances do not
// exist. Tags and resources show at once, whatever Options.Consistency is.
func (s *Server) Resources(keep func(Resource) bool) []Resource {
	var out []Resource
	for _, r := range s.existing() {
		r.mu.Lock()
		now := s.now()
		r.sweep(now)
		for kind, b := range r.everything() {
			made, ok := r.resource(kind, b, now)
			if ok && (keep == nil || keep(made)) {
				out = append(out, made)
			}
		}
		r.mu.Unlock()
	}
	for _, made := range s.identities.resources() {
		if keep == nil || keep(made) {
			out = append(out, made)
		}
	}
	return out
}

// Leftovers are the resources that exist now, one to a line, for checks that a
// test has left nothing behind. Images and their snapshots count too.
func (s *Server) Leftovers() []string {
	all := s.Resources(nil)
	out := make([]string, 0, len(all))
	for _, r := range all {
		out = append(out, r.String())
	}
	return out
}

func (r *region) resource(kind string, b *base, now time.Time) (Resource, bool) {
	out := Resource{Type: kind, ID: b.id, Region: r.name, Account: b.owner, Created: b.created, Tags: make(map[string]string, len(b.tags))}
	for key, v := range b.tags {
		if !v.removed {
			out.Tags[key] = v.value
		}
	}
	keep := true
	switch kind {
	case imageKind().resource:
		i, _ := r.images.get(b.id)
		out.Name, out.State = i.name, i.state(now)
		snap := i.rootSnapshot(r)
		keep = snap == nil || !snap.vendor
	case snapshotKind().resource:
		s, _ := r.snapshots.get(b.id)
		out.State, keep = s.status(now), !s.vendor
	case volumeKind().resource:
		v, _ := r.volumes.get(b.id)
		out.State = v.state()
	case instanceKind().resource:
		i, _ := r.instances.get(b.id)
		code := i.phase.code(now)
		out.State, keep = code.String(), code != terminated
	case groupKind().resource:
		g, _ := r.groups.get(b.id)
		out.Name, keep = g.name, g.name != "default"
	case keyPairKind().resource:
		k, _ := r.keyPairs.get(b.id)
		out.Name = k.name
	case templateKind().resource:
		t, _ := r.templates.get(b.id)
		out.Name = t.name
	case interfaceKind().resource:
		n, _ := r.interfaces.get(b.id)
		out.State = n.status()
	default: // rules belong to their groups, networks to their accounts
		keep = false
	}
	return out, keep
}

// TerminateInstance ends an instance from outside, as when its hardware fails.
// Nothing protects it. It waits for its machine to be off.
func (s *Server) TerminateInstance(id string) error {
	return s.takeDown(id, func(r *region, i *instance) error {
		r.beginTermination(i, s.now(), "Server.InternalError")
		return nil
	})
}

// Reclaim takes a spot instance back, as EC2 does: it ends, or stops where the
// launch asked for that. Other instances EC2 does not take back.
func (s *Server) Reclaim(id string) error {
	return s.takeDown(id, func(r *region, i *instance) error {
		switch {
		case !i.spot:
			return fmt.Errorf("%s is not a spot instance", id)
		case pauses(i.spotBehavior):
			r.beginStop(i, s.now(), "Server.SpotInstanceShutdown")
		default:
			r.beginTermination(i, s.now(), "Server.SpotInstanceTermination")
		}
		return nil
	})
}

// end has down take down an instance that is not ended yet, and waits for its
// machine to be off.
func (s *Server) takeDown(id string, down func(*region, *instance) error) error {
	for _, r := range s.existing() {
		r.mu.Lock()
		i, ok := r.instances.get(id)
		var m *machine
		var err error
		if ok && i.phase.to != terminated {
			if err = down(r, i); err == nil {
				m = i.machine
			}
		}
		r.mu.Unlock()
		if m != nil {
			m.stop()
		}
		if ok {
			return err
		}
	}
	return fmt.Errorf("no instance has the id %q", id)
}

// Console is what the machine of an instance wrote to its console so far,
// without waiting for GetConsoleOutput.
func (s *Server) Console(id string) string {
	for _, r := range s.existing() {
		r.mu.Lock()
		i, ok := r.instances.get(id)
		var m *machine
		if ok {
			m = i.machine
		}
		r.mu.Unlock()
		if m != nil {
			return string(m.console())
		}
	}
	return ""
}
