package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Undo removes what an interrupted build of img left, from its record alone:
// after a crash, in another process, or to give up a machine that
// Options.OnFailure kept. It undoes, newest first, every step that was begun;
// an artifact that was already promoted stays. What is gone already is no
// error, so that Undo may be repeated. Img must be the definition that was
// baked, or one with the same steps.
//
// Options.Resume goes on with a build instead. For both, no other process may be
// using the record.
func Undo(ctx context.Context, opts *Options, img *Image, rec *Record) error {
	if err := errors.Join(opts.validate()...); err != nil {
		return err
	}
	if img.Name != rec.Image {
		return &Error{Image: img.Name, Err: Invalid("Record.Image", "the record is of image %s", rec.Image)}
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

// restore makes b the build that rec records.
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
		errs = append(errs, fmt.Errorf("the image has no step %q, which the record names", step.Name))
	}
	return errors.Join(errs...)
}

func restoreSession(data json.RawMessage, s Session) error {
	if len(data) == 0 || s == nil {
		return nil
	}
	return json.Unmarshal(data, s)
}
