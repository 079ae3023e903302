package amicleanup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Source says what uses images in a target: instances, launch templates, or
// whatever else the caller knows to hold image ids.
//
// A Source may also have a method IAMActions() []string, which lists what it
// calls, "ec2:DescribeInstances", for Cleaner.IAMPolicy.
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
	Source  string `json:"source"` // the name of the Source or Opinion that says so; Read fills it in
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

func (k keepUsed) String() string {
	names := make([]string, 0, len(k))
	for _, s := range k {
		names = append(names, s.Name())
	}
	return fmt.Sprintf("InUse(%s)", strings.Join(names, ", "))
}

func (k keepUsed) Keep(g *Group) []Reason {
	var kept []Reason
	var blocked []string
	for _, source := range k {
		if text := uncovered(g.Coverage, source.Name()); text != "" {
			blocked = append(blocked, "may be in use: "+text)
		}
	}
	for _, img := range g.Images {
		if r, used := usedReason(g, img.ID, k.has); used {
			kept = append(kept, r)
		}
		for _, text := range blocked {
			kept = append(kept, Reason{ImageID: img.ID, Text: text, Blocked: true})
		}
	}
	return kept
}

// has reports whether a reference is of these sources; one that says no source
// is of all.
func (k keepUsed) has(source string) bool { return source == "" || hasSource(k, source) }

// usedReason is that an image is in use, as the references of some sources say.
func usedReason(g *Group, id string, of func(source string) bool) (r Reason, used bool) {
	r = Reason{ImageID: id, Text: "is in use"}
	for _, ref := range g.References[id] {
		if of(ref.Source) && !slices.Contains(r.Evidence, ref.By) {
			r.Evidence = append(r.Evidence, ref.By)
		}
	}
	return r, len(r.Evidence) > 0
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

// readReferences reads all sources at once; the limits of the clients hold.
func readReferences(ctx context.Context, t Target, sources []Source) ([]Reference, []Coverage) {
	found := make([][]Reference, len(sources))
	coverage := make([]Coverage, len(sources))
	var wg sync.WaitGroup
	for i, source := range sources {
		wg.Go(func() {
			refs, err := source.References(ctx, t)
			coverage[i] = Coverage{Source: source.Name(), References: len(refs)}
			if err != nil {
				coverage[i].Error = err.Error()
			}
			for j := range refs {
				refs[j].Source = source.Name()
			}
			found[i] = refs
		})
	}
	wg.Wait()
	return slices.Concat(found...), coverage
}

// AtLeast takes fewer than n references of a source for a sign that it could
// not be read: of an account that is known to run something, an empty list is
// more likely a mistake than the truth.
func AtLeast(n int, source Source) Source { return atLeast{source, n} }

type atLeast struct {
	Source

	n int
}

func (a atLeast) References(ctx context.Context, t Target) ([]Reference, error) {
	refs, err := a.Source.References(ctx, t)
	if err == nil && len(refs) < a.n {
		err = fmt.Errorf("only %d references, of at least %d", len(refs), a.n)
	}
	return refs, err
}

func (a atLeast) IAMActions() []string {
	if n, ok := a.Source.(interface{ IAMActions() []string }); ok {
		return n.IAMActions()
	}
	return nil
}

func (a atLeast) needs(t Target) string {
	if n, ok := a.Source.(interface{ needs(t Target) string }); ok {
		return n.needs(t)
	}
	return ""
}
