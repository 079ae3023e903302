package amicleanup

import (
	"fmt"
	"slices"
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

	// Text completes the sentence "kept because it …": "is one of the 5 newest".
	Text string `json:"text"`

	// Evidence names what the reason rests on: "instance i-0123456789abcdef0".
	Evidence []string `json:"evidence,omitempty"`

	// Blocked says that nobody wants the image: it is kept because something
	// could not be found out.
	Blocked bool `json:"blocked,omitempty"`
}

// Newest keeps the n newest images of each group that are available; images
// that are disabled or failed do not count. N is at least 1.
func Newest(n int) Keeper { return newest(n) }

type newest int

func (n newest) Validate() error {
	if n < 1 {
		return bake.Invalid("Keep", "Newest(%d): at least one must stay", int(n))
	}
	return nil
}

func (n newest) Keep(g *Group) []Reason {
	text := fmt.Sprintf("is one of the %d newest", int(n))
	if n == 1 {
		text = "is the newest available"
	}
	var kept []Reason
	for _, img := range g.Images {
		if img.State == available && len(kept) < int(n) {
			kept = append(kept, Reason{ImageID: img.ID, Text: text})
		}
	}
	return kept
}

// YoungerThan keeps the images whose stamp is less than age ago.
func YoungerThan(age time.Duration) Keeper { return youngerThan(age) }

type youngerThan time.Duration

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
	return KeeperFunc(func(g *Group) []Reason {
		return keepIf(g, func(img *Stamped) bool { return hasTag(&img.Image, key, value) },
			fmt.Sprintf("is tagged %s=%s", key, value))
	})
}

// IDs keeps these images.
func IDs(ids ...string) Keeper { return keepIDs(ids, "is named by the policy") }

func keepIDs(ids []string, why string) Keeper {
	return KeeperFunc(func(g *Group) []Reason {
		return keepIf(g, func(img *Stamped) bool { return slices.Contains(ids, img.ID) }, why)
	})
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
