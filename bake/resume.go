package bake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// validateResume reports the records of Options.Resume that belong to none of
// the images.
func (o *Options) validateResume(names map[string]bool) []error {
	if o == nil {
		return nil
	}
	var errs []error
	seen := map[string]bool{}
	for i, rec := range o.Resume {
		field := fmt.Sprintf("Options.Resume[%d]", i)
		switch {
		case rec == nil:
			errs = append(errs, Invalid(field, "is nil"))
			continue
		case !names[rec.Image]:
			errs = append(errs, Invalid(field, "build %s is of image %q, which is not among the images to bake", rec.Build, rec.Image))
		case seen[rec.Image]:
			errs = append(errs, &Error{Image: rec.Image, Err: Invalid(field, "build %s is the second record of this image", rec.Build)})
		}
		seen[rec.Image] = true
	}
	return errs
}

// recordOf is the record that img goes on from, nil if there is none.
func (s *settings) recordOf(img *Image) *Record {
	for _, rec := range s.Resume {
		if rec.Image == img.Name {
			return rec
		}
	}
	return nil
}

// resume makes b go on from rec.
func (b *build) resume(rec *Record) error {
	if rec.Status == StatusReused {
		return nil // it made nothing: what it found is found again
	}
	for i, step := range rec.Steps {
		if i >= len(b.stages) || b.stages[i].Name != step.Name {
			return Invalid("Options.Resume", "build %s is of another definition: this image has no step %q there", rec.Build, step.Name)
		}
	}
	if err := b.restore(rec); err != nil {
		return Invalid("Options.Resume", "build %s: %w", rec.Build, err)
	}
	b.resumed = true
	b.checkRun.Source = b.session.Artifact()
	for i, s := range b.stages[:len(rec.Steps)] {
		s.result.Attempts = s.record.Attempts
		b.from = i
		if s.record.State == StepDone || s.record.State == StepUndone {
			b.from = i + 1
		}
	}
	if b.from == 1 && b.stages[0].finds {
		b.from = 0 // whether there is an artifact is not recorded
	}
	return nil
}

// broken is why a build that is resumed fails before it goes on, if it does.
func (b *build) broken() error {
	if !b.resumed {
		return nil
	}
	if err := b.recordedError(); err != nil {
		return err
	}
	if now := b.Clock.Now(); !b.good && now.After(b.record.Expires) {
		return &Error{Image: b.img.Name, Err: fmt.Errorf("build %s expired at %s", b.record.Build, b.record.Expires.Format(time.RFC3339))}
	}
	return nil
}

// recordedError is with what the build failed before it was resumed, nil when it
// did not. It is the error of the step that was begun last, if that has one.
func (b *build) recordedError() error {
	var last *stage
	failed, undone := b.record.Error != "", false
	for _, s := range b.stages {
		if s.record.State != "" {
			last = s
		}
		failed = failed || s.record.State == StepFailed
		undone = undone || s.record.State == StepUndone && !s.finds
	}
	if last == nil {
		return nil
	}
	// Before its last step, a build is undone only when it has failed, or is to
	// launch again.
	if all := last == b.stages[len(b.stages)-1] && last.record.Error == ""; !failed && (!undone || all) {
		return nil
	}
	if last.record.Error != "" {
		return b.stepError(last.Name, errors.New(last.record.Error))
	}
	text := strings.TrimPrefix(b.record.Error, "image "+b.img.Name+": ")
	return &Error{Image: b.img.Name, Err: errors.New(cmp.Or(text, "its clean-up had begun"))}
}

// reconnect connects again with the machine that the stage from works on, if an
// earlier stage had connected with it: the connection ended with its process.
func (b *build) reconnect(ctx context.Context, from int) error {
	if !b.resumed || b.machine != nil || from == len(b.stages) {
		return nil
	}
	for _, s := range b.stages[:from] {
		changes := s.part == launching && b.stages[from].part <= provisioning
		checks := s.part == checking && b.stages[from].part == checking
		if s.connects && (changes || checks) {
			return b.do(ctx, s)
		}
	}
	return nil
}

// ended is the result of a build that had ended before it was resumed.
func (b *build) ended() *Result {
	r := b.result()
	r.Err = b.recordedError()
	return r
}
