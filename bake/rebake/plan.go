package rebake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Plan tells which images are stale and why. It marshals to JSON.
type Plan struct {
	Time   time.Time    `json:"time"`
	Images []ImageState `json:"images"` // those that others are made from come first
}

// An ImageState tells whether an image is stale.
type ImageState struct {
	Image    string    `json:"image"`
	From     string    `json:"from,omitempty"`     // the image that it is made from
	Artifact string    `json:"artifact,omitempty"` // the id of the newest one
	Created  time.Time `json:"created,omitzero"`
	AgeDays  int       `json:"age_days"`

	// Reasons are why the image is stale. Empty means that it is not.
	Reasons []string `json:"reasons,omitempty"`

	// Due is when the artifact reaches the age limit.
	Due time.Time `json:"due,omitzero"`

	// Failures counts the failed bakes of this definition in a row. Held is why the
	// image is not baked although it is stale, and Until when it is tried again.
	Failures int       `json:"failures,omitempty"`
	Held     string    `json:"held,omitempty"`
	Until    time.Time `json:"until,omitzero"`

	Err string `json:"error,omitempty"` // why it could not be found out
}

// Stale reports whether the image is to be baked again.
func (i ImageState) Stale() bool { return len(i.Reasons) > 0 }

// Plan finds out which images are stale and why, and changes nothing. The error joins
// what could not be found out; the plan has the rest.
func (s *Service) Plan(ctx context.Context) (*Plan, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	images, err := s.Images(ctx)
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	plan, _, err := s.plan(ctx, images)
	return plan, err
}

func (s *Service) plan(ctx context.Context, images []*bake.Image) (*Plan, history, error) {
	if err := bake.Validate(nil, images...); err != nil {
		return nil, nil, err
	}
	for _, img := range images {
		if _, ok := bake.As[bake.Inspector](img.Builder); !ok || img.Fingerprint == "" {
			return nil, nil, &bake.Error{Image: img.Name, Err: errors.New("needs a Fingerprint, and a builder that is a bake.Inspector, to be baked only if it is stale; see bake.InputsOf")}
		}
	}
	past, err := s.history(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := &Plan{Time: s.clock().Now().UTC()}
	states := map[*bake.Image]*ImageState{}
	newest := map[*bake.Image]*bake.Inspection{}
	var errs []error
	for _, img := range inOrder(images) {
		state := &ImageState{Image: img.Name}
		states[img] = state
		var source bake.Artifact
		if img.From != nil {
			state.From = img.From.Name
			if n := newest[img.From]; n != nil {
				source = n.Artifact
			}
			if below := states[img.From]; below != nil && below.Stale() {
				state.Reasons = append(state.Reasons, fmt.Sprintf("%s, which it is made from, is stale", below.Image))
			}
		}
		found, err := s.ask(ctx, img, source, state)
		if err != nil {
			state.Err = err.Error()
			errs = append(errs, err)
		}
		newest[img] = found
		if state.Stale() {
			s.hold(img, state, past, states)
		}
		p.Images = append(p.Images, *state)
	}
	return p, past, errors.Join(errs...)
}

// inOrder returns images behind those that they are made from.
func inOrder(images []*bake.Image) []*bake.Image {
	depth := func(img *bake.Image) (n int) {
		for ; img.From != nil; img = img.From {
			n++
		}
		return n
	}
	out := slices.Clone(images)
	slices.SortStableFunc(out, func(a, b *bake.Image) int { return cmp.Compare(depth(a), depth(b)) })
	return out
}

const day = 24 * time.Hour

// ask finds the reasons why an image is stale.
func (s *Service) ask(ctx context.Context, img *bake.Image, source bake.Artifact, state *ImageState) (*bake.Inspection, error) {
	found, err := bake.Inspect(ctx, img, source, s.Options.Clock)
	if errors.Is(err, bake.ErrNoArtifact) {
		state.Reasons = append(state.Reasons, "it has no artifact yet")
		return nil, nil //nolint:nilnil // that is the reason
	}
	if err != nil {
		return nil, err
	}
	now, onStale := s.clock().Now(), state.Stale()
	state.Artifact, state.Created, state.AgeDays = found.Artifact.ID(), found.Created.UTC(), int(now.Sub(found.Created)/day)
	add := func(format string, args ...any) { state.Reasons = append(state.Reasons, fmt.Sprintf(format, args...)) }
	limit := s.MaxAge
	if own, ok := s.MaxAges[img.Name]; ok {
		limit = own
	}
	if limit > 0 {
		state.Due = found.Created.Add(limit).UTC()
		if !now.Before(state.Due) {
			add("it is %d days old, and may be %s", state.AgeDays, days(limit))
		}
	}
	switch {
	case onStale: // its source will change anyway
	case found.Source != "" && found.SourceNow != "" && found.Source != found.SourceNow:
		add("its source is now %s, and was %s", found.SourceNow, found.Source)
	case found.Fingerprint != found.FingerprintNow:
		add("its definition has changed")
	}
	for _, r := range s.Reasons {
		why, err := r.Ask(ctx, img, found)
		if err != nil {
			return found, fmt.Errorf("image %s: %s: %w", img.Name, r.Name, err)
		}
		if why != "" {
			add("%s", why)
		}
	}
	return found, nil
}

func days(d time.Duration) string {
	if d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

// hold decides whether a stale image has to wait.
func (s *Service) hold(img *bake.Image, state *ImageState, past history, states map[*bake.Image]*ImageState) {
	if img.From != nil && states[img.From].Held != "" {
		state.Held = "waits for " + img.From.Name
		return
	}
	last, failures := past.failures(img)
	state.Failures = failures
	if failures == 0 {
		return
	}
	most := cmp.Or(s.MaxFailures, defaultMaxFailures)
	if failures >= most {
		state.Held = fmt.Sprintf("failed %d times, until its definition changes", failures)
		return
	}
	pause := cmp.Or(s.Backoff, defaultBackoff)
	for range failures - 1 {
		pause = min(2*pause, longestBackoff)
	}
	if until := last.Add(pause); s.clock().Now().Before(until) {
		state.Held, state.Until = fmt.Sprintf("failed %d times", failures), until.UTC()
	}
}

// chosen returns the images to bake, with those that they are made from, and why the
// stale ones are built anew.
func (p *Plan) chosen(images []*bake.Image, past history) ([]*bake.Image, map[string]string) {
	fresh := map[string]string{}
	wanted := map[*bake.Image]bool{}
	byName := map[string]*bake.Image{}
	for _, img := range images {
		byName[img.Name] = img
	}
	for _, state := range p.Images {
		img := byName[state.Image]
		stale := state.Stale() && state.Held == "" && state.Err == ""
		if stale {
			fresh[state.Image] = strings.Join(state.Reasons, "; ")
		}
		if !stale && past.unfinished(img.Name) == nil {
			continue
		}
		for at := img; at != nil; at = at.From {
			wanted[at] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(images), func(img *bake.Image) bool { return !wanted[img] }), fresh
}

// WriteText writes the plan as text: a line for each image.
func (p *Plan) WriteText(w io.Writer) error {
	var text strings.Builder
	for _, i := range p.Images {
		fmt.Fprintf(&text, "%s: ", i.Image)
		switch {
		case i.Err != "":
			fmt.Fprintf(&text, "unknown: %s", i.Err)
		case i.Stale():
			fmt.Fprintf(&text, "stale: %s", strings.Join(i.Reasons, "; "))
		default:
			fmt.Fprintf(&text, "fresh: %s, %d days old", i.Artifact, i.AgeDays)
			if !i.Due.IsZero() {
				fmt.Fprintf(&text, ", due %s", i.Due.Format(time.DateOnly))
			}
		}
		if i.Held != "" {
			fmt.Fprintf(&text, " (held: %s", i.Held)
			if !i.Until.IsZero() {
				fmt.Fprintf(&text, ", tried again from %s", i.Until.Format(time.DateTime))
			}
			text.WriteString(")")
		}
		text.WriteString("\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// labelPrefix begins the labels of records: the fingerprint of each image.
const labelPrefix = "rebake:"

func labels(own map[string]string, images []*bake.Image) map[string]string {
	all := maps.Clone(own)
	if all == nil {
		all = map[string]string{}
	}
	for _, img := range images {
		all[labelPrefix+img.Name] = img.Fingerprint
	}
	return all
}

// history has the records of the service's bakes, newest first.
type history []*bake.Record

func (s *Service) history(ctx context.Context) (history, error) {
	records, err := bake.Records(ctx, s.Options.Store)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r *bake.Record) bool { _, ours := r.Labels[labelPrefix+r.Image]; return !ours })
	slices.Reverse(records)
	return records, nil
}

// failures counts the failed bakes of the image's present definition since the last that
// did not fail.
func (h history) failures(img *bake.Image) (last time.Time, n int) {
	for _, r := range h {
		if r.Image != img.Name || r.Status == bake.StatusSkipped || r.Status == bake.StatusCanceled {
			continue
		}
		if r.Status != bake.StatusFailed || r.Labels[labelPrefix+img.Name] != img.Fingerprint {
			break
		}
		if n++; n == 1 {
			last = r.Updated
		}
	}
	return last, n
}

// unfinished returns the newest record of an image if its build has not ended.
func (h history) unfinished(image string) *bake.Record {
	for _, r := range h {
		if r.Image == image {
			if r.Ended() {
				return nil
			}
			return r
		}
	}
	return nil
}

// resume returns the records with which the images' interrupted builds continue.
func (h history) resume(images []*bake.Image) []*bake.Record {
	var out []*bake.Record
	has := func(image string) bool {
		return slices.ContainsFunc(out, func(r *bake.Record) bool { return r.Image == image })
	}
	for _, img := range images {
		r := h.unfinished(img.Name)
		if r == nil || has(img.Name) {
			continue
		}
		out = append(out, r)
		for r.From != "" { // what it is made from, also if that has ended
			at := slices.IndexFunc(h, func(other *bake.Record) bool { return other.Build == r.From })
			if at < 0 || has(h[at].Image) {
				break
			}
			r = h[at]
			out = append(out, r)
		}
	}
	return out
}
