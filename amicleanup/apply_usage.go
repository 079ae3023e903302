package amicleanup

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// A regionUse holds the references to images in one region, of all targets: an image
// may be used by another account. The runs of the region share it.
type regionUse struct {
	cleaner *Cleaner
	region  string
	begun   time.Time       // when the new decision was made
	going   map[string]bool // by image id: what the run changes, in all targets

	reading turn
	at      time.Time         // when it was read
	used    map[string]string // by id of an image or snapshot: what uses it
}

// read returns what is in use, read at most a minute ago.
func (u *regionUse) read(ctx context.Context) (used map[string]string, at time.Time, err error) {
	u.reading.take()
	defer u.reading.pass()
	c := u.cleaner.clock()
	if c.Now().Sub(u.at) < referencesStale {
		return u.used, u.at, nil
	}
	needs := u.cleaner.Policy.needs()
	listed, _ := split(needs.Sources)
	if needs.Parents > 0 {
		listed = append(listed, childrenOf(u.going))
	}
	targets := u.cleaner.Targets
	found := make([][]inuse.Reference, len(targets))
	coverage := make([][]inuse.Coverage, len(targets))
	each(len(targets), func(i int) {
		if targets[i].region() == u.region {
			found[i], coverage[i] = readReferences(ctx, targets[i], u.cleaner.Clock, listed)
		}
	})
	used = map[string]string{}
	for i := range found {
		for _, ref := range found[i] {
			used[ref.Used()] = ref.By
		}
		for _, cov := range coverage[i] {
			if cov.Error != "" {
				return nil, time.Time{}, fmt.Errorf("%w: %s: %s", ErrUsageUnknown, cov.Source, cov.Error)
			}
		}
	}
	u.used, u.at = used, c.Now()
	return u.used, u.at, nil
}

// childrenOf returns a source that lists the parents of all images except those
// that are going or whose parents are too many generations away: what was made
// since the decision keeps its parents.
func childrenOf(going map[string]bool) inuse.Source {
	return inuse.Source{Name: "images made from it", List: func(ctx context.Context, at inuse.Place) ([]inuse.Reference, error) {
		images, err := readImages(ctx, Target{Config: at.Config}.ec2())
		if err != nil {
			return nil, err
		}
		var refs []inuse.Reference
		for _, img := range images {
			if going[img.ID] {
				continue
			}
			img.eachParent(func(parent string) {
				refs = append(refs, inuse.Reference{ImageID: parent, By: "image " + img.ID})
			})
		}
		return refs, nil
	}}
}

// readUse reads again what is in use. Slow sources are not asked again.
func (r *targetRun) readUse(ctx context.Context) error {
	known, at, err := r.region.read(ctx)
	if err != nil {
		return err
	}
	asked := map[string]string{}
	needs := r.cleaner.Policy.needs()
	_, sources := split(needs.Sources)
	for i := range sources {
		if sources[i].Slow {
			continue
		}
		refs, err := r.cleaner.askAbout(ctx, &sources[i], r.target, r.leaving())
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUsageUnknown, sources[i].Name, err)
		}
		for _, ref := range refs {
			asked[ref.Used()] = ref.By
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used, r.asked, r.readAt = known, asked, at
	return nil
}

// usedBy returns what uses an image or one of its snapshots, or "".
func (r *targetRun) usedBy(img *Image) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range append([]string{img.ID}, img.Snapshots...) {
		if by := cmp.Or(r.used[id], r.asked[id]); by != "" {
			return by
		}
	}
	return ""
}

// leaving returns the images that are still to go.
func (r *targetRun) leaving() []*Image {
	images := make([]*Image, 0, len(r.items))
	for _, item := range r.items {
		if item.Action != Restore && r.result[item].Outcome == NotTried {
			images = append(images, item.Image)
		}
	}
	return images
}

// A turn is a mutex made of a channel, so that a waiter is durably blocked in a
// bubble of testing/synctest.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }
func (t turn) pass() { <-t }
