package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Undo removes what an interrupted build of img left behind, using only its
// record: after a crash, in another process, or to remove a machine that
// Options.OnFailure kept. It undoes every started step, newest first. A promoted
// artifact stays. Resources that no longer exist are not errors, so Undo can be
// repeated. img must be the definition that was baked or have the same steps.
//
// To continue a build instead, use [Options.Resume]. Neither may be used while
// another process uses the record.
func Undo(ctx context.Context, opts *Options, img *Image, rec *Record) error {
	if err := errors.Join(opts.validate()...); err != nil {
		return err
	}
	if err := rec.validate(); err != nil {
		return Invalid("Record", "%w", err)
	}
	if img.Name != rec.Image {
		return &Error{Image: img.Name, Err: Invalid("Record.Image", "belongs to image %s", rec.Image)}
	}
	set := newSettings(opts)
	set.observing.canceled = ctx.Done()
	addSecrets(set.mask, img.Secrets...)
	b, err := newBuild(set, img, rec.Build)
	if err != nil {
		return err
	}
	if err := b.restore(rec); err != nil {
		return &Error{Image: img.Name, Err: err, mask: set.mask}
	}
	outcome := Failed
	if b.good {
		outcome = Succeeded
	}
	return b.undo(ctx, outcome, func(*stage) bool { return true })
}

// restore loads rec into b.
func (b *build) restore(rec *Record) error {
	b.record = *rec
	b.good = rec.Good
	b.run.Expires, b.checkRun.Expires = rec.Expires, rec.Expires
	if err := restoreSession(rec.Session, b.session); err != nil {
		return fmt.Errorf("recorded session: %w", err)
	}
	if err := restoreSession(rec.Check, b.check); err != nil {
		return fmt.Errorf("recorded check session: %w", err)
	}
	var errs []error
	restored := map[*stage]bool{}
	for _, step := range rec.Steps {
		s := b.recordedStage(step.Name, restored)
		if s == nil {
			errs = append(errs, fmt.Errorf("recorded step %q not found in the image", step.Name))
			continue
		}
		restored[s] = true
		step.Name = s.Name
		s.record = step
	}
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
