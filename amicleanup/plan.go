package amicleanup

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// An Action is a change of an image or a snapshot, or none.
type Action string

// The actions of a plan.
const (
	Keep      Action = "keep"      // nothing
	Wait      Action = "wait"      // nothing yet; Reasons tell until when
	Restore   Action = "restore"   // take back the steps of the lifecycle: enable, share, undeprecate
	Deprecate Action = "deprecate" // hide it from the listings of others
	Disable   Action = "disable"   // make it unusable for launches
	Unprotect Action = "unprotect" // lift its deregistration protection; a later run removes it
	Remove    Action = "remove"    // deregister it and delete its snapshots, or delete a snapshot
)

// steps returns how far an action takes an image; zero is nowhere.
func (a Action) steps() int {
	switch a {
	case Deprecate:
		return 1
	case Disable:
		return 2
	case Unprotect:
		return 3
	case Remove:
		return 4
	default:
		return 0
	}
}

// retires reports whether an action takes an image away from its users.
func (a Action) retires() bool { return a.steps() >= Disable.steps() }

const planVersion = 3

// A Plan tells what happens with every image that a policy selects, and why. It
// is plain data: it can be marshaled, stored, reviewed, and edited by striking
// items out. [Cleaner.Apply] decides again and does what both decisions say, so
// no edit can make it do more than its own policy.
type Plan struct {
	Version int          `json:"version"` // of the data format
	Made    time.Time    `json:"made"`    // when the images were read
	Expires time.Time    `json:"expires"` // until when Apply accepts it
	Targets []TargetPlan `json:"targets"`
}

// A TargetPlan is the plan for one target.
type TargetPlan struct {
	Account string `json:"account,omitempty"` // the label of the target
	Owner   string `json:"owner,omitempty"`   // the account id
	Region  string `json:"region"`
	Error   string `json:"error,omitempty"` // why the target could not be read

	// Unselected is the number of images that were read and not selected, and
	// Examples has some of them.
	Unselected int      `json:"unselected"`
	Examples   []string `json:"unselected_examples,omitempty"`

	Coverage []inuse.Coverage       `json:"coverage,omitempty"`
	Stale    []inuse.StaleReference `json:"stale_references,omitempty"` // if Cleaner.Details is set

	// Items are the selected images, sorted by group and architecture, the
	// newest of a group first.
	Items []Item `json:"items"`

	// Snapshots are the snapshots that belong to no image, the oldest first, if
	// Policy.Snapshots is set. SnapshotsUsed counts those that belong to one,
	// and SnapshotError tells why they could not be read.
	Snapshots     []SnapshotItem `json:"snapshots,omitempty"`
	SnapshotsUsed int            `json:"snapshots_used,omitempty"`
	SnapshotError string         `json:"snapshot_error,omitempty"`
}

// An Item is the plan for one image.
type Item struct {
	Image   *Image   `json:"image"` // as it was when the plan was made; never nil
	Group   string   `json:"group,omitempty"`
	Action  Action   `json:"action"`
	Reasons []Reason `json:"reasons,omitempty"` // why it is kept or waits
	Match   string   `json:"match,omitempty"`   // the match of Policy.Remove that overrides age and number
	Release string   `json:"release,omitempty"` // images of one release are kept or retired together

	newest string // the id of the image of the group that must be there when this one goes
	next   Action // the next step of an image that goes, also while it waits for it
	ended  bool   // the image is at the last step of the lifecycle

	generation int  // above a kept image, if the image stays because it is a parent
	unapproved bool // the image stays only because the stored plan does not change it
}

// UnmarshalJSON parses an item, and returns an error for one without an image.
func (item *Item) UnmarshalJSON(text []byte) error {
	type plain Item
	if err := json.Unmarshal(text, (*plain)(item)); err != nil {
		return err
	}
	if item.Image == nil {
		return errors.New("item of a plan without an image")
	}
	return nil
}

// A SnapshotItem is the plan for one snapshot that belongs to no image.
type SnapshotItem struct {
	Snapshot Snapshot `json:"snapshot"`
	Action   Action   `json:"action"`           // Keep or Remove
	Reason   string   `json:"reason,omitempty"` // why it is kept
}

func (item *Item) because(r Reason) {
	r.ImageID = item.Image.ID
	item.Reasons = append(item.Reasons, r)
}

// wanted reports whether there is a reason to keep the image.
func (item *Item) wanted() bool { return len(item.Reasons) > 0 }

// blocked reports whether the image stays only because something is unknown or
// limited.
func (item *Item) blocked() bool {
	return !slices.ContainsFunc(item.Reasons, func(r Reason) bool { return !r.Blocked })
}

// passive reports whether the image is to be left as it is.
func (item *Item) passive() bool {
	return slices.ContainsFunc(item.Reasons, func(r Reason) bool { return r.passive })
}

// leaves reports whether the image goes, or waits for its next step.
func (item *Item) leaves() bool {
	return item.Action.steps() > 0 || item.Action == Wait && item.next.steps() > 0
}

// hold keeps an image that would go or waits.
func (item *Item) hold(r Reason) {
	if item.Action.steps() > 0 || item.Action == Wait || item.Action == Restore {
		item.Action = Keep
		item.because(r)
	}
}

// groupID identifies the groups of one target.
func (item *Item) groupID() string { return item.Group + "\x00" + item.Image.Architecture }

// Count returns the number of images with this action.
func (p *Plan) Count(a Action) int {
	n := 0
	for i := range p.Targets {
		n += p.Targets[i].Count(a)
	}
	return n
}

// Removals returns the number of images, and of snapshots without an image, that
// are to be removed.
func (p *Plan) Removals() int {
	n := p.Count(Remove)
	for i := range p.Targets {
		for j := range p.Targets[i].Snapshots {
			if p.Targets[i].Snapshots[j].Action == Remove {
				n++
			}
		}
	}
	return n
}

// Count returns the number of images with this action.
func (t *TargetPlan) Count(a Action) int {
	n := 0
	for i := range t.Items {
		if t.Items[i].Action == a {
			n++
		}
	}
	return n
}

// changes returns the items to act on: first those to restore, then the oldest
// of each group first, so that an interrupted run leaves what a shorter one would
// have left.
func (t *TargetPlan) changes() []*Item {
	var restore, out []*Item
	for i := range slices.Backward(t.Items) {
		switch item := &t.Items[i]; {
		case item.Action == Restore:
			restore = append(restore, item)
		case item.Action.steps() > 0:
			out = append(out, item)
		}
	}
	return append(restore, out...)
}

func (t *TargetPlan) sort(versioned bool) {
	slices.SortFunc(t.Items, func(a, b Item) int {
		if c := cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Image.Architecture, b.Image.Architecture)); c != 0 {
			return c
		}
		if versioned {
			if c := compareVersions(b.Image.Version, a.Image.Version); c != 0 {
				return c
			}
		}
		return cmp.Or(b.Image.Timestamp.Compare(a.Image.Timestamp), cmp.Compare(b.Image.ID, a.Image.ID))
	})
}

// nothingSelected returns an error if images were read and none is selected.
func (p *Plan) nothingSelected() error {
	unselected := 0
	var names []string
	for i := range p.Targets {
		t := &p.Targets[i]
		if len(t.Items) > 0 {
			return nil
		}
		unselected += t.Unselected
		names = append(names, t.Examples...)
	}
	if unselected == 0 {
		return nil
	}
	const few = 5
	return fmt.Errorf("%w: the selection matches none of %d images, such as %s", ErrNothingSelected, unselected, strings.Join(names[:min(few, len(names))], ", "))
}
