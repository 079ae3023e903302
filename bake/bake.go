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
// returns, unless the cause is ErrSuspended. Bake leaves no goroutine running, except for a func of the caller that does
// not return: an Observe, a log handler or a Machine's Close.
func Bake(ctx context.Context, opts *Options, images ...*Image) ([]*Result, error) {
	if err := Validate(opts, images...); err != nil {
		return nil, err
	}
	set := newSettings(opts)
	set.begun = set.Clock.Now()
	set.observing.canceled = ctx.Done()
	return set.bake(ctx, images)
}

func (s *settings) bake(ctx context.Context, images []*Image) ([]*Result, error) {
	builds, of, err := s.prepare(ctx, images)
	if err != nil {
		return nil, err
	}
	ctx, end := s.work(ctx)
	defer end()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	results := make([]*Result, len(images))
	slots := &line{}
	var running sync.WaitGroup
	for i, img := range images {
		running.Go(func() {
			results[i] = builds[i].bakeAfterSource(ctx, slots, of[img.From])
			if s.StopOnFailure && results[i].Status == StatusFailed {
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

// prepare takes the leases of the records to resume, plans the builds, and records them.
// If it fails, it leaves no lease.
func (s *settings) prepare(ctx context.Context, images []*Image) ([]*build, map[*Image]*build, error) {
	holds, err := s.acquireAll(ctx)
	if err != nil {
		return nil, nil, err
	}
	builds, err := s.planAll(images, holds)
	of := make(map[*Image]*build, len(images))
	if err == nil {
		for i, img := range images {
			of[img] = builds[i]
		}
		err = s.createRecords(ctx, builds, of)
	}
	if err != nil {
		for _, h := range holds {
			_ = h.abandon(context.WithoutCancel(ctx)) // else it expires
		}
	}
	return builds, of, err
}

// planAll begins every build, which does no I/O, so that any error surfaces before
// the first build creates something.
func (s *settings) planAll(images []*Image, holds map[string]*hold) ([]*build, error) {
	builds := make([]*build, len(images))
	var errs []error
	for i, img := range images {
		addSecrets(s.mask, img.Secrets...)
		var err error
		if builds[i], err = s.build(img, holds); err != nil {
			errs = append(errs, err)
			continue
		}
		if !builds[i].resumed { // a resumed build must at least clean up
			errs = append(errs, img.validateHost(s.mask))
		}
	}
	return builds, errors.Join(errs...)
}

// build returns a new build of img, or the recorded one that Options.Resume names.
func (s *settings) build(img *Image, holds map[string]*hold) (*build, error) {
	rec := s.resumeRecord(img)
	if rec == nil {
		return newBuild(s, img, newBuildID(s.Clock.Now()), 0)
	}
	b, err := newBuild(s, img, rec.Build, rec.Again)
	if err != nil {
		return nil, err
	}
	b.own(holds[rec.Build])
	if err := b.resume(rec); err != nil {
		return nil, &Error{Image: img.Name, Err: err, mask: s.mask}
	}
	return b, nil
}

// bakeAfterSource waits for the source image and a free slot, then bakes.
func (b *build) bakeAfterSource(ctx context.Context, slots *line, from *build) *Result {
	ctx, stop := b.untilChange(ctx)
	defer stop()
	ended := b.resumed && b.record.Status != "" && b.change == ""
	if ended && b.record.Source == "" {
		return b.ended(ctx)
	}
	source := b.waitForSource(ctx, from)
	switch {
	case ended && (source == nil || !b.anotherSource(source)):
		return b.ended(ctx)
	case source == nil && from != nil && b.hold.lostError() != nil: // perhaps before from was delivered
		return b.leave(ctx, b.hold.lostError(), nil)
	case source == nil && from != nil && b.hold.canceledError() == nil:
		if from.left && b.hold != nil {
			return b.leave(ctx, ErrSuspended, nil)
		}
		return b.skip(ctx, StatusSkipped, fmt.Errorf("%w: %s", ErrSourceFailed, from.img.Name))
	}
	own := &party{priority: b.img.Priority, seats: []seat{{most: b.Parallel}}}
	if leave, err := slots.enter(ctx, own, b.suspended, nil); err == nil {
		defer leave()
	}
	b.hold.wait(false)
	b.settle()
	if err := context.Cause(ctx); err != nil {
		status := StatusCanceled
		if errors.Is(err, ErrStopped) {
			status = StatusSkipped
		}
		return b.skip(ctx, status, err)
	}
	if b.suspending() {
		return b.leave(ctx, ErrSuspended, nil)
	}
	return b.bake(ctx, source)
}

// waitForSource returns the artifact of the source image, or nil.
func (b *build) waitForSource(ctx context.Context, from *build) Artifact {
	if from == nil {
		return nil
	}
	select {
	case <-from.delivered:
	case <-ctx.Done():
		if b.hold.lostError() != nil || b.hold.canceledError() != nil {
			return nil
		}
		<-from.delivered
	}
	return from.output
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

// skip returns the result of a build that never started. If it has a record or another
// process had started it, skip cleans up.
func (b *build) skip(ctx context.Context, status Status, err error) *Result {
	err = &Error{Image: b.img.Name, Err: err, mask: b.mask}
	if b.resumed || b.hold != nil {
		if b.change != "" {
			if result := b.replace(ctx, nil); result != nil {
				return result
			}
		}
		return b.finish(ctx, status, err)
	}
	now := b.Clock.Now()
	b.emit(Event{Kind: BuildFinished, Time: now, Image: b.img.Name, Status: status, Err: causeText(err)})
	return &Result{Image: b.img, Status: status, Started: now, Finished: now, Err: err}
}
