package amicleanup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A StalePin is something that names an image which nothing can be launched
// from any more, or soon: a launch template, a parameter, a launch
// configuration. Whoever has it should point it to another image.
type StalePin struct {
	Account string `json:"account,omitempty"`
	Region  string `json:"region"`
	By      string `json:"by"`
	ImageID string `json:"image"`
	Why     string `json:"why"` // completes "its image …"
}

// StalePins looks, among the references of an inventory, for those to images
// that are gone, disabled or deprecated, of whatever owner. An instance is no
// pin: it runs on without its image. An image of another account that is no
// longer shared with this one looks as if it were gone.
//
// The error joins a *TargetError for each target that could not be read.
func StalePins(ctx context.Context, targets []Target, inv *Inventory) ([]StalePin, error) {
	pins := make([][]StalePin, len(inv.Targets))
	errs := make([]error, len(inv.Targets))
	var wg sync.WaitGroup
	for i := range inv.Targets {
		t := &inv.Targets[i]
		at := slices.IndexFunc(targets, func(c Target) bool { return c.Account == t.Account && c.Region == t.Region })
		if at < 0 {
			continue
		}
		wg.Go(func() {
			var err error
			if pins[i], err = t.stalePins(ctx, targets[at].Client, inv); err != nil {
				errs[i] = &TargetError{t.Account, t.Region, fmt.Errorf("stale pins: %w", err)}
			}
		})
	}
	wg.Wait()
	return slices.Concat(pins...), errors.Join(errs...)
}

func (t *TargetInventory) stalePins(ctx context.Context, client ImageReader, inv *Inventory) ([]StalePin, error) {
	pinned := map[string][]string{} // by image: what names it
	for _, ref := range t.References {
		if !strings.HasPrefix(ref.By, "instance ") && !slices.Contains(pinned[ref.ImageID], ref.By) {
			pinned[ref.ImageID] = append(pinned[ref.ImageID], ref.By)
		}
	}
	there := map[string]Image{}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(pinned)), mostFilterValues) {
		pages := awsec2.NewDescribeImagesPaginator(client, &awsec2.DescribeImagesInput{
			Filters:         []ec2types.Filter{{Name: aws.String("image-id"), Values: some}},
			IncludeDisabled: aws.Bool(true), IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(imagesPerPage),
		}, func(o *awsec2.DescribeImagesPaginatorOptions) { o.StopOnDuplicateToken = true })
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for i := range page.Images {
				img := imageOf(&page.Images[i], nil)
				there[img.ID] = img
			}
		}
	}
	var stale []StalePin
	for image, all := range pinned {
		why := ""
		switch img, ok := there[image]; {
		case !ok || img.State == deregistered:
			why = "is gone"
		case img.State == disabled:
			why = "is disabled"
		case img.deprecated(inv.Time):
			why = "is deprecated since " + stampText(img.Deprecated)
		default:
			continue
		}
		for _, by := range all {
			stale = append(stale, StalePin{t.Account, t.Region, by, image, why})
		}
	}
	slices.SortFunc(stale, func(a, b StalePin) int { return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.ImageID, b.ImageID)) })
	return stale, nil
}
