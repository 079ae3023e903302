package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if img.Name != rec.Image {
		return &Error{Image: img.Name, Err: Invalid("Record.Image", "belongs to image %s", rec.Image)}
	}
	set := newSettings(opts)
	set.mask.add(img.Secrets...)
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
	stages := make(map[string]*stage, len(b.stages))
	for _, s := range b.stages {
		stages[s.Name] = s
	}
	var errs []error
	for _, step := range rec.Steps {
		if s, ok := stages[step.Name]; ok {
			s.record = step
			continue
		}
		errs = append(errs, fmt.Errorf("recorded step %q not found in the image", step.Name))
	}
	return errors.Join(errs...)
}

func restoreSession(data json.RawMessage, s Session) error {
	if len(data) == 0 || s == nil {
		return nil
	}
	return json.Unmarshal(data, s)
}
