package amicleanup

import (
	"cmp"
	"slices"
	"time"
)

// An Action is what is to happen with an image: Keep, Wait, Restore, Deprecate,
// Disable or Deregister.
type Action string

// The actions of a plan. Wait, Restore, Deprecate and Disable are those of a
// policy with a Ladder.
const (
	Keep       Action = "keep"       // nothing
	Wait       Action = "wait"       // nothing yet; Reasons say until when
	Restore    Action = "restore"    // take it off the ladder again: enable, share, undeprecate
	Deprecate  Action = "deprecate"  // others do not find it any more
	Disable    Action = "disable"    // nobody can launch it any more
	Deregister Action = "deregister" // remove it with its snapshots
)

const planVersion = 2

// A Plan says what is to happen with every image that a policy selects, and
// why. It is plain data: it can be marshalled, compared and stored.
type Plan struct {
	Version int          `json:"version"` // of the form of the data
	Made    time.Time    `json:"made"`    // when the images were read
	Expires time.Time    `json:"expires"` // Apply refuses it from then on
	Policy  string       `json:"policy"`  // the fingerprint of the policy that made it
	Targets []TargetPlan `json:"targets"`
}

// A TargetPlan is the plan for one target.
type TargetPlan struct {
	Account    string     `json:"account,omitempty"` // the label of the target
	Owner      string     `json:"owner,omitempty"`   // the id of the account, as its images tell; Apply refuses another
	Region     string     `json:"region"`
	Error      string     `json:"error,omitempty"` // why it could not be read
	Unselected int        `json:"unselected"`      // images that were read and not selected
	Coverage   []Coverage `json:"coverage,omitempty"`

	// Items are sorted by group and architecture, within a group the newest
	// first.
	Items []Item `json:"items"`
}

// An Item is the plan for one image.
type Item struct {
	Image   Image     `json:"image"` // as it was when the plan was made
	Group   string    `json:"group,omitempty"`
	Stamp   time.Time `json:"stamp,omitzero"`
	Action  Action    `json:"action"`
	Reasons []Reason  `json:"reasons,omitempty"` // why it is kept or waits; empty for the others
	Release string    `json:"release,omitempty"` // images of one release are kept or retired together

	// Newest is the image of the same group that must still be there, in the
	// state it had, when this one is removed.
	Newest string `json:"newest,omitempty"`

	next Action // the next step of an image that goes, also while it waits for it
}

func (item Item) because(text string) Item {
	item.Reasons = append(item.Reasons, Reason{ImageID: item.Image.ID, Keeper: always, Text: text})
	return item
}

// wanted reports whether there is any reason to keep the image.
func (item *Item) wanted() bool { return len(item.Reasons) > 0 }

// blocked reports whether nobody wants the image: it stays because something
// is not known.
func (item *Item) blocked() bool {
	return !slices.ContainsFunc(item.Reasons, func(r Reason) bool { return !r.Blocked })
}

// passive reports whether the image is only to be left as it is.
func (item *Item) passive() bool {
	return slices.ContainsFunc(item.Reasons, func(r Reason) bool { return r.passive })
}

// groupID tells the groups of one target apart.
func (item *Item) groupID() string { return item.Group + "\x00" + item.Image.Architecture }

// Count counts the images with this action.
func (p *Plan) Count(a Action) int {
	n := 0
	for i := range p.Targets {
		n += p.Targets[i].Count(a)
	}
	return n
}

// Removals counts the images to deregister.
func (p *Plan) Removals() int { return p.Count(Deregister) }

// Count counts the images with this action.
func (t *TargetPlan) Count(a Action) int {
	n := 0
	for i := range t.Items {
		if t.Items[i].Action == a {
			n++
		}
	}
	return n
}

// changes are the items to act on: first those to restore, then the oldest of
// each group first, so that an unfinished run leaves what a shorter one would
// have left.
func (t *TargetPlan) changes() []*Item {
	var restore, out []*Item
	for i := range slices.Backward(t.Items) {
		switch item := &t.Items[i]; item.Action {
		case Restore:
			restore = append(restore, item)
		case Deprecate, Disable, Deregister:
			out = append(out, item)
		}
	}
	return append(restore, out...)
}

func (t *TargetPlan) sort() {
	slices.SortFunc(t.Items, func(a, b Item) int {
		return cmp.Or(
			cmp.Compare(a.Group, b.Group),
			cmp.Compare(a.Image.Architecture, b.Image.Architecture),
			b.Stamp.Compare(a.Stamp),
			cmp.Compare(b.Image.ID, a.Image.ID),
		)
	})
}
