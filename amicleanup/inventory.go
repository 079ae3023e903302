package amicleanup

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// An Inventory is what there was in all targets at one time.
type Inventory struct {
	Time    time.Time         `json:"time"`
	Targets []TargetInventory `json:"targets"`
}

// TargetInventory is what there was in one target.
type TargetInventory struct {
	Account    string      `json:"account,omitempty"`
	Region     string      `json:"region"`
	Images     []Image     `json:"images"`
	References []Reference `json:"references,omitempty"`
	Coverage   []Coverage  `json:"coverage,omitempty"`

	// Opinions are how the asking of opinions about images of this target
	// went; what they answered is among References.
	Opinions []OpinionCoverage `json:"opinions,omitempty"`

	// Bin are the retention rules of the Recycle Bin in force, read when
	// Limits.Recoverable asks for them; BinError is why they could not be read.
	Bin      []BinRule `json:"bin,omitempty"`
	BinError string    `json:"bin_error,omitempty"`

	// Error is why the images could not be read; then there are none here.
	Error string `json:"error,omitempty"`
}

// Read asks every target which images policy may be about and what uses them.
// All targets are read at once. The inventory holds every target, also one
// that failed; the error joins a *TargetError for each of those. A source that
// failed is no error: it is in Coverage, and keeps images from being removed.
//
// A nil clock is the real time.
func Read(ctx context.Context, targets []Target, policy *Policy, c clock.Clock) (*Inventory, error) {
	if err := errors.Join(validateTargets(targets), policy.Validate(), validateSources(targets, policy)); err != nil {
		return nil, err
	}
	inv := &Inventory{Time: clock.OrSystem(c).Now().UTC(), Targets: make([]TargetInventory, len(targets))}
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			into := &inv.Targets[i]
			into.Account, into.Region = t.Account, t.Region
			var err error
			if into.Images, err = readImages(ctx, t.Client, policy.nameFilter()...); err != nil {
				into.Error = err.Error()
				errs[i] = &TargetError{t.Account, t.Region, err}
			}
			// Also of a target that failed: it may use images of another account.
			into.References, into.Coverage = readReferences(ctx, t, policy.sources())
		})
	}
	wg.Wait()
	readBins(ctx, targets, policy, inv)
	return inv, errors.Join(errors.Join(errs...), readLate(ctx, targets, policy, inv))
}

// readLate reads what has to be asked for image by image, of those that would
// go without it: who may launch them, and what opinions say. Those that stay
// for it make room for others under a limit, so that it is repeated until
// nothing is missing. What cannot be read stays unknown.
func readLate(ctx context.Context, targets []Target, p *Policy, inv *Inventory) error {
	if !p.wantsShares() && len(p.opinions()) == 0 {
		return nil
	}
	errs := make([]error, len(targets))
	for missing := true; missing && ctx.Err() == nil; {
		plan := p.evaluate(inv, true)
		missing = false
		var wg sync.WaitGroup
		for i := range targets {
			if ids := unreadShares(&plan.Targets[i]); p.wantsShares() && len(ids) > 0 && errs[i] == nil {
				missing = true
				wg.Go(func() { errs[i] = inv.Targets[i].readShares(ctx, targets[i], ids) })
			}
		}
		wg.Wait()
		if askOpinions(ctx, targets, p, inv, plan) {
			missing = true
		}
	}
	return errors.Join(errs...)
}

// nameFilter spares reading images that the policy does not select anyway,
// unless they count as layers or copies of others.
func (p *Policy) nameFilter() []ec2types.Filter {
	name, err := compile(p.Select.Name)
	if err != nil || name.glob == "" || p.keepsParents() || p.Release != nil {
		return nil
	}
	return []ec2types.Filter{{Name: aws.String("name"), Values: []string{name.glob}}}
}

// imagesPerPage bounds the answer to one call. Without a bound EC2 tries to
// answer with all images at once, which it may give up on.
const imagesPerPage = 1000

// readImages lists the account's own images, the disabled ones as well.
func readImages(ctx context.Context, client ImageReader, filters ...ec2types.Filter) ([]Image, error) {
	pages := awsec2.NewDescribeImagesPaginator(client, &awsec2.DescribeImagesInput{
		Owners:          []string{"self"},
		Filters:         filters,
		IncludeDisabled: aws.Bool(true),
		MaxResults:      aws.Int32(imagesPerPage),
	}, func(o *awsec2.DescribeImagesPaginatorOptions) { o.StopOnDuplicateToken = true })
	var lists [][]Image // and not one list, which would be copied as it grows
	seen := map[string]bool{}
	same := texts{}
	err := eachPage(ctx, pages, func(page *awsec2.DescribeImagesOutput) *string {
		images := make([]Image, 0, len(page.Images))
		for i := range page.Images {
			img := imageOf(&page.Images[i], same)
			if img.State == deregistered || seen[img.ID] {
				continue
			}
			seen[img.ID] = true
			images = append(images, img)
		}
		lists = append(lists, images)
		return page.NextToken
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat(lists...), nil
}

// readImage reads one own image; nil is not there.
func readImage(ctx context.Context, client ImageReader, id string) (*Image, error) {
	images, err := readImages(ctx, client, ec2types.Filter{Name: aws.String("image-id"), Values: []string{id}})
	if err != nil || len(images) == 0 {
		return nil, err
	}
	return &images[0], nil
}
