package amicleanup

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake"
)

// A Rule keeps some images and says why. [NewRule] makes one of a func. A type
// that embeds a Rule is a Rule with everything that the embedded one needs.
type Rule interface {
	// String returns the rule as Go writes it: "Newest(5)". Plans and reports
	// show it.
	String() string

	// Validate reports invalid settings before anything is read.
	Validate() error

	// Needs returns what must be read for the rule.
	Needs() Needs

	// Keep returns a reason for each image of g that must stay. It does no I/O.
	// An image may have several reasons; an image without any is left to the
	// other rules.
	Keep(g *Group) []Reason
}

// Needs describes what must be known before a [Rule] can decide. The zero value
// is only the images themselves.
type Needs struct {
	// Sources find what uses images. Group.References has the result.
	Sources []inuse.Source

	// Shares reads who may launch an image, into Image.Shares, for images that
	// would otherwise go: EC2 answers for one image at a time.
	Shares bool

	// Parents is how many generations of what kept images were made from stay,
	// as by ParentWithin, or AllGenerations. Zero means none.
	Parents int

	// Locks reads which snapshots are locked, into Image.Locked.
	Locks bool
}

// A Reason tells why an image is kept.
type Reason struct {
	// ImageID is the image that is kept.
	ImageID string `json:"-"`

	// Rule is the rule that keeps the image, or "always" for what holds under
	// any policy, "Release", "Lifecycle", "Limits" or "Plan". The evaluation
	// sets it.
	Rule string `json:"rule"`

	// Text completes the sentence "kept because it …": "is one of the 5 newest".
	Text string `json:"text"`

	// Evidence names what the reason rests on: "instance i-0123456789abcdef0".
	Evidence []string `json:"evidence,omitempty"`

	// Blocked reports that the image is kept only because something is unknown,
	// or because of a limit.
	Blocked bool `json:"blocked,omitempty"`

	// Retention reports that the reason is only age or number. Policy.Remove
	// overrides such reasons.
	Retention bool `json:"retention,omitempty"`

	passive bool // the image stays as it is, and is not restored either
	unread  bool // Blocked only until it is read
}

// NewRule returns a rule whose reasons keep returns. The name identifies it.
func NewRule(name string, keep func(g *Group) []Reason) Rule { return funcRule{name, keep} }

type funcRule struct {
	name string
	keep func(g *Group) []Reason
}

var _ Rule = funcRule{}

func (r funcRule) String() string         { return r.name }
func (r funcRule) Validate() error        { return nil }
func (r funcRule) Needs() Needs           { return Needs{} }
func (r funcRule) Keep(g *Group) []Reason { return r.keep(g) }

// Named returns rule under another name.
func Named(name string, rule Rule) Rule { return namedRule{rule, name} }

type namedRule struct {
	Rule

	name string
}

func (n namedRule) String() string { return n.name }

// Newest keeps the n newest images of each group, whatever their state, not
// counting those that a build left unfinished. N is at least 1. Images that are
// kept for other reasons count: nothing older is kept instead of them.
func Newest(n int) Rule { return newest{n: n} }

// NewestUsable keeps the n newest images of each group that can be launched:
// disabled and failed ones do not count. N is at least 1.
func NewestUsable(n int) Rule { return newest{n: n, usable: true} }

// NewestPer keeps the n newest usable images of each group for every value of
// key: NewestPer(2, ByTag("kernel")). Images without a key stay.
func NewestPer(n int, key Key) Rule { return newest{n: n, usable: true, key: key} }

type newest struct {
	n      int
	usable bool
	key    Key
}

var _ Rule = newest{}

func (k newest) String() string {
	switch {
	case !k.key.IsZero():
		return fmt.Sprintf("NewestPer(%d, %s)", k.n, k.key)
	case k.usable:
		return fmt.Sprintf("NewestUsable(%d)", k.n)
	default:
		return fmt.Sprintf("Newest(%d)", k.n)
	}
}

func (k newest) Validate() error {
	if k.n < 1 {
		return bake.Invalid("Keep", "%s: must be at least 1", k)
	}
	return nil
}

func (newest) Needs() Needs { return Needs{} }

func (k newest) Keep(g *Group) []Reason {
	seen := map[string]int{}
	kept := make([]Reason, 0, min(k.n, len(g.Images)))
	for i := range g.Images {
		img := g.Images[i]
		if _, open := unfinished(img.Tags); open || k.usable && !img.Usable() {
			continue
		}
		value, ok := k.key.Of(img)
		if !ok && !k.key.IsZero() {
			kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("has no key by %s", k.key)})
			continue
		}
		if seen[value]++; seen[value] <= k.n {
			kept = append(kept, Reason{ImageID: img.ID, Text: k.text(value), Retention: true})
		}
	}
	return kept
}

func (k newest) text(value string) string {
	text := "newest"
	if k.usable {
		text = "newest usable"
	}
	if value != "" {
		text += " of " + value
	}
	if k.n == 1 {
		return "is the " + text
	}
	return fmt.Sprintf("is one of the %d %s", k.n, text)
}

// Tagged keeps images that have the tag with this value; "*" matches any value.
func Tagged(key, value string) Rule {
	text := fmt.Sprintf("is tagged %s=%s", key, value)
	return NewRule(fmt.Sprintf("Tagged(%q, %q)", key, value), func(g *Group) []Reason {
		return keepIf(g, func(img *Image) bool { return hasTag(img.Tags, key, value) }, Reason{Text: text})
	})
}

// IDs keeps these images.
func IDs(ids ...string) Rule { return keepIDs("IDs", ids, "is named by the policy") }

func keepIDs(name string, ids []string, why string) Rule {
	set := setOf(ids)
	return NewRule(name+"("+idsText(slices.Sorted(maps.Keys(set)))+")", func(g *Group) []Reason {
		return keepIf(g, func(img *Image) bool { return set[img.ID] }, Reason{Text: why})
	})
}

func setOf(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// idsText lists ids if they are few.
func idsText(ids []string) string {
	const few = 3
	if len(ids) <= few {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%d ids", len(ids))
}

// keepIf returns reason for each image for which wanted returns true.
func keepIf(g *Group, wanted func(img *Image) bool, reason Reason) []Reason {
	var kept []Reason
	for i := range g.Images {
		if wanted(g.Images[i]) {
			reason.ImageID = g.Images[i].ID
			kept = append(kept, reason)
		}
	}
	return kept
}
