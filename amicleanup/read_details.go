package amicleanup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// readDetails adds sizes and stale references to a plan.
func readDetails(ctx context.Context, inv *inventory, plan *Plan) {
	each(len(inv.targets), func(i int) {
		t := &inv.targets[i]
		client := t.target.ec2()
		if err := plan.Targets[i].readSizes(ctx, client); err != nil {
			t.fail("sizes of snapshots", err)
		}
		stale, err := t.staleReferences(ctx, client, inv.time)
		if err != nil {
			t.fail("images of references", err)
		}
		plan.Targets[i].Stale = stale
	})
}

// readSizes reads the full sizes of the snapshots of images to be removed, into
// Image.Bytes.
func (t *TargetPlan) readSizes(ctx context.Context, client *awsec2.Client) error {
	var ids []string
	for i := range t.Items {
		if t.Items[i].Action == Remove {
			ids = append(ids, t.Items[i].Image.Snapshots...)
		}
	}
	sizes := map[string]int64{}
	for some := range slices.Chunk(ids, filterValues) {
		found, _, err := readSnapshots(ctx, client, ec2types.Filter{Name: aws.String("snapshot-id"), Values: some})
		if err != nil {
			return err
		}
		for i := range found {
			sizes[found[i].ID] = found[i].Bytes
		}
	}
	for i := range t.Items {
		img := t.Items[i].Image
		all := int64(0)
		for _, id := range img.Snapshots {
			if sizes[id] == 0 {
				all = 0 // unknown
				break
			}
			all += sizes[id]
		}
		img.Bytes = all
	}
	return nil
}

// staleReferences looks for references to images that cannot be launched, of
// any owner. Instances do not count: they run on without their image. An
// image of another account that is no longer shared looks as if it were gone.
func (t *targetInventory) staleReferences(ctx context.Context, client *awsec2.Client, now time.Time) ([]inuse.StaleReference, error) {
	users := map[string][]string{} // by image
	for _, ref := range t.references {
		if ref.ImageID != "" && !strings.HasPrefix(ref.By, "instance ") && !slices.Contains(users[ref.ImageID], ref.By) {
			users[ref.ImageID] = append(users[ref.ImageID], ref.By)
		}
	}
	there := map[string]Image{}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(users)), filterValues) {
		pages := awsec2.NewDescribeImagesPaginator(client, &awsec2.DescribeImagesInput{
			Filters:         []ec2types.Filter{{Name: aws.String("image-id"), Values: some}},
			IncludeDisabled: aws.Bool(true), IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(imagesPerPage),
		}, func(o *awsec2.DescribeImagesPaginatorOptions) { o.StopOnDuplicateToken = true })
		err := awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeImagesOutput) *string {
			for i := range page.Images {
				img := imageOf(&page.Images[i])
				there[img.ID] = img
			}
			return page.NextToken
		})
		if err != nil {
			return nil, err
		}
	}
	var stale []inuse.StaleReference
	for image, all := range users {
		why := ""
		switch img, ok := there[image]; {
		case !ok || img.State == deregistered:
			why = "is gone"
		case img.State == disabled:
			why = "is disabled"
		case img.deprecated(now):
			why = "is deprecated since " + timeText(img.Deprecated)
		default:
			continue
		}
		for _, by := range all {
			stale = append(stale, inuse.StaleReference{By: by, ImageID: image, Why: why})
		}
	}
	slices.SortFunc(stale, func(a, b inuse.StaleReference) int {
		return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.ImageID, b.ImageID))
	})
	return stale, nil
}
