package bake

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// An OnChange decides what happens to a build of Options.Resume whose image has another
// definition now, so that what it holds would be work of both.
type OnChange int

// The values of OnChange.
const (
	BakeAgain    OnChange = iota // undo the build and begin again; Result.BegunAgain tells why
	RefuseChange                 // Bake returns ErrDefinitionChanged and starts nothing
)

// definition returns the digest of what belongs to no step of the image: the builder and
// the image's own fields.
func (img *Image) definition() string {
	in := new(Inputs)
	describe(in, "builder", img.Builder)
	in.Value("tags", img.Tags)
	in.Value("fingerprint", img.Fingerprint)
	in.Value("provision only", img.ProvisionOnly)
	if img.From != nil {
		in.Value("from", img.From.Name)
	}
	return in.Sum()
}

// definition returns the digest of Image.definition, which never changes.
func (b *build) definition() string {
	if b.digest == "" {
		b.digest = b.img.definition()
	}
	return b.digest
}

// builderType returns the name of the builder's type.
func (img *Image) builderType() string { return strings.TrimLeft(fmt.Sprintf("%T", img.Builder), "*") }

// digestOf returns the digest of a provisioner, check or publisher.
func digestOf[V any](v V) func() string {
	return func() string {
		in := new(Inputs)
		describe(in, "step", v)
		return in.Sum()
	}
}

// digest returns the digest of a step of Image.Steps, whose funcs have none.
func (s *Step) digest() string {
	in := new(Inputs)
	in.Value("name", s.Name)
	in.Value("version", s.Version)
	in.Value("at", int(s.At))
	in.Value("undo", s.Undo != nil)
	return in.Sum()
}

// changed reports how the definition of the image differs from that of which rec has
// work, or "". Steps that have not begun may differ.
func (b *build) changed(rec *Record) string {
	if rec.Replacing != "" {
		return rec.Replacing
	}
	if rec.Definition != "" && rec.Definition != b.definition() {
		if now := b.img.builderType(); now != rec.Builder {
			return fmt.Sprintf("the builder is %s, was %s", now, rec.Builder)
		}
		return "the builder, the tags, the fingerprint or the source image differ"
	}
	for i, step := range rec.Steps {
		switch {
		case i >= len(b.stages) || !b.sameStep(step.Name, b.stages[i]):
			return fmt.Sprintf("step %q is not at its position", step.Name)
		case step.Digest != "" && b.stages[i].digest != nil && step.Digest != b.stages[i].digest():
			return fmt.Sprintf("step %q differs", step.Name)
		}
	}
	return ""
}

// replace undoes a build of another definition and makes b a new attempt. It returns a
// result if it cannot.
func (b *build) replace(ctx context.Context, source Artifact) *Result {
	if b.resumed && b.change == "" && b.anotherSource(source) {
		b.change = "the source image was baked again"
	}
	if b.change == "" {
		return nil
	}
	b.event(Event{Kind: BuildBegunAgain, Text: b.change})
	rec := b.record
	rec.Replacing = b.change
	old, err := newUndo(b.settings, b.img, &rec, b.hold)
	if err != nil {
		return b.fail(ctx, err)
	}
	old.events = b.events
	err = old.undo(ctx, old.failedOutcome(), func(*stage) bool { return true })
	b.events = old.events
	if reason := b.leaving(); reason != nil {
		return old.leave(ctx, reason, err)
	}
	if err != nil && !errors.Is(err, ErrUndoSkipped) {
		return old.fail(ctx, err)
	}
	b.record = Record{
		Version: RecordVersion, Build: rec.Build, Image: rec.Image, Labels: rec.Labels, From: b.record.From,
		Created: rec.Created, Again: rec.Again + 1,
	}
	b.begunAgain, b.resumed, b.firstStage, b.good = b.change, false, 0, false
	if err := b.begin(); err != nil {
		return b.finish(ctx, StatusFailed, err)
	}
	return nil
}

// anotherSource reports whether the build has begun with another source image.
func (b *build) anotherSource(source Artifact) bool {
	return b.record.Source != "" && (source == nil || source.ID() != b.record.Source)
}

// fail returns the result of a build that could not be undone. Its record has not ended,
// so the undo can be tried again.
func (b *build) fail(ctx context.Context, err error) *Result {
	result := b.result()
	result.Status, result.Err = StatusFailed, errors.Join(err, b.releaseNamed(ctx))
	return b.ending(result)
}
