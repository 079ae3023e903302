package bake

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Bake bakes the images and returns how each ended, in the order given. The
// error joins those of the results; it is nil when every image has an artifact
// that is to have one.
//
// First everything is validated; if anything is wrong, Bake returns no results
// and an error that joins all that is wrong, and nothing was created. Then
// independent images are baked at the same time, as far as Options.Parallel
// goes; an image that is made From another begins when that one is published,
// and does not wait for its clean-up.
//
// When ctx ends, every build stops, removes what it created, and only then
// Bake returns. No goroutine of Bake's outlives it.
func Bake(ctx context.Context, opts *Options, images ...*Image) ([]*Result, error) {
	if err := Validate(opts, images...); err != nil {
		return nil, err
	}
	set := newSettings(opts)
	builds, err := planAll(set, images)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	results := make([]*Result, len(images))
	of := make(map[*Image]*build, len(images))
	for i, img := range images {
		of[img] = builds[i]
	}
	places := make(chan struct{}, set.Parallel)
	var running sync.WaitGroup
	for i, img := range images {
		running.Go(func() {
			results[i] = builds[i].bakeInTurn(ctx, places, of[img.From])
			if set.StopOnFailure && results[i].Status == StatusFailed {
				stop(fmt.Errorf("%w: %s", ErrStopped, img.Name))
			}
			builds[i].handOn(results[i].Artifact)
		})
	}
	running.Wait()

	errs := make([]error, 0, len(results))
	for _, r := range results {
		errs = append(errs, r.Err)
	}
	return results, errors.Join(errs...)
}

// planAll begins every build, which does no I/O, so that what is wrong with any
// of them shows before the first one creates anything.
func planAll(set *settings, images []*Image) ([]*build, error) {
	builds := make([]*build, len(images))
	var errs []error
	for i, img := range images {
		set.mask.add(img.Secrets...)
		var err error
		if builds[i], err = set.build(img); err != nil {
			errs = append(errs, err)
		}
	}
	return builds, errors.Join(errs...)
}

// build is the build of img: a new one, or that of a record.
func (s *settings) build(img *Image) (*build, error) {
	rec := s.recordOf(img)
	if rec == nil {
		return newBuild(s, img, newBuildID(s.Clock.Now()))
	}
	b, err := newBuild(s, img, rec.Build)
	if err != nil {
		return nil, err
	}
	if err := b.resume(rec); err != nil {
		return nil, &Error{Image: img.Name, Err: err, mask: s.mask}
	}
	return b, nil
}

// bakeInTurn bakes when there is a source, if there is to be one, and a place;
// unless the source failed or there is no time left.
func (b *build) bakeInTurn(ctx context.Context, places chan struct{}, from *build) *Result {
	if b.resumed && b.record.Status != "" {
		return b.ended()
	}
	var source Artifact
	if from != nil {
		<-from.handedOn
		if source = from.artifact; source == nil {
			return b.skip(ctx, StatusSkipped, fmt.Errorf("%w: %s", ErrSourceFailed, from.img.Name))
		}
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); err != nil {
		status := StatusCanceled
		if errors.Is(err, ErrStopped) {
			status = StatusSkipped
		}
		return b.skip(ctx, status, err)
	}
	return b.bake(ctx, source)
}

// handOn gives the artifact, nil if there is none, to the images that are made
// of it. The first call counts: a build that succeeds hands on before it cleans
// up, any other one when it has ended.
func (b *build) handOn(artifact Artifact) {
	b.handing.Do(func() {
		b.artifact = artifact
		close(b.handedOn)
	})
}

// skip is the result of a build that did not begin. One that another process had
// begun is cleaned up.
func (b *build) skip(ctx context.Context, status Status, err error) *Result {
	err = &Error{Image: b.img.Name, Err: err, mask: b.mask}
	if b.resumed {
		return b.finish(ctx, status, err)
	}
	now := b.Clock.Now()
	b.emit(Event{Kind: BuildFinished, Time: now, Image: b.img.Name, Status: status, Err: causeText(err)})
	return &Result{Image: b.img, Status: status, Started: now, Finished: now, Err: err}
}

// emit hands e, masked, to the observer and the log.
func (s *settings) emit(e Event) {
	e = e.masked(s.mask)
	s.observing.Lock()
	defer s.observing.Unlock()
	if s.Observe != nil {
		s.Observe(e)
	}
	e.logTo(s.Log)
}
