package ec2test

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// An AMI shows an image as its owner sees it.
type AMI struct {
	ID           string
	Name         string
	Description  string
	Region       string
	Account      string // the owner
	State        string // "pending", "available", "disabled" or "failed"
	Architecture string
	Created      time.Time

	// Public reports whether all accounts may launch it. SharedWith lists the
	// accounts, and the ARNs of the organizations and organizational units, that
	// may, sorted.
	Public     bool
	SharedWith []string

	// Deprecated is the time of deprecation. Zero means never.
	Deprecated time.Time

	// Protected reports whether it is protected against deregistration.
	Protected bool

	// Encrypted reports whether all of its snapshots are encrypted, and KeyARN
	// names the KMS key of the root snapshot.
	Encrypted bool
	KeyARN    string

	SizeGiB   int      // of the root volume
	Snapshots []string // ids

	// Instance is the instance from which it was created, and Source the image of
	// that instance, or of which it is a copy. Both can be empty.
	Instance string
	Source   string

	Tags map[string]string
}

// AMI returns an image of any account and region.
func (s *Server) AMI(id string) (AMI, error) {
	for _, r := range s.existing() {
		if ami, ok := r.ami(id); ok {
			return ami, nil
		}
	}
	return AMI{}, fmt.Errorf("image %q not found", id)
}

func (r *region) ami(id string) (AMI, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.images.get(id)
	if !ok {
		return AMI{}, false
	}
	now := r.server.now()
	a := AMI{
		ID: id, Name: i.name, Description: i.description, Region: r.name, Account: i.owner, State: i.state(now), Architecture: i.arch, Created: i.created,
		Public: i.launch.all, Deprecated: i.deprecateAt, Protected: i.protection(now) != "disabled", Encrypted: true,
		Instance: i.sourceInstance, Source: i.sourceImage, Snapshots: i.snapshots(), Tags: map[string]string{},
	}
	for _, set := range []map[string]bool{i.launch.users, i.launch.orgs, i.launch.units} {
		a.SharedWith = append(a.SharedWith, slices.Collect(maps.Keys(set))...)
	}
	slices.Sort(a.SharedWith)
	for _, snap := range a.Snapshots {
		s, ok := r.snapshots.get(snap)
		a.Encrypted = a.Encrypted && ok && s.encrypted
	}
	if root := i.rootSnapshot(r); root != nil {
		a.SizeGiB, a.KeyARN = root.sizeGiB, root.kmsKey
	}
	for key, v := range i.tags {
		if !v.removed {
			a.Tags[key] = v.value
		}
	}
	return a, true
}
