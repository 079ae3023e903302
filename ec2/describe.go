package ec2

import (
	"context"
	"slices"

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

func (r *region) fetchInstances(ctx context.Context, ids []string) (map[string]ec2types.Instance, error) {
	found := make(map[string]ec2types.Instance, len(ids))
	for some := range slices.Chunk(ids, mostFilterValues) {
		err := r.eachInstance(ctx, []ec2types.Filter{filter("instance-id", some...)}, func(i ec2types.Instance) {
			found[aws.ToString(i.InstanceId)] = i
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
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
	found := make(map[string]ec2types.Image, len(ids))
	for some := range slices.Chunk(ids, mostFilterValues) {
		images, err := r.describeImages(ctx, &awsec2.DescribeImagesInput{
			Filters: []ec2types.Filter{filter("image-id", some...)},
		})
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			found[aws.ToString(i.ImageId)] = i
		}
	}
	return found, nil
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
