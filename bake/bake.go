package bake

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Bake bakes the images and returns a result for each, in the given order. The
// error joins the errors of the results. It is nil if every image was baked,
// reused or, with Image.ProvisionOnly, provisioned.
//
// Bake first validates everything. If anything is invalid, a program is missing on
// the baking host, or there are no images (ErrNoImages), it creates nothing and returns
// no results and an error that joins all problems. Then it bakes
// independent images concurrently, up to Options.Parallel. An image with From set
// starts as soon as that image is published, without waiting for its clean-up.
//
// When ctx ends, every build stops and removes what it created before Bake
// returns. Bake leaves no goroutine running, except for a func of the caller that does
// not return: an Observe, a log handler or a Machine's Close.
func Bake(ctx context.Context, opts *Options, images ...*Image) ([]*Result, error) {
	if err := Validate(opts, images...); err != nil {
		return nil, err
	}
	set := newSettings(opts)
	set.begun = set.Clock.Now()
	builds, err := planAll(set, images)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	set.observing.canceled = ctx.Done()

	results := make([]*Result, len(images))
	of := make(map[*Image]*build, len(images))
	for i, img := range images {
		of[img] = builds[i]
	}
	slots := &line{}
	var running sync.WaitGroup
	for i, img := range images {
		running.Go(func() {
			results[i] = builds[i].bakeAfterSource(ctx, slots, of[img.From])
			if set.StopOnFailure && results[i].Status == StatusFailed {
				stop(fmt.Errorf("%w: %s", ErrStopped, img.Name))
			}
			builds[i].deliver(results[i].Artifact)
		})
	}
	running.Wait()

	errs := make([]error, 0, len(results))
	for _, r := range results {
		errs = append(errs, r.Err)
	}
	return results, errors.Join(errs...)
}

// planAll begins every build, which does no I/O, so that any error surfaces before
// the first build creates something.
func planAll(set *settings, images []*Image) ([]*build, error) {
	builds := make([]*build, len(images))
	var errs []error
	for i, img := range images {
		addSecrets(set.mask, img.Secrets...)
		var err error
		if builds[i], err = set.build(img); err != nil {
			errs = append(errs, err)
			continue
		}
		if !builds[i].resumed { // a resumed build must at least clean up
			errs = append(errs, img.validateHost(set.mask))
		}
	}
	return builds, errors.Join(errs...)
}

// build returns a new build of img, or the recorded one that Options.Resume names.
func (s *settings) build(img *Image) (*build, error) {
	rec := s.resumeRecord(img)
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

// bakeAfterSource waits for the source image and a free slot, then bakes.
func (b *build) bakeAfterSource(ctx context.Context, slots *line, from *build) *Result {
	if b.resumed && b.record.Status != "" {
		return b.ended()
	}
	var source Artifact
	if from != nil {
		<-from.delivered
		if source = from.output; source == nil {
			return b.skip(ctx, StatusSkipped, fmt.Errorf("%w: %s", ErrSourceFailed, from.img.Name))
		}
	}
	own := &party{priority: b.img.Priority, seats: []seat{{most: b.Parallel}}}
	leave, err := slots.enter(ctx, own, nil)
	if err != nil {
		status := StatusCanceled
		if errors.Is(err, ErrStopped) {
			status = StatusSkipped
		}
		return b.skip(ctx, status, err)
	}
	defer leave()
	return b.bake(ctx, source)
}

// deliver passes the artifact, or nil, to the images made from this one. Only the
// first call counts: a successful build delivers before it cleans up, any other
// when it has ended.
func (b *build) deliver(artifact Artifact) {
	b.deliverOnce.Do(func() {
		b.output = artifact
		close(b.delivered)
	})
}

// skip returns the result of a build that never started. If another process had
// started it, skip cleans up.
func (b *build) skip(ctx context.Context, status Status, err error) *Result {
	err = &Error{Image: b.img.Name, Err: err, mask: b.mask}
	if b.resumed {
		return b.finish(ctx, status, err)
	}
	now := b.Clock.Now()
	b.emit(Event{Kind: BuildFinished, Time: now, Image: b.img.Name, Status: status, Err: causeText(err)})
	return &Result{Image: b.img, Status: status, Started: now, Finished: now, Err: err}
}
