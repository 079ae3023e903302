package amicleanup

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// referencesStale is how old the knowledge of what is in use may be when an
// image is changed.
const referencesStale = time.Minute

// A regionUse is what uses images in one region, in all targets: an image may
// be used by another account. The runs of the region share it.
type regionUse struct {
	cleaner *Cleaner
	region  string
	going   map[string]bool // by image id: what the plan changes, in all targets

	reading turn
	at      time.Time         // when it was read
	used    map[string]string // by image id: what uses it
}

// read returns what is in use, as it was a minute ago at most.
func (u *regionUse) read(ctx context.Context) (used map[string]string, at time.Time, err error) {
	u.reading.take()
	defer u.reading.pass()
	clock := u.cleaner.clock()
	if u.used != nil && clock.Now().Sub(u.at) < referencesStale {
		return u.used, u.at, nil
	}
	sources := u.cleaner.Policy.sources()
	found := make([][]Reference, len(u.cleaner.Targets))
	coverage := make([][]Coverage, len(u.cleaner.Targets))
	if u.cleaner.Policy.keepsParents() {
		sources = append(sources, childrenOf{u.going})
	}
	var wg sync.WaitGroup
	for i, t := range u.cleaner.Targets {
		if t.Region == u.region {
			wg.Go(func() { found[i], coverage[i] = readReferences(ctx, t, sources) })
		}
	}
	wg.Wait()
	used = map[string]string{}
	for i := range found {
		for _, ref := range found[i] {
			used[ref.ImageID] = ref.By
		}
		for _, c := range coverage[i] {
			if !c.Complete() {
				return nil, time.Time{}, fmt.Errorf("%w: %s: %s", ErrNotCovered, c.Source, c.Error)
			}
		}
	}
	u.used, u.at = used, clock.Now()
	return u.used, u.at, nil
}

// readUse reads what is in use as far as it is not known well enough.
func (r *targetRun) readUse(ctx context.Context) error {
	known, at, err := r.region.read(ctx)
	if err != nil {
		return err
	}
	asked := map[string]string{}
	for _, o := range r.cleaner.Policy.opinions() {
		if o.AtPlanOnly {
			continue
		}
		refs, err := o.about(ctx, r.cleaner.Targets, r.target, r.leaving())
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrNotCovered, o.Name, err)
		}
		for _, ref := range refs {
			asked[ref.ImageID] = ref.By
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used, r.asked, r.readAt = known, asked, at
	return nil
}

// usedBy says what uses an image; empty is nothing.
func (r *targetRun) usedBy(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if by := r.used[id]; by != "" {
		return by
	}
	return r.asked[id]
}

// leaving are the images that are to go.
func (r *targetRun) leaving() []Image {
	images := make([]Image, 0, len(r.items))
	for _, item := range r.items {
		if item.Action != Restore {
			images = append(images, item.Image)
		}
	}
	return images
}

// A turn is a lock that may be held while calls are made: who waits for it
// rests, also in the eyes of testing/synctest.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() { t <- struct{}{} }
func (t turn) pass() { <-t }
