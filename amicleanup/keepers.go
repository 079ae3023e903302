package amicleanup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Keeper wants some images kept, and says why. It does no I/O: what it must
// know is in the Group. A func is one too: KeeperFunc.
//
// A Keeper may also have a method Validate() error, which reports wrong
// settings before anything is read, and a method Sources() []Source, which
// names what must be read for it.
type Keeper interface {
	// Keep returns a reason for each image of g that must stay. An image may
	// have several, the images without any are up to the other keepers.
	Keep(g *Group) []Reason
}

// KeeperFunc is a func as a Keeper.
type KeeperFunc func(g *Group) []Reason

// Keep calls f.
func (f KeeperFunc) Keep(g *Group) []Reason { return f(g) }

// A Reason is why an image is kept.
type Reason struct {
	// ImageID is the image that is kept.
	ImageID string `json:"-"`

	// Keeper is whose reason it is: a Keeper as Go writes it, or "always" for
	// what holds under any policy, "Release", "Ladder" or "Limits". Evaluate
	// fills it in.
	Keeper string `json:"keeper"`

	// Text completes the sentence "kept because it …": "is one of the 5 newest".
	Text string `json:"text"`

	// Evidence names what the reason rests on: "instance i-0123456789abcdef0".
	Evidence []string `json:"evidence,omitempty"`

	// Blocked says that nobody wants the image: it is kept because something
	// could not be found out, or because of a limit.
	Blocked bool `json:"blocked,omitempty"`

	passive bool // it stays as it is, and is not restored either
	unread  bool // it is Blocked only until it is read
}

// Newest keeps the n newest images of each group, whatever their state; those
// of builds that died do not count. N is at least 1. Images that are kept for
// other reasons, such as being in use, take part in the count: nothing older
// is kept instead of them.
func Newest(n int) Keeper { return newest{n: n} }

// NewestUsable keeps the n newest images of each group that can be launched:
// disabled and failed ones do not count. N is at least 1.
func NewestUsable(n int) Keeper { return newest{n: n, usable: true} }

type newest struct {
	n      int
	usable bool
}

func (k newest) String() string {
	if k.usable {
		return fmt.Sprintf("NewestUsable(%d)", k.n)
	}
	return fmt.Sprintf("Newest(%d)", k.n)
}

func (k newest) Validate() error {
	if k.n < 1 {
		return bake.Invalid("Keep", "%s: at least one must stay", k)
	}
	return nil
}

func (k newest) Keep(g *Group) []Reason {
	text := "newest"
	if k.usable {
		text = "newest usable"
	}
	if k.n == 1 {
		text = "is the " + text
	} else {
		text = fmt.Sprintf("is one of the %d %s", k.n, text)
	}
	left := k.n
	return keepIf(g, func(img *Stamped) bool {
		_, open := unfinished(img.Tags)
		if left == 0 || open || k.usable && !img.Usable() {
			return false
		}
		left--
		return true
	}, text)
}

// YoungerThan keeps the images whose stamp is less than age ago.
func YoungerThan(age time.Duration) Keeper { return youngerThan(age) }

type youngerThan time.Duration

func (age youngerThan) String() string { return fmt.Sprintf("YoungerThan(%s)", time.Duration(age)) }

func (age youngerThan) Validate() error {
	if age <= 0 {
		return bake.Invalid("Keep", "YoungerThan(%s): must be more than zero", time.Duration(age))
	}
	return nil
}

func (age youngerThan) Keep(g *Group) []Reason {
	return keepIf(g, func(img *Stamped) bool { return g.Now.Sub(img.Stamp) < time.Duration(age) },
		fmt.Sprintf("is younger than %s", time.Duration(age)))
}

// Tagged keeps the images that have the tag with this value; "*" is any value.
func Tagged(key, value string) Keeper {
	text := fmt.Sprintf("is tagged %s=%s", key, value)
	return Named(fmt.Sprintf("Tagged(%q, %q)", key, value), KeeperFunc(func(g *Group) []Reason {
		return keepIf(g, func(img *Stamped) bool { return hasTag(&img.Image, key, value) }, text)
	}))
}

// IDs keeps these images.
func IDs(ids ...string) Keeper { return keepIDs(ids, "is named by the policy") }

// JustBuilt keeps these images, which were baked a moment ago and may look as
// if nobody used them. AfterBake adds it by itself.
func JustBuilt(ids ...string) Keeper { return keepIDs(ids, "was just baked") }

func keepIDs(ids []string, why string) Keeper {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return Named(idsName(slices.Sorted(maps.Keys(set))), KeeperFunc(func(g *Group) []Reason {
		return keepIf(g, func(img *Stamped) bool { return set[img.ID] }, why)
	}))
}

// idsName is short, since it stands with every reason.
func idsName(ids []string) string {
	const few = 3
	if len(ids) <= few {
		return fmt.Sprintf("IDs(%s)", strings.Join(ids, ", "))
	}
	return fmt.Sprintf("IDs(%d of them, %s)", len(ids), digest(strings.Join(ids, " ")))
}

// Named gives a keeper the name that counts in Policy.Fingerprint.
func Named(name string, k Keeper) Keeper { return namedKeeper{k, name} }

type namedKeeper struct {
	Keeper
	name string
}

func (n namedKeeper) String() string { return n.name }

func (n namedKeeper) Validate() error {
	if v, ok := n.Keeper.(bake.Validator); ok {
		return v.Validate()
	}
	return nil
}

func (n namedKeeper) Sources() []Source {
	if s, ok := n.Keeper.(interface{ Sources() []Source }); ok {
		return s.Sources()
	}
	return nil
}

func keepIf(g *Group, wanted func(img *Stamped) bool, why string) []Reason {
	var kept []Reason
	for i := range g.Images {
		if wanted(&g.Images[i]) {
			kept = append(kept, Reason{ImageID: g.Images[i].ID, Text: why})
		}
	}
	return kept
}
