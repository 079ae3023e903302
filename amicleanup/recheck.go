package amicleanup

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// look reads the image and the one that its group needs once more. It returns
// nil when the image is gone, and why it must stay if it must.
func (r *targetRun) look(ctx context.Context, item *Item) (now *Image, why string, err error) {
	images, err := r.lookAll(ctx, []*Item{item})
	if err != nil {
		return nil, "", err
	}
	now = images[item.Image.ID]
	if now == nil || doneBefore(item, now) {
		return now, "", nil
	}
	if why = r.differs(item, images); why != "" || !r.sharesMatter(item) {
		return now, why, nil
	}
	if now.Shares, err = sharesOf(ctx, r.target.Client, now.ID); err != nil {
		return nil, "", fmt.Errorf("read who may launch it: %w", err)
	}
	if planned := item.Image.Shares; planned != nil && item.Action != Restore && !planned.Any() && now.Shares.Any() {
		why = "it is shared now"
	}
	return now, why, nil
}

// sharesMatter reports whether it has to be known who may launch the image:
// because that decided, or because it is about to be forgotten.
func (r *targetRun) sharesMatter(item *Item) bool {
	return item.Image.Shares != nil || item.Action == Disable && item.Image.State == available
}

// lookAll reads images once more with those that their groups need, by id.
func (r *targetRun) lookAll(ctx context.Context, items []*Item) (map[string]*Image, error) {
	var ids []string
	for _, item := range items {
		ids = append(ids, item.Image.ID)
		if item.Newest != "" {
			ids = append(ids, item.Newest)
		}
	}
	slices.Sort(ids)
	all := map[string]*Image{}
	for some := range slices.Chunk(slices.Compact(ids), mostFilterValues) {
		images, err := readImages(ctx, r.target.Client, ec2types.Filter{Name: aws.String("image-id"), Values: some})
		if err != nil {
			return nil, fmt.Errorf("read again: %w", err)
		}
		for i := range images {
			all[images[i].ID] = &images[i]
		}
	}
	return all, nil
}

// mostFilterValues is how many values EC2 takes in one filter.
const mostFilterValues = 200

// differs says why an image must not be changed, by what is there now.
func (r *targetRun) differs(item *Item, images map[string]*Image) string {
	now := images[item.Image.ID]
	if item.Action == Restore {
		if item.Image.Tags[TagRetired] != now.Tags[TagRetired] {
			return "someone else has taken it to another rung"
		}
		if item.Image.State == available && now.State == disabled {
			return "it is disabled now" // and what was saved of it may not show yet
		}
		return "" // what was enabled only is restored further
	}
	if by := r.usedBy(now.ID); by != "" {
		return "it is used by " + by + " now"
	}
	if item.Newest != "" {
		newest, planned := images[item.Newest], r.planned(item.Newest)
		switch {
		case newest == nil:
			return fmt.Sprintf("%s, the newest image of its group, is not there any more", item.Newest)
		case planned == nil || planned.State != newest.State:
			return fmt.Sprintf("%s, the newest image of its group, is %s now", newest.ID, newest.State)
		}
	}
	planned := item.Image
	if rungOf(now).action == item.Action {
		// An earlier try was cut off after its first call, which tags.
		planned.Tags = withOwnTags(planned.Tags, now.Tags)
	}
	return planned.drift(now)
}

// withOwnTags are tags, with those of this package as they are in from.
func withOwnTags(tags, from map[string]string) map[string]string {
	own := func(key, _ string) bool { return key == TagRetired || isSharedTag(key) }
	all := map[string]string{}
	maps.Copy(all, from)
	maps.DeleteFunc(all, func(key, value string) bool { return !own(key, value) })
	for key, value := range tags {
		if !own(key, value) {
			all[key] = value
		}
	}
	return all
}

// planned is an image that stays, as it was when the plan was made.
func (r *targetRun) planned(id string) *Image {
	for i := range r.plan.Items {
		if item := &r.plan.Items[i]; item.Image.ID == id && (item.Action == Keep || item.Action == Restore) {
			return &item.Image
		}
	}
	return nil
}

// doneBefore reports whether an earlier run has done to the image what the
// plan says.
func doneBefore(item *Item, now *Image) bool {
	if item.Image.Tags[TagRetired] == now.Tags[TagRetired] {
		return false
	}
	on := rungOf(now).action
	switch item.Action {
	case Deprecate:
		return on == Deprecate && !now.Deprecated.IsZero()
	case Disable:
		return on == Disable && now.State == disabled
	case Restore:
		return on == "" && now.State == available
	default:
		return false
	}
}

// survey looks, before anything is changed, which images of releases differ
// from the plan; then the whole release is left alone.
func (r *targetRun) survey(ctx context.Context) {
	var items []*Item
	for _, item := range r.items {
		if item.Release != "" {
			items = append(items, item)
		}
	}
	if len(items) == 0 {
		return
	}
	images, err := r.lookAll(ctx, items)
	for _, item := range items {
		now := images[item.Image.ID]
		switch {
		case err != nil:
			r.held[item.Release] = fmt.Sprintf("%s of its release could not be read again: %v", item.Image.ID, err)
		case now == nil || doneBefore(item, now):
		default:
			if why := r.differs(item, images); why != "" {
				r.held[item.Release] = fmt.Sprintf("%s of its release: %s", item.Image.ID, why)
			}
		}
	}
}

// holdReleases leaves a release alone everywhere when it cannot be changed in
// one of the targets.
func holdReleases(runs []*targetRun) {
	held := map[string]string{}
	for _, r := range runs {
		maps.Copy(held, r.held)
		for _, item := range r.items {
			if r.stop != nil && item.Release != "" {
				held[item.Release] = fmt.Sprintf("%s of its release: %v", item.Image.ID, r.stop)
			}
		}
	}
	for _, r := range runs {
		r.held = held
	}
}
