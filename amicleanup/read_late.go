package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// readLate reads what EC2 answers for given images only, for images that would
// go without it: who may launch them, and the sources that are asked. An image
// that stays because of it makes room for another under a limit, so the reading
// is repeated until nothing is missing. Each repetition allows twice as many
// images to go, so the number of evaluations is logarithmic. Facts that could not
// be read stay unknown.
func (c *Cleaner) readLate(ctx context.Context, needs *Needs, inv *inventory, approved *approval) {
	_, asked := split(needs.Sources)
	shares := needs.Shares
	for i := range asked {
		shares = shares || asked[i].SharedOnly
	}
	if !shares && len(asked) == 0 {
		return
	}
	l := &late{cleaner: c, inv: inv, asked: asked}
	for room := 1; ctx.Err() == nil; room *= 2 {
		plan := c.Policy.evaluate(inv, approved, room)
		missing := shares && l.readShares(ctx, plan)
		if l.ask(ctx, plan) {
			missing = true
		}
		if !missing {
			break
		}
	}
}

// late reads facts about images that would go.
type late struct {
	cleaner *Cleaner
	inv     *inventory
	asked   []inuse.Source
}

// readShares reads who may launch the images that would go, and reports whether
// there were any. After a failure a target is not read again.
func (l *late) readShares(ctx context.Context, plan *Plan) bool {
	missing := make([]bool, len(l.inv.targets))
	each(len(missing), func(i int) {
		t := &l.inv.targets[i]
		if t.sharesErr != nil {
			return
		}
		ids := map[string]bool{}
		for j := range plan.Targets[i].Items {
			if item := &plan.Targets[i].Items[j]; item.leaves() && item.Image.Shares == nil {
				ids[item.Image.ID] = true
			}
		}
		missing[i] = len(ids) > 0
		if t.sharesErr = t.readShares(ctx, ids); t.sharesErr != nil {
			t.fail("", t.sharesErr)
		}
	})
	for _, m := range missing {
		if m {
			return true
		}
	}
	return false
}

func (t *targetInventory) readShares(ctx context.Context, ids map[string]bool) error {
	client := t.target.ec2()
	var images []*Image
	for _, img := range t.images {
		if ids[img.ID] {
			images = append(images, img)
		}
	}
	return awsapi.ForEach(images, func(img *Image) error {
		shares, err := sharesOf(ctx, client, img.ID)
		if isGone(err) {
			shares, err = &Shares{}, nil
		}
		if err != nil {
			return fmt.Errorf("read who may launch %s: %w", img.ID, err)
		}
		img.Shares = shares
		return nil
	})
}

// ask asks the sources about images that would go and were not asked about, and
// reports whether there were any.
func (l *late) ask(ctx context.Context, plan *Plan) bool {
	any := false
	var mu sync.Mutex
	for s := range l.asked {
		source := &l.asked[s]
		each(len(l.inv.targets), func(i int) {
			t := &l.inv.targets[i]
			images := t.unasked(source, &plan.Targets[i])
			if len(images) == 0 {
				return
			}
			refs, err := l.cleaner.askAbout(ctx, source, t.target, images)
			mu.Lock()
			defer mu.Unlock()
			any = true
			t.answered(source, images, refs, err)
			if err != nil {
				t.unknown(inuse.Coverage{Source: source.Name, Error: err.Error()})
			}
		})
	}
	return any
}

// unasked returns the images that would go by plan and that the source was not
// asked about. After a failure it is not asked again.
func (t *targetInventory) unasked(source *inuse.Source, plan *TargetPlan) []*Image {
	a := t.answers[source.Name]
	if a != nil && a.err != nil {
		return nil
	}
	var images []*Image
	for i := range plan.Items {
		item := &plan.Items[i]
		if item.leaves() && (a == nil || !a.asked[item.Image.ID]) {
			if source.SharedOnly && item.Image.Shares == nil {
				continue // not read yet, or never; the rule keeps what was not asked about
			}
			images = append(images, item.Image)
		}
	}
	return images
}

// answered adds the answer of a source about images of the target.
func (t *targetInventory) answered(source *inuse.Source, images []*Image, refs []inuse.Reference, err error) {
	t.references = append(t.references, refs...)
	a := t.answers[source.Name]
	if a == nil {
		a = &answer{asked: map[string]bool{}}
		t.answers[source.Name] = a
	}
	if err != nil {
		a.err = err
		t.coverage = append(t.coverage, inuse.Coverage{Source: source.Name, Error: err.Error()})
		return
	}
	for _, img := range images {
		a.asked[img.ID] = true
	}
}

// askAbout asks a source about images of one target: in all accounts of the
// region, or only in the owner's about shared images.
func (c *Cleaner) askAbout(ctx context.Context, source *inuse.Source, owner Target, images []*Image) ([]inuse.Reference, error) {
	var ids []string
	for _, img := range images {
		if !source.SharedOnly || img.shared() {
			ids = append(ids, img.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var all []inuse.Reference
	var errs []error
	for _, t := range c.Targets {
		if t.region() != owner.region() || source.SharedOnly && t.Account != owner.Account {
			continue
		}
		refs, err := source.Ask(ctx, t.place(c.Clock), ids)
		if err != nil && t.Account != owner.Account {
			err = fmt.Errorf("%s: %w", t, err)
		}
		errs = append(errs, err)
		for i := range refs {
			refs[i].Source = source.Name
		}
		all = append(all, refs...)
	}
	return all, errors.Join(errs...)
}

// shared reports whether others may launch the image, or might before it was
// disabled. Its shares have been read.
func (img *Image) shared() bool {
	saved := sharesInTags(img.Tags)
	return img.Public || saved.Any() || img.Shares != nil && img.Shares.Any()
}
