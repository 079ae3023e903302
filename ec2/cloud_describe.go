package ec2

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A filter accepts at most 200 values. Unlike a list of ids, it does not fail if one
// does not exist.
const (
	mostFilterValues = 200
	pageSize         = 1000
)

// How long EC2 practically always takes, in multiples of CloudOptions.PollInterval.
// A wait polls once immediately, for EC2 endpoints without delays, and then not
// before this time has passed. With the default interval, an instance is pending,
// stopping or shutting down for five seconds and an image is pending for fifteen.
const (
	quietInstance = 2.5
	quietImage    = 7.5
	progressFrom  = 11 // until the first poll for the progress of snapshots
	progressEvery = 5  // between these polls
)

// pollIntervals returns n times the poll interval.
func (r *region) pollIntervals(n float64) time.Duration {
	return time.Duration(n * float64(r.interval))
}

func filter(name string, values ...string) ec2types.Filter {
	return ec2types.Filter{Name: aws.String(name), Values: values}
}

// A pager is any of the SDK's paginators.
type pager[Page any] interface {
	HasMorePages() bool
	NextPage(ctx context.Context, opts ...func(*awsec2.Options)) (*Page, error)
}

// eachPage calls do for each page.
func eachPage[Page any](ctx context.Context, pages pager[Page], do func(*Page)) error {
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		do(page)
	}
	return nil
}

// fetch describes resources by id. If there are more ids than a filter accepts, it
// first describes all resources with the expiry tag, which a build's resources have
// while they are temporary: a page holds a thousand, so the number of requests does
// not grow with the number of builds. Resources without the tag follow by id.
func fetch[T any](ctx context.Context, ids []string, idFilter string, ask func(ctx context.Context, by ec2types.Filter, found map[string]T) error) (map[string]T, error) {
	found := make(map[string]T, len(ids))
	if len(ids) > mostFilterValues {
		if err := ask(ctx, filter("tag-key", TagExpires), found); err != nil {
			return nil, err
		}
		ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
			_, ok := found[id]
			return ok
		})
	}
	for some := range slices.Chunk(ids, mostFilterValues) {
		if err := ask(ctx, filter(idFilter, some...), found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (r *region) fetchInstances(ctx context.Context, ids []string) (map[string]ec2types.Instance, error) {
	return fetch(ctx, ids, "instance-id", func(ctx context.Context, by ec2types.Filter, found map[string]ec2types.Instance) error {
		return r.eachInstance(ctx, []ec2types.Filter{by}, func(i ec2types.Instance) {
			found[aws.ToString(i.InstanceId)] = i
		})
	})
}

func (r *region) eachInstance(ctx context.Context, filters []ec2types.Filter, do func(ec2types.Instance)) error {
	pages := awsec2.NewDescribeInstancesPaginator(r.client, &awsec2.DescribeInstancesInput{
		Filters: filters, MaxResults: aws.Int32(pageSize),
	})
	return eachPage(ctx, pages, func(page *awsec2.DescribeInstancesOutput) {
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				do(i)
			}
		}
	})
}

func (r *region) fetchImages(ctx context.Context, ids []string) (map[string]ec2types.Image, error) {
	return fetch(ctx, ids, "image-id", func(ctx context.Context, by ec2types.Filter, found map[string]ec2types.Image) error {
		in := &awsec2.DescribeImagesInput{
			Filters: []ec2types.Filter{by}, IncludeDeprecated: aws.Bool(true), // the caller named them
		}
		if aws.ToString(by.Name) == "tag-key" {
			in.Owners = []string{Self} // otherwise EC2 pages through all public images
		}
		images, err := r.describeImages(ctx, in)
		for _, i := range images {
			found[aws.ToString(i.ImageId)] = i
		}
		return err
	})
}

// describeImages returns all images that in selects.
func (r *region) describeImages(ctx context.Context, in *awsec2.DescribeImagesInput) ([]ec2types.Image, error) {
	in.MaxResults = aws.Int32(pageSize) // without it the SDK requests everything at once
	var images []ec2types.Image
	pages := awsec2.NewDescribeImagesPaginator(r.client, in)
	err := eachPage(ctx, pages, func(page *awsec2.DescribeImagesOutput) {
		images = append(images, page.Images...)
	})
	return images, err
}
