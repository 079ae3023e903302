package amicleanup

import (
	"context"
	"fmt"
)

// A Source says what uses images in a target: instances, launch templates, or
// whatever else the caller knows to hold image ids.
type Source interface {
	// Name tells the source apart, in plans as well: "instances".
	Name() string

	// References lists everything of this kind that uses an image. An error
	// means that the list is not complete; then nothing is removed in the
	// target.
	References(ctx context.Context, t Target) ([]Reference, error)
}

// A Reference is something that uses an image.
type Reference struct {
	ImageID string `json:"image"`
	By      string `json:"by"`     // "instance i-0123456789abcdef0"
	Source  string `json:"source"` // the name of the Source that says so; Read fills it in
}

// Coverage is how the reading of one source in one target went.
type Coverage struct {
	Source     string `json:"source"`
	References int    `json:"references"`
	Error      string `json:"error,omitempty"` // why it is not complete: failed, denied, or not understood
}

// Complete reports whether the source saw everything.
func (c Coverage) Complete() bool { return c.Error == "" }

// InUse keeps the images that any of the sources says to be used. When a
// source cannot be read completely, it keeps every image of the region. Used
// images take no place among the newest.
func InUse(sources ...Source) Keeper { return keepUsed(sources) }

type keepUsed []Source

func (k keepUsed) Sources() []Source { return k }

func (k keepUsed) Keep(g *Group) []Reason {
	var kept []Reason
	for _, img := range g.Images {
		if refs := g.References[img.ID]; len(refs) > 0 {
			r := Reason{ImageID: img.ID, Text: "is in use"}
			for _, ref := range refs {
				r.Evidence = append(r.Evidence, ref.By)
			}
			kept = append(kept, r)
		}
		for _, source := range k {
			if text := uncovered(g.Coverage, source.Name()); text != "" {
				kept = append(kept, Reason{ImageID: img.ID, Text: "may be in use: " + text, Blocked: true})
			}
		}
	}
	return kept
}

// uncovered says why the source named is not known completely.
func uncovered(all []Coverage, source string) string {
	text := source + " were not read"
	for _, c := range all {
		if c.Source != source {
			continue
		}
		if c.Error != "" {
			return fmt.Sprintf("%s: %s", source, c.Error)
		}
		text = ""
	}
	return text
}

func readReferences(ctx context.Context, t Target, sources []Source) ([]Reference, []Coverage) {
	var all []Reference
	coverage := make([]Coverage, 0, len(sources))
	for _, source := range sources {
		refs, err := source.References(ctx, t)
		c := Coverage{Source: source.Name(), References: len(refs)}
		if err != nil {
			c.Error = err.Error()
		}
		for i := range refs {
			refs[i].Source = source.Name()
		}
		all = append(all, refs...)
		coverage = append(coverage, c)
	}
	return all, coverage
}
