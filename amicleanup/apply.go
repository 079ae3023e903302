package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// removalTimeout bounds the removal of one image with its snapshots, which the
// end of the context does not cut: half a removal is the worst of all.
const removalTimeout = 5 * time.Minute

// A targetRun carries out the plan of one target.
type targetRun struct {
	cleaner *Cleaner
	plan    *TargetPlan
	target  Target
	clock   bake.Clock
	log     *slog.Logger

	used    map[string]string   // by image id: what uses it now
	sharing map[string][]string // by snapshot id: the images that have it; nil before it is needed
	removed map[string]bool     // image ids

	results []ImageResult
	errs    []error
}

func (c *Cleaner) newRun(plan *TargetPlan) *targetRun {
	return &targetRun{
		cleaner: c, plan: plan, clock: c.clock(),
		log:     c.log().With(slog.String("region", plan.Region), slog.String("account", plan.Account)),
		used:    map[string]string{},
		removed: map[string]bool{},
	}
}

// apply removes what the plan says, and leaves off when the context ends or no
// further removal can succeed.
func (r *targetRun) apply(ctx context.Context) {
	items := r.plan.removals()
	if len(items) == 0 {
		return
	}
	stop := r.prepare(ctx)
	if stop != nil {
		r.errs = append(r.errs, &TargetError{r.plan.Account, r.plan.Region, stop})
	}
	for _, item := range items {
		res := ImageResult{
			Account: r.plan.Account, Region: r.plan.Region,
			ID: item.Image.ID, Name: item.Image.Name, Outcome: NotTried,
		}
		if stop == nil && ctx.Err() == nil {
			err := r.remove(ctx, item, &res)
			if err != nil {
				r.errs = append(r.errs, &ImageError{res.Account, res.Region, res.ID, res.Name, err})
			}
			if meaningOf(err) == hopeless {
				stop = err
			}
		}
		r.report(ctx, &res)
		r.results = append(r.results, res)
	}
}

// prepare finds the target's client and reads once more what is in use.
func (r *targetRun) prepare(ctx context.Context) error {
	var ok bool
	if r.target, ok = r.cleaner.target(r.plan.Account, r.plan.Region); !ok {
		return errors.New("the plan is for a target that the cleaner does not have")
	}
	sources := r.cleaner.Policy.sources()
	for _, other := range r.cleaner.Targets {
		if other.Region != r.plan.Region {
			continue
		}
		refs, coverage := readReferences(ctx, other, sources)
		for _, ref := range refs {
			r.used[ref.ImageID] = ref.By
		}
		for _, c := range coverage {
			if c.Error != "" {
				return fmt.Errorf("%w: %s: %s", ErrNotCovered, c.Source, c.Error)
			}
		}
	}
	for _, c := range r.plan.Coverage {
		if !named(sources, c.Source) {
			return fmt.Errorf("%w: the plan was made with %s, which the cleaner's policy does not read", ErrNotCovered, c.Source)
		}
	}
	return nil
}

func named(sources []Source, name string) bool {
	for _, s := range sources {
		if s.Name() == name {
			return true
		}
	}
	return false
}

// remove removes one image with its snapshots, if all is still as planned.
func (r *targetRun) remove(ctx context.Context, item *Item, res *ImageResult) error {
	now, why, err := r.look(ctx, item)
	if err != nil && ctx.Err() != nil {
		return nil // nothing was done; the end of the context is reported once
	}
	if err != nil {
		res.Outcome, res.Detail = Failed, err.Error()
		return err
	}
	if why != "" {
		res.Outcome, res.Detail = Skipped, why
		return nil
	}
	ctx, stop := bake.WithTimeout(context.WithoutCancel(ctx), r.clock, removalTimeout)
	defer stop()
	if now == nil {
		// An earlier run may have ended between the image and its snapshots.
		res.Outcome = Gone
		r.removed[item.Image.ID] = true
		return r.removeSnapshots(ctx, item.Image.Snapshots, nil, 1, res)
	}
	out, err := r.target.Client.DeregisterImage(ctx, &awsec2.DeregisterImageInput{
		ImageId: aws.String(now.ID), DeleteAssociatedSnapshots: aws.Bool(true),
	})
	switch {
	case err == nil:
		res.Outcome = Removed
	case meaningOf(err) == gone:
		// Either another process was quicker or the answer to a first try of
		// the client was lost.
		res.Outcome, out = Gone, &awsec2.DeregisterImageOutput{}
	case meaningOf(err) == refused:
		res.Outcome, res.Detail = Skipped, err.Error()
		return nil
	default:
		res.Outcome, res.Detail = Failed, err.Error()
		return fmt.Errorf("deregister: %w", err)
	}
	r.removed[now.ID] = true
	return r.removeSnapshots(ctx, now.Snapshots, out.DeleteSnapshotResults, inUseTries, res)
}

// look reads the image and the newest one of its group once more. It returns
// nil when the image is gone, and why it must stay if it must.
func (r *targetRun) look(ctx context.Context, item *Item) (now *Image, why string, err error) {
	ids := []string{item.Image.ID, item.Newest}
	images, err := readImages(ctx, r.target.Client, ec2types.Filter{Name: aws.String("image-id"), Values: ids})
	if err != nil {
		return nil, "", fmt.Errorf("read again: %w", err)
	}
	var newest *Image
	for i := range images {
		switch images[i].ID {
		case item.Image.ID:
			now = &images[i]
		case item.Newest:
			newest = &images[i]
		}
	}
	switch planned := r.planned(item.Newest); {
	case now == nil:
		return nil, "", nil
	case r.used[now.ID] != "":
		return now, "it is used by " + r.used[now.ID] + " now", nil
	case newest == nil:
		return now, fmt.Sprintf("%s, the newest image of its group, is not there any more", item.Newest), nil
	case planned == nil || planned.State != newest.State:
		return now, fmt.Sprintf("%s, the newest image of its group, is %s now", newest.ID, newest.State), nil
	default:
		return now, item.Image.drift(now), nil
	}
}

// planned is an image as it was when the plan was made.
func (r *targetRun) planned(id string) *Image {
	for i := range r.plan.Items {
		if r.plan.Items[i].Image.ID == id && r.plan.Items[i].Action == Keep {
			return &r.plan.Items[i].Image
		}
	}
	return nil
}

func (r *targetRun) report(ctx context.Context, res *ImageResult) {
	level := slog.LevelInfo
	if res.Outcome == Failed {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "amicleanup",
		slog.String("image", res.ID), slog.String("name", res.Name),
		slog.String("outcome", string(res.Outcome)), slog.String("detail", res.Detail))
}
