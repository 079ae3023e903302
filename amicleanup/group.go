package amicleanup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A GroupKey says which group an image belongs to: only images of one group
// are compared. Without an answer the image is kept.
type GroupKey func(img *Image) (key string, ok bool)

// GroupByTag groups images by the value of a tag.
func GroupByTag(tag string) GroupKey {
	return func(img *Image) (string, bool) {
		value := img.Tags[tag]
		return value, value != ""
	}
}

// ByFamily groups images that this library has baked by the name of their
// definition: bake.Image.Name.
func ByFamily(img *Image) (key string, ok bool) { return GroupByTag(tagFamily)(img) }

// A StampFunc says when an image was made, for the order in its group. An
// image whose stamp is an error is kept.
type StampFunc func(img *Image) (time.Time, error)

// CreationDate is the stamp that EC2 gives. A copy in another region has one
// of its own, so that the same images may be in another order there.
func CreationDate(img *Image) (time.Time, error) {
	if img.Created.IsZero() {
		return time.Time{}, errors.New("has no creation date that can be read")
	}
	return img.Created, nil
}

// StampByTag reads the stamp from a tag whose value is in the given layout of
// package time.
func StampByTag(tag, layout string) StampFunc {
	return func(img *Image) (time.Time, error) {
		t, err := time.Parse(layout, img.Tags[tag])
		if err != nil {
			return time.Time{}, fmt.Errorf("tag %s is %q, not like %q", tag, img.Tags[tag], layout)
		}
		return t.UTC(), nil
	}
}

// BakeTime is when this library baked an image; its copies have the same.
func BakeTime(img *Image) (time.Time, error) { return parseUnix(img.Tags[tagStamp]) }

// A Group is images of one architecture in one target that are compared with
// each other, as a Keeper sees them.
type Group struct {
	Account      string
	Region       string
	Key          string
	Architecture string

	// Now is when the images were read.
	Now time.Time

	// Images are those whose stamp can be read, the newest first; of equal
	// stamps the greater id is first.
	Images []Stamped

	// References are what uses the images of the region, by image id, and
	// Coverage says how the reading of each source went: in all targets of the
	// region, since an image may be used by another account.
	References map[string][]Reference
	Coverage   []Coverage

	// Opinions say which images of the target opinions were asked about.
	Opinions []OpinionCoverage
}

// Stamped is an image and when it was made.
type Stamped struct {
	Image
	Stamp time.Time
}

func (g *Group) sort() {
	slices.SortFunc(g.Images, func(a, b Stamped) int {
		return cmp.Or(b.Stamp.Compare(a.Stamp), cmp.Compare(b.ID, a.ID))
	})
}

// newest is the newest image that a build has finished, or nil.
func (g *Group) newest() *Stamped {
	return g.first(func(img *Stamped) bool { _, is := unfinished(img.Tags); return !is })
}

// newestUsable is the newest image that can be launched, or nil.
func (g *Group) newestUsable() *Stamped {
	return g.first(func(img *Stamped) bool { return img.Usable() })
}

func (g *Group) first(is func(img *Stamped) bool) *Stamped {
	for i := range g.Images {
		if is(&g.Images[i]) {
			return &g.Images[i]
		}
	}
	return nil
}
