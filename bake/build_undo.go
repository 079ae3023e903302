package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Undo removes what an interrupted build left behind: after a crash, in another
// process, or to remove a machine that Options.OnFailure kept. It undoes every started
// step, newest first. A promoted artifact stays. Resources that no longer exist are not
// errors, so Undo can be repeated.
//
// Only the record is needed: img may be the definition that was baked, another one, or
// an Image that has only a Builder with the credentials of the one that was used. If a
// provisioner or step of the image that is not in img had an Undo, that one is skipped:
// an UndoSkipped event reports it, and the error wraps ErrUndoSkipped. Everything else is
// then removed nevertheless.
//
// With Options.Store, Undo takes the lease of the record first, as Options.Resume does,
// and continues with the record that is stored. To continue a build instead, use
// [Options.Resume].
func Undo(ctx context.Context, opts *Options, img *Image, rec *Record) error {
	if err := errors.Join(opts.validate()...); err != nil {
		return err
	}
	if err := rec.validate(); err != nil {
		return Invalid("Record", "%w", err)
	}
	switch {
	case isNil(img):
		return Invalid("Image", "is nil")
	case isNil(img.Builder):
		return &Error{Image: rec.Image, Err: Invalid("Image.Builder", "is required")}
	case img.Name != "" && img.Name != rec.Image:
		return &Error{Image: img.Name, Err: Invalid("Record.Image", "belongs to image %s", rec.Image)}
	}
	set := newSettings(opts)
	set.observing.canceled = ctx.Done()
	addSecrets(set.mask, img.Secrets...)
	return set.undo(ctx, img, rec, "")
}

// undo undoes the build of rec. The reason becomes its error, if it has none.
func (s *settings) undo(ctx context.Context, img *Image, rec *Record, reason string) error {
	h, rec, err := s.acquire(ctx, rec)
	if err != nil {
		return &Error{Image: img.Name, Err: err, mask: s.mask}
	}
	b, err := newUndo(s, img, rec, h)
	if err != nil {
		return errors.Join(err, h.abandon(context.WithoutCancel(ctx)))
	}
	err = b.undo(ctx, b.failedOutcome(), func(*stage) bool { return true })
	if b.record.Error == "" && !b.good {
		b.record.Error = s.mask.Mask(reason)
	}
	if b.record.Status == "" && (err == nil || errors.Is(err, ErrUndoSkipped)) && b.undone() {
		b.record.Status = StatusCanceled
		if b.good {
			b.record.Status = StatusBaked
		}
	}
	return errors.Join(err, b.releaseNamed(ctx))
}

// failedOutcome returns the outcome for the undos of a build that does not continue.
func (b *build) failedOutcome() Outcome {
	if b.good {
		return Succeeded
	}
	return Failed
}

// newUndo returns the build of rec with the stages that were started. Its steps are
// those of the builder's sessions and, as far as they are there, of img.
func newUndo(set *settings, img *Image, rec *Record, h *hold) (*build, error) {
	named := *img
	named.Name = rec.Image
	b := &build{settings: set, img: &named, record: *rec, undoing: true, delivered: make(chan struct{})}
	b.own(h)
	if err := b.begin(); err != nil {
		return nil, err
	}
	if err := b.restoreSessions(rec); err != nil {
		return nil, b.named(err)
	}
	// A session may have other steps than its builder, by its record.
	b.stages = nil
	if err := b.plan(); err != nil {
		return nil, err
	}
	if err := b.restoreStages(rec); err != nil {
		return nil, b.named(err)
	}
	return b, nil
}

// restore loads rec, which is of the same definition, into b.
func (b *build) restore(rec *Record) error {
	if err := b.restoreSessions(rec); err != nil {
		return err
	}
	for i, step := range rec.Steps {
		s := b.stages[i]
		step.Name = s.Name
		s.record = step
	}
	return nil
}

// restoreSessions loads all of rec but its steps into b.
func (b *build) restoreSessions(rec *Record) error {
	b.record = *rec
	b.good = rec.Good
	b.run.Expires, b.checkRun.Expires = rec.Expires, rec.Expires
	if err := restoreSession(rec.Session, b.session); err != nil {
		return fmt.Errorf("recorded session: %w", err)
	}
	if err := restoreSession(rec.Check, b.check); err != nil {
		return fmt.Errorf("recorded check session: %w", err)
	}
	return nil
}

// restoreStages makes the recorded steps the stages of b. It is an error if the builder
// lacks one of its steps that may have left something.
func (b *build) restoreStages(rec *Record) error {
	var errs []error
	stages := make([]*stage, 0, len(rec.Steps))
	restored := map[*stage]bool{}
	for _, step := range rec.Steps {
		s := b.recordedStage(step.Name, restored)
		if s == nil || s.record.Image != step.Image || step.Image && step.Undo && s.Undo == nil {
			s = &stage{Step: Step{Name: step.Name}, skipped: step.Undo && step.Image, result: StepResult{Name: step.Name}}
			if step.Undo && !step.Image && !step.gone() {
				errs = append(errs, fmt.Errorf("recorded step %q of %s not found in %s", step.Name, rec.Builder, b.img.builderType()))
			}
		}
		restored[s] = true
		step.Name = s.Name
		s.record = step
		stages = append(stages, s)
	}
	b.stages = stages
	return errors.Join(errs...)
}

// recordedStage returns the stage of a recorded step, or nil. It returns none of those
// already restored: two names may differ only in their secrets.
func (b *build) recordedStage(recorded string, restored map[*stage]bool) *stage {
	for _, s := range b.stages {
		if s.Name == recorded && !restored[s] {
			return s
		}
	}
	for _, s := range b.stages {
		if !restored[s] && b.sameStep(recorded, s) {
			return s
		}
	}
	return nil
}

// sameStep reports whether the stage has the recorded name, in which secrets were
// masked that may not be known yet.
func (b *build) sameStep(recorded string, s *stage) bool {
	name := b.run.Redact(s.Name)
	parts := strings.Split(recorded, redacted)
	if len(parts) == 1 || name == recorded {
		return name == recorded
	}
	last := len(parts) - 1
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok || !strings.HasSuffix(rest, parts[last]) {
		return false
	}
	rest = strings.TrimSuffix(rest, parts[last])
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return true
}

func restoreSession(data json.RawMessage, s Session) error {
	if len(data) == 0 || s == nil {
		return nil
	}
	return json.Unmarshal(data, s)
}
