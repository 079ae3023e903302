package amicleanup

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// A SnapshotPolicy decides which snapshots that belong to no image are removed:
// those of images that were deregistered without them, and those that a build
// left behind.
//
// Only snapshots of known origin count; the zero value selects those that this
// library has made. Under any policy, these stay: snapshots of any
// own image, including disabled and pending ones; snapshots described as those of
// an image in the Recycle Bin; locked, pending and shared snapshots; those that the
// default or latest version of a launch template attaches, or anything that an
// [InUse] rule reads; those of AWS Backup and Data Lifecycle Manager; and those of a
// build that may still run.
type SnapshotPolicy struct {
	// Tags are tags that a snapshot must have, with these values; "*" matches
	// any value. Empty means the tag of this library's builds.
	Tags map[string]string

	// Described also selects snapshots without the tags if EC2's description
	// says that CreateImage or CopyImage made them, with any tool.
	Described bool

	// Except are tags of which a snapshot must not have any; "*" matches any
	// value.
	Except map[string]string

	// MinAge is the least age of a snapshot to remove. A younger one may belong
	// to an image that does not show it yet. Zero means one day, which is also
	// the least.
	MinAge time.Duration
}

// Validate returns the joined errors of the policy.
func (p *SnapshotPolicy) Validate() error {
	var errs []error
	for _, tags := range []map[string]string{p.Tags, p.Except} {
		if _, empty := tags[""]; empty {
			errs = append(errs, bake.Invalid("SnapshotPolicy", "tag without a key"))
		}
	}
	if p.MinAge != 0 && p.MinAge < Day {
		errs = append(errs, bake.Invalid("SnapshotPolicy.MinAge", "%s is less than a day", p.MinAge))
	}
	return errors.Join(errs...)
}

// tags returns the tags that a snapshot must have.
func (p *SnapshotPolicy) tags() map[string]string {
	if len(p.Tags) == 0 {
		return map[string]string{tagnames.Build: "*"}
	}
	return p.Tags
}

// selects reports whether the policy is about a snapshot.
func (p *SnapshotPolicy) selects(s *Snapshot) bool {
	for key, value := range p.tags() {
		if !hasTag(s.Tags, key, value) {
			return p.Described && (strings.HasPrefix(s.Description, "Created by CreateImage(") || strings.HasPrefix(s.Description, "Copied for DestinationAmi "))
		}
	}
	return true
}

// why returns why a snapshot without an image must stay, or "".
func (p *SnapshotPolicy) why(t *targetInventory, s *Snapshot, now time.Time) string {
	for key, value := range p.Except {
		if hasTag(s.Tags, key, value) {
			return fmt.Sprintf("is tagged %s=%s", key, s.Tags[key])
		}
	}
	if why := s.held(now, cmp.Or(p.MinAge, Day)); why != "" {
		return why
	}
	for _, image := range s.describedImages() {
		if where := t.there[image]; where != "" {
			return fmt.Sprintf("is described as a snapshot of %s, which %s", image, where)
		}
	}
	if image := t.binned[s.Tags["Name"]]; image != "" && s.Tags["Name"] != "" {
		return fmt.Sprintf("may be a snapshot of %s in the Recycle Bin, which has the same name", image)
	}
	switch {
	case s.Shares == nil:
		return "may be shared: permissions were not read"
	case s.Shares.Any():
		return "is shared with other accounts: " + strings.Join(s.Shares.evidence(), ", ")
	}
	return ""
}
