package ec2test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Resource is a resource that a caller created. Vendors' images and the
// default resources of accounts are not included.
type Resource struct {
	// Type is the resource type, as in tag specifications: "instance", "image",
	// "snapshot", "volume", "security-group", "network-interface", "key-pair",
	// "launch-template", "vpc", "subnet", "internet-gateway", "route-table",
	// "elastic-ip" or "natgateway"; or
	// "role" or "instance-profile".
	Type string

	ID      string
	Region  string // "aws-global" for roles and profiles
	Account string
	State   string // of instances, images, snapshots, volumes, interfaces and NAT gateways
	Name    string // of images, security groups, key pairs, launch templates, roles and profiles; the address of elastic ones
	Created time.Time
	Tags    map[string]string
}

// String returns a one-line description: "instance i-0123 (running) in
// us-east-1".
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

// Resources returns the existing resources of all accounts and regions for
// which keep returns true. A nil keep means all. Terminated instances are not
// included. Changes are visible at once, regardless of Options.Consistency.
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

// Leftovers returns a one-line description of each existing resource, including
// images and their snapshots. Tests use it to check that nothing is left
// behind.
func (s *Server) Leftovers() []string { return s.LeftoversExcept() }

// LeftoversExcept is like [Server.Leftovers] without what is meant to stay: the
// resources with the ids in keep, and the snapshots of the images in keep.
func (s *Server) LeftoversExcept(keep ...string) []string {
	for _, id := range slices.Clone(keep) {
		if ami, err := s.AMI(id); err == nil {
			keep = append(keep, ami.Snapshots...)
		}
	}
	all := s.Resources(func(r Resource) bool { return !slices.Contains(keep, r.ID) })
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
		out.Name, keep = g.name, g.name != "default" && !g.preset
	case keyPairKind().resource:
		k, _ := r.keyPairs.get(b.id)
		out.Name = k.name
	case templateKind().resource:
		t, _ := r.templates.get(b.id)
		out.Name = t.name
	case interfaceKind().resource:
		n, _ := r.interfaces.get(b.id)
		out.State = n.status()
	case routeTableKind().resource:
		t, _ := r.routeTables.get(b.id)
		keep = t.vpc.main != t
	case elasticKind().resource:
		e, _ := r.addresses.get(b.id)
		out.Name = e.address.String()
	case natKind().resource:
		g, _ := r.nats.get(b.id)
		out.State, keep = g.state(now), g.deleted.IsZero()
	case vpcKind().resource, subnetKind().resource, gatewayKind().resource:
	default: // rules belong to groups, and requests have instances
		keep = false
	}
	return out, keep && !b.builtin
}

// TerminateInstance terminates an instance regardless of termination
// protection, as a hardware failure does, and waits until its machine is off.
// It returns an error if the instance does not exist.
func (s *Server) TerminateInstance(id string) error {
	return s.takeDown(id, func(r *region, i *instance) error {
		r.beginTermination(i, s.now(), "Server.InternalError")
		return nil
	})
}

// Reclaim interrupts a spot instance, which terminates or stops according to
// its interruption behavior, and waits until its machine is off. It returns an
// error if the instance does not exist or is not a spot instance.
func (s *Server) Reclaim(id string) error {
	return s.takeDown(id, func(r *region, i *instance) error {
		switch {
		case !i.spot:
			return fmt.Errorf("instance %s is not a spot instance", id)
		case pauses(i.spotBehavior):
			r.beginStop(i, s.now(), "Server.SpotInstanceShutdown")
		default:
			r.beginTermination(i, s.now(), "Server.SpotInstanceTermination")
		}
		return nil
	})
}

// takeDown calls down for an instance that is not terminated, and waits until
// its machine is off.
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
	return fmt.Errorf("instance %q not found", id)
}

// Console returns the console output of an instance so far, or "" if the
// instance is off or does not exist. Unlike GetConsoleOutput it shows all
// output.
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
