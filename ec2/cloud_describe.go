package ec2

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A filter takes at most 200 values; one with an id that does not exist finds
// the others, where a list of ids would fail.
const (
	mostFilterValues = 200
	pageSize         = 1000
)

// How long EC2 practically always takes, in times of CloudOptions.PollInterval:
// a wait looks at once, for an EC2 that takes no time, and then not before. With
// the usual two seconds: an instance is pending, stopping or shutting down for
// five seconds, and an image for fifteen.
const (
	quietInstance = 2.5
	quietImage    = 7.5
	progressFrom  = 11 // when the progress of snapshots is looked at first
	progressEvery = 5  // and how often then
)

// polls is that many times the poll interval.
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

// eachPage reads pages to the end.
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

// fetch asks for things by their ids. More than one filter takes are asked for
// by the tag that everything of ours has while it is temporary: a page of them
// has a thousand, so the number of requests does not grow with the bakes. What
// has no such tag, or not yet, is asked for by its id.
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
			Filters: []ec2types.Filter{by}, IncludeDeprecated: aws.Bool(true), // named by its id, an image is meant although it is deprecated
		}
		if aws.ToString(by.Name) == "tag-key" {
			in.Owners = []string{Self} // or EC2 looks through all public ones, page by page
		}
		images, err := r.describeImages(ctx, in)
		for _, i := range images {
			found[aws.ToString(i.ImageId)] = i
		}
		return err
	})
}

// describeImages pages through all the images that in selects.
func (r *region) describeImages(ctx context.Context, in *awsec2.DescribeImagesInput) ([]ec2types.Image, error) {
	in.MaxResults = aws.Int32(pageSize) // without it the SDK asks for everything at once
	var images []ec2types.Image
	pages := awsec2.NewDescribeImagesPaginator(r.client, in)
	err := eachPage(ctx, pages, func(page *awsec2.DescribeImagesOutput) {
		images = append(images, page.Images...)
	})
	return images, err
}
