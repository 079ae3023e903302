package amicleanup

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// batchSize is the number of images that are read again at a time, together with
// the newest images of their groups, before they are changed. At the rate at
// which EC2 removes images, a batch takes less than a minute.
const batchSize = filterValues / 2

const defaultParallel = 4

// apply changes the images in batches, several at a time, and stops when the
// context ends or no further change can succeed.
func (r *targetRun) apply(ctx context.Context) {
	for left := r.items; len(left) > 0; {
		if !r.goesOn() || ctx.Err() != nil || !r.fresh(ctx) {
			break
		}
		batch := left[:min(batchSize, len(left))]
		now, err := r.lookAt(ctx, batch)
		if err != nil && ctx.Err() != nil {
			break
		}
		left = left[r.changeAll(ctx, batch, now, err):]
	}
	for i := range r.results {
		r.report(ctx, &r.results[i])
	}
}

// lookAt reads the images of a batch again, with those that their groups need.
func (r *targetRun) lookAt(ctx context.Context, batch []*Item) (map[string]*Image, error) {
	var ids []string
	for _, item := range batch {
		ids = append(ids, item.Image.ID)
		if item.newest != "" {
			ids = append(ids, item.newest)
		}
	}
	images, err := readByID(ctx, r.client, ids)
	if err != nil {
		return nil, fmt.Errorf("read again: %w", err)
	}
	return images, nil
}

// changeAll changes the images of a batch, in order, until what is known about
// them is stale. It returns the number of images that it has dealt with.
func (r *targetRun) changeAll(ctx context.Context, batch []*Item, now map[string]*Image, failed error) int {
	begun := r.clock.Now()
	var mu sync.Mutex
	next := 0
	var wg sync.WaitGroup
	for range min(len(batch), cmp.Or(r.cleaner.Parallel, defaultParallel)) {
		wg.Go(func() {
			for {
				mu.Lock()
				at := next
				if at == len(batch) || at > 0 && r.clock.Now().Sub(begun) >= referencesStale {
					mu.Unlock()
					return
				}
				next++
				mu.Unlock()
				r.change(ctx, batch[at], now, failed)
			}
		})
	}
	wg.Wait()
	return next
}

// change changes one image, unless there is no use in trying.
func (r *targetRun) change(ctx context.Context, item *Item, now map[string]*Image, failed error) {
	if !r.goesOn() || ctx.Err() != nil {
		return
	}
	res := r.result[item]
	err := failed
	if err != nil {
		res.Outcome, res.Detail = Failed, err.Error()
	} else {
		err = r.act(ctx, item, now, res)
	}
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, &TargetError{res.Account, res.Region, res.ID, res.Name, err})
	if meaningOf(err) == hopeless {
		r.stop = err
	}
}

// fresh reads references again if they are stale, and reports whether the work
// may go on.
func (r *targetRun) fresh(ctx context.Context) bool {
	if r.clock.Now().Sub(r.readAt) < referencesStale {
		return true
	}
	if err := r.readUse(ctx); err != nil {
		if ctx.Err() == nil {
			r.fail(err)
		}
		return false
	}
	return true
}

func (r *targetRun) goesOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop == nil
}

func (r *targetRun) report(ctx context.Context, res *ImageResult) {
	level := slog.LevelInfo
	if res.Outcome == Failed {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "amicleanup",
		slog.String("image", res.ID), slog.String("name", res.Name), slog.String("action", string(res.Action)),
		slog.String("outcome", string(res.Outcome)), slog.String("detail", res.Detail))
}

// differs returns why an image must not be changed, given what exists now.
func (r *targetRun) differs(item *Item, images map[string]*Image) string {
	now := images[item.Image.ID]
	if item.Action == Restore {
		return restoreDrift(item.Image, now)
	}
	if by := r.usedBy(now); by != "" {
		return "is used by " + by + " now"
	}
	if item.newest != "" {
		newest, was := images[item.newest], r.stays(item.newest)
		switch {
		case newest == nil:
			return fmt.Sprintf("needs %s, the newest of its group, which is gone", item.newest)
		case was == nil || was.State != newest.State:
			return fmt.Sprintf("needs %s, the newest of its group, which is %s now", newest.ID, newest.State)
		}
	}
	was := *item.Image
	if stageOf(now).action == item.Action {
		was.Tags = withOwnTags(was.Tags, now.Tags)
	}
	return was.drift(now)
}

// stays returns an image that stays, as it was when the new decision was made.
func (r *targetRun) stays(id string) *Image { return r.staying[id] }

// referencesStale is the age at which references are read again before an image is
// changed.
const referencesStale = time.Minute
