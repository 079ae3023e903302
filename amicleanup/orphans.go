package amicleanup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// An OrphanPolicy says which snapshots that no image has are rubbish: those of
// images that were deregistered without them, and those of builds that died.
// Cleaner.PlanOrphans and Cleaner.ApplyOrphans work by it.
//
// Only snapshots with a known origin are looked at; the zero value looks at
// those that this library has made. Whatever a policy says, these stay: what
// any own image has, also a disabled one or one that is still being made; what
// is said to be of an image in the Recycle Bin; what is locked, still being
// made, or shared with other accounts; what a launch template attaches; what
// AWS Backup or Data Lifecycle Manager made; what belongs to a build that may
// still run.
type OrphanPolicy struct {
	// Tags are tags that a snapshot must have, with these values; "*" is any
	// value. Empty is the tag of this library's builds.
	Tags map[string]string

	// Described also takes snapshots without the tags that EC2's description
	// says to be made by CreateImage or CopyImage, by whatever tool.
	Described bool

	// Except are tags of which a snapshot may not have any; "*" is any value.
	Except map[string]string

	// MinAge is how old a snapshot is at least. A young one may belong to an
	// image that does not show it yet. Zero is 24 hours, which is the least.
	MinAge time.Duration

	// Removals is the most snapshots that one plan deletes, the oldest first,
	// over all targets together. Zero is no limit.
	Removals int

	// PlanAge is how long a plan may be applied after it was made. Zero is 24
	// hours.
	PlanAge time.Duration
}

const leastOrphanAge = 24 * time.Hour

// Validate reports, joined, what is wrong with the policy.
func (p *OrphanPolicy) Validate() error {
	var errs []error
	for _, tags := range []map[string]string{p.Tags, p.Except} {
		if _, empty := tags[""]; empty {
			errs = append(errs, bake.Invalid("OrphanPolicy", "a tag has no key"))
		}
	}
	if p.MinAge != 0 && p.MinAge < leastOrphanAge {
		errs = append(errs, bake.Invalid("OrphanPolicy.MinAge", "is %s; the least is %s", p.MinAge, leastOrphanAge))
	}
	if p.Removals < 0 || p.PlanAge < 0 {
		errs = append(errs, bake.Invalid("OrphanPolicy", "no number may be negative"))
	}
	return errors.Join(errs...)
}

// Fingerprint tells policies apart.
func (p *OrphanPolicy) Fingerprint() string {
	return digest(fmt.Sprintf("%v %v %v %v %v", p.Tags, p.Described, p.Except, p.MinAge, p.Removals)) // maps print sorted
}

// An OrphanPlan says which snapshots are to be deleted, and of those with a
// known origin that no image has, why the others stay. It is plain data.
type OrphanPlan struct {
	Version int            `json:"version"`
	Made    time.Time      `json:"made"`
	Expires time.Time      `json:"expires"`
	Policy  string         `json:"policy"` // the fingerprint of the policy
	Targets []OrphanTarget `json:"targets"`
}

// An OrphanTarget is the plan for one target.
type OrphanTarget struct {
	Account string       `json:"account,omitempty"`
	Owner   string       `json:"owner,omitempty"` // the id of the account
	Region  string       `json:"region"`
	Error   string       `json:"error,omitempty"` // why it could not be read
	HaveUse int          `json:"have_use"`        // snapshots of known origin that an image has
	Items   []OrphanItem `json:"items"`           // the oldest first
}

// An OrphanItem is the plan for one snapshot.
type OrphanItem struct {
	Snapshot Snapshot `json:"snapshot"`
	Reason   string   `json:"reason,omitempty"` // why it is kept; empty is to be deleted
}

// Evaluate decides about every snapshot of inv that has a known origin. It
// does no I/O; its only error is that of Validate.
func (p *OrphanPolicy) Evaluate(inv *SnapshotInventory) (*OrphanPlan, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	plan := &OrphanPlan{
		Version: planVersion, Made: inv.Time, Policy: p.Fingerprint(),
		Expires: inv.Time.Add(cmp.Or(p.PlanAge, defaultPlanAge)),
	}
	for i := range inv.Targets {
		plan.Targets = append(plan.Targets, p.target(&inv.Targets[i], inv.Time))
	}
	p.limit(plan)
	return plan, nil
}

func (p *OrphanPolicy) target(t *SnapshotTarget, now time.Time) OrphanTarget {
	out := OrphanTarget{Account: t.Account, Owner: t.Owner, Region: t.Region, Error: t.Error}
	for i := range t.Snapshots {
		s := &t.Snapshots[i]
		switch {
		case !p.known(s):
		case len(s.Images) > 0:
			out.HaveUse++
		default:
			out.Items = append(out.Items, OrphanItem{Snapshot: *s, Reason: p.why(t, s, now)})
		}
	}
	slices.SortFunc(out.Items, func(a, b OrphanItem) int {
		return cmp.Or(a.Snapshot.Started.Compare(b.Snapshot.Started), cmp.Compare(a.Snapshot.ID, b.Snapshot.ID))
	})
	return out
}

// tags are those that a snapshot must have.
func (p *OrphanPolicy) tags() map[string]string {
	if len(p.Tags) == 0 {
		return map[string]string{tagBuild: "*"}
	}
	return p.Tags
}

// known reports whether the origin of a snapshot is one to look at.
func (p *OrphanPolicy) known(s *Snapshot) bool {
	for key, value := range p.tags() {
		if !s.tagged(key, value) {
			return p.Described && (strings.HasPrefix(s.Description, "Created by CreateImage(") || strings.HasPrefix(s.Description, "Copied for DestinationAmi "))
		}
	}
	return true
}

func (s *Snapshot) tagged(key, value string) bool {
	got, ok := s.Tags[key]
	return ok && (value == "*" || got == value)
}

// why is why a snapshot that no image shows must stay; empty is that it is an
// orphan.
func (p *OrphanPolicy) why(t *SnapshotTarget, s *Snapshot, now time.Time) string {
	for key, value := range p.Except {
		if s.tagged(key, value) {
			return fmt.Sprintf("is tagged %s=%s", key, s.Tags[key])
		}
	}
	if why := s.held(now, cmp.Or(p.MinAge, leastOrphanAge)); why != "" {
		return why
	}
	for _, image := range s.saidToBeOf() {
		if where := t.imageThere(image); where != "" {
			return fmt.Sprintf("is said to be of %s, which is %s", image, where)
		}
	}
	for _, removed := range t.Bin {
		if removed.Name != "" && removed.Name == s.Tags["Name"] {
			return fmt.Sprintf("may be of %s in the Recycle Bin, which has the same name", removed.ID)
		}
	}
	switch {
	case s.Shares == nil:
		return "may be shared: that was not read"
	case s.Shares.Any():
		return "is shared with other accounts: " + strings.Join(s.Shares.evidence(), ", ")
	}
	return ""
}

// limit keeps the newest ones beyond the limit.
func (p *OrphanPolicy) limit(plan *OrphanPlan) {
	if p.Removals == 0 {
		return
	}
	var doomed []*OrphanItem
	for i := range plan.Targets {
		items := plan.Targets[i].Items
		for j := range items {
			if items[j].Reason == "" {
				doomed = append(doomed, &items[j])
			}
		}
	}
	slices.SortStableFunc(doomed, func(a, b *OrphanItem) int { return a.Snapshot.Started.Compare(b.Snapshot.Started) })
	for _, item := range doomed[min(p.Removals, len(doomed)):] {
		item.Reason = fmt.Sprintf("waits for a later run: this one is limited to %d removals", p.Removals)
	}
}

// Removals counts the snapshots to delete.
func (p *OrphanPlan) Removals() int {
	n := 0
	for i := range p.Targets {
		n += len(p.Targets[i].removals())
	}
	return n
}

func (t *OrphanTarget) removals() []*Snapshot {
	var out []*Snapshot
	for i := range t.Items {
		if t.Items[i].Reason == "" {
			out = append(out, &t.Items[i].Snapshot)
		}
	}
	return out
}
