package bake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// validateResume reports records of Options.Resume that match no image.
func (o *Options) validateResume(names map[string]bool) []error {
	if o == nil {
		return nil
	}
	var errs []error
	seen := map[string]bool{}
	for i, rec := range o.Resume {
		field := fmt.Sprintf("Options.Resume[%d]", i)
		switch {
		case rec.validate() != nil:
			errs = append(errs, Invalid(field, "%w", rec.validate()))
			continue
		case !names[rec.Image]:
			errs = append(errs, Invalid(field, "build %s: image %q is not among the images to bake", rec.Build, rec.Image))
		case seen[rec.Image]:
			errs = append(errs, &Error{Image: rec.Image, Err: Invalid(field, "build %s: duplicate record for this image", rec.Build)})
		}
		seen[rec.Image] = true
	}
	return errs
}

// resumeRecord returns the record to resume img from, or nil.
func (s *settings) resumeRecord(img *Image) *Record {
	for _, rec := range s.Resume {
		if rec.Image == img.Name {
			return rec
		}
	}
	return nil
}

// resume makes b continue from rec.
func (b *build) resume(rec *Record) error {
	found := len(b.stages) > 0 && b.stages[0].finds && rec.Artifact != nil && !rec.Good
	if rec.Status == StatusReused || found {
		b.record.Labels, b.record.Caller, b.record.Created = rec.Labels, rec.Caller, rec.Created
		return nil // it created nothing and finds the artifact again
	}
	b.resumed = true
	if b.change = b.changed(rec); b.change != "" {
		if b.OnChange == RefuseChange {
			return Invalid("Options.Resume", "build %s: %w: %s", rec.Build, ErrDefinitionChanged, b.change)
		}
		b.record = *rec
		return nil
	}
	if err := b.restore(rec); err != nil {
		return Invalid("Options.Resume", "build %s: %w", rec.Build, err)
	}
	b.checkRun.Source = b.session.Artifact()
	for i, s := range b.stages[:len(rec.Steps)] {
		s.result.Attempts = s.record.Attempts
		b.firstStage = i
		if s.record.State == StepDone || s.record.State == StepUndone {
			b.firstStage = i + 1
		}
	}
	if b.firstStage == 1 && b.stages[0].finds {
		b.firstStage = 0 // the record does not hold what was found
	}
	return nil
}

// resumeError returns the error that keeps a resumed build from continuing, if any.
func (b *build) resumeError() error {
	if !b.resumed {
		return nil
	}
	if err := b.recordedError(); err != nil {
		return err
	}
	if now := b.Clock.Now(); !b.good && !b.record.Expires.IsZero() && now.After(b.record.Expires) {
		return &Error{Image: b.img.Name, Err: fmt.Errorf("build %s expired at %s", b.record.Build, b.record.Expires.Format(time.RFC3339))}
	}
	return nil
}

// recordedError returns the error with which the build failed before it was
// resumed, or nil. It prefers the error of the last started stage.
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
	// Before the last stage, undone stages mean that the build failed or was
	// launching again.
	if all := last == b.stages[len(b.stages)-1] && last.record.Error == ""; !failed && (!undone || all) {
		return nil
	}
	if last.record.Error != "" {
		return b.stepError(last.Name, errors.New(last.record.Error))
	}
	text := strings.TrimPrefix(b.record.Error, "image "+b.img.Name+": ")
	return &Error{Image: b.img.Name, Err: errors.New(cmp.Or(text, "clean-up had started"))}
}

// reconnect connects to the machine again if a stage before from had connected to
// it: the connection ended with the earlier process.
func (b *build) reconnect(ctx context.Context, from int) error {
	if !b.resumed || b.machine != nil || from == len(b.stages) {
		return nil
	}
	for _, s := range b.stages[:from] {
		changes := s.phase == launching && b.stages[from].phase <= provisioning
		checks := s.phase == checking && b.stages[from].phase == checking
		if s.connects && (changes || checks) {
			return b.do(ctx, s)
		}
	}
	return nil
}

// ended returns the result of a build that had ended before it was resumed.
func (b *build) ended(ctx context.Context) *Result {
	r := b.result()
	r.Err = errors.Join(b.recordedError(), b.releaseNamed(ctx))
	return r
}
