package amicleanup

import (
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake"
)

// A Policy decides which images to look at, how they belong together, and which
// of them stay. The zero value removes nothing.
type Policy struct {
	// Select selects the images that the policy is about.
	Select Select

	// Group puts images into groups; only images of one group are compared. The
	// zero value takes {group} of Select.Name, or everything that matches if
	// the pattern has no {group}; without Select.Name it takes ByDefinition if
	// Select.Baked, and otherwise there are no groups and everything is kept.
	// Groups never mix architectures, accounts or regions.
	Group Key

	// Timestamp dates images: CreationDate, BakeTime, TimestampByTag or any
	// func. An image for which it returns an error is kept. If nil, it is the
	// time in Select.Name, else BakeTime if Select.Baked, else CreationDate.
	Timestamp func(img *Image) (time.Time, error)

	// Version orders the images of a group by version instead of timestamp. The
	// zero value takes {version} of Select.Name if the pattern has it.
	Version Key

	// Keep are the rules. Any of them is enough to keep an image; without
	// rules, all images stay.
	Keep []Rule

	// Remove matches images that go although rules of age and number, such as
	// Newest or YoungerThan, keep them, including the newest of a group. It
	// does not override other rules: what is in use, shared or tagged stays.
	Remove []Match

	// Release binds images that are kept or retired together, over all targets:
	// SameBuild, ByTag("commit"). Images without a key are single. The zero
	// value binds nothing.
	Release Key

	// Lifecycle retires images in steps. The zero value removes at once.
	Lifecycle Lifecycle

	// LiftProtection removes EC2's deregistration protection from images that
	// no rule keeps. They are removed by a later run, after the cool-down if
	// they have one. Otherwise protected images stay.
	LiftProtection bool

	// Snapshots also removes snapshots that belong to no image. If nil, they
	// are not looked at.
	Snapshots *SnapshotPolicy

	// Limits caps what one run may do. The zero value only protects the newest
	// usable image of each group.
	Limits Limits

	// PlanAge is how long a plan may be applied. Zero means 24 hours.
	PlanAge time.Duration
}

const defaultPlanAge = 24 * time.Hour

// Validate returns the joined errors of the policy's settings.
func (p *Policy) Validate() error {
	errs := []error{p.Select.Validate(), p.Lifecycle.Validate(), p.Limits.Validate()}
	if p.PlanAge < 0 {
		errs = append(errs, bake.Invalid("Policy.PlanAge", "must not be negative"))
	}
	for i, r := range p.Keep {
		if r == nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Keep[%d]", i), "is nil"))
			continue
		}
		errs = append(errs, r.Validate())
		for _, s := range r.Needs().Sources {
			if err := s.Validate(); err != nil {
				errs = append(errs, bake.Invalid("Keep", "%s: %w", r, err))
			}
		}
	}
	for i, m := range p.Remove {
		if m.of == nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Remove[%d]", i), "is the zero value"))
		}
	}
	if p.Snapshots != nil {
		errs = append(errs, p.Snapshots.Validate())
	}
	return errors.Join(errs...)
}

// needs returns what all rules need, each source once.
func (p *Policy) needs() Needs {
	var all Needs
	seen := map[string]bool{}
	for _, r := range p.Keep {
		n := r.Needs()
		all.Shares = all.Shares || n.Shares
		all.Parents = max(all.Parents, n.Parents)
		all.Locks = all.Locks || n.Locks
		for _, s := range n.Sources {
			if !seen[s.Name] {
				seen[s.Name] = true
				all.Sources = append(all.Sources, s)
			}
		}
	}
	return all
}

// parentRule returns the name of the rule that keeps most generations of parents.
func (p *Policy) parentRule() string {
	name, most := "", 0
	for _, r := range p.Keep {
		if n := r.Needs().Parents; n > most {
			name, most = r.String(), n
		}
	}
	return name
}

// split separates sources that list references from those that answer about given
// images.
func split(sources []inuse.Source) (listed, asked []inuse.Source) {
	for _, s := range sources {
		if s.List != nil {
			listed = append(listed, s)
		} else {
			asked = append(asked, s)
		}
	}
	return listed, asked
}
