package amicleanup

import (
	"cmp"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// A Group is the images of one architecture in one target that a [Rule]
// compares with each other.
type Group struct {
	Account      string
	Region       string
	Key          string
	Architecture string

	// Now is the time at which the images were read.
	Now time.Time

	// Images are the images that have a timestamp, the newest first; of equal
	// ones that with the greater id is first. A rule must not change them.
	Images []*Image

	// References are the uses of images and snapshots of the region, by their
	// id, in all targets: an image may be used by another account.
	References map[string][]inuse.Reference

	coverage []inuse.Coverage   // of the sources that list
	answers  map[string]*answer // of the sources that are asked, by name
}

func (g *Group) sort(versioned bool) {
	slices.SortFunc(g.Images, func(a, b *Image) int {
		if versioned {
			if c := compareVersions(b.Version, a.Version); c != 0 {
				return c
			}
		}
		return cmp.Or(b.Timestamp.Compare(a.Timestamp), cmp.Compare(b.ID, a.ID))
	})
}

// newest returns the newest image that a build has finished, or nil.
func (g *Group) newest() *Image {
	return g.first(func(img *Image) bool { _, open := unfinished(img.Tags); return !open })
}

// newestUsable returns the newest image that can be launched, or nil.
func (g *Group) newestUsable() *Image { return g.first((*Image).Usable) }

func (g *Group) first(is func(img *Image) bool) *Image {
	for i := range g.Images {
		if is(g.Images[i]) {
			return g.Images[i]
		}
	}
	return nil
}
