package amicleanup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// InUse keeps the images that any of the sources reports as used, and those of
// which a launch attaches a snapshot. If a source cannot be read completely, it
// keeps every image of the region that the source could have named, and Plan
// returns an error. Used images do not take the place of the newest.
func InUse(sources ...inuse.Source) Rule { return inUseRule(sources) }

type inUseRule []inuse.Source

var _ Rule = inUseRule{}

func (k inUseRule) String() string {
	names := make([]string, 0, len(k))
	for i := range k {
		names = append(names, k[i].Name)
	}
	return fmt.Sprintf("InUse(%s)", strings.Join(names, ", "))
}

func (k inUseRule) Validate() error { return nil } // Policy.Validate validates the sources

func (k inUseRule) Needs() Needs { return Needs{Sources: k} }

func (k inUseRule) Keep(g *Group) []Reason {
	var kept []Reason
	blocked := k.unread(g)
	for i := range g.Images {
		img := g.Images[i]
		if r, used := k.used(g, img); used {
			kept = append(kept, r)
		}
		for _, r := range blocked {
			r.ImageID = img.ID
			kept = append(kept, r)
		}
		for j := range k {
			if k[j].Ask == nil {
				continue
			}
			if a := g.answers[k[j].Name]; a == nil || a.err == nil && !a.asked[img.ID] {
				kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("may be in use: %s were not asked", k[j].Name), Blocked: true, unread: true})
			}
		}
	}
	return kept
}

// unread returns reasons for the sources that could not be read. The errors are
// in the coverage of the plan.
func (k inUseRule) unread(g *Group) []Reason {
	var all []Reason
	for i := range k {
		failed := k[i].List != nil && !covered(g.coverage, k[i].Name)
		if a := g.answers[k[i].Name]; a != nil && a.err != nil {
			failed = true
		}
		if failed {
			all = append(all, Reason{Text: fmt.Sprintf("may be in use: %s could not be read", k[i].Name), Blocked: true})
		}
	}
	return all
}

// used returns the reason that an image or one of its snapshots is in use, if any
// source says so.
func (k inUseRule) used(g *Group, img *Image) (r Reason, used bool) {
	r = Reason{ImageID: img.ID, Text: "is in use"}
	note := func(id string) {
		for _, ref := range g.References[id] {
			if k.has(ref.Source) && !slices.Contains(r.Evidence, ref.By) {
				r.Evidence = append(r.Evidence, ref.By)
			}
		}
	}
	note(img.ID)
	for _, id := range img.Snapshots {
		note(id)
	}
	return r, len(r.Evidence) > 0
}

func (k inUseRule) has(source string) bool {
	return slices.ContainsFunc(k, func(s inuse.Source) bool { return s.Name == source })
}

// covered reports whether a source was read completely in every target.
func covered(all []inuse.Coverage, source string) bool {
	found := false
	for _, c := range all {
		if c.Source == source {
			if c.Error != "" {
				return false
			}
			found = true
		}
	}
	return found
}
