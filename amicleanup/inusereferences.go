package amicleanup

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ImageReferences is EC2's own answer to what uses an image, by
// DescribeImageReferences: instances, launch templates, parameters, and the
// recipes of Image Builder, which no source of this package reads. It knows
// nothing of launch configurations, overrides and fleets, and so it is a
// second opinion and not the first.
//
// Of a launch template the newest versions count, as many as given; zero is
// one, which is $Latest. Terminated instances do not count. It takes the
// permissions of the managed policy AmazonEC2ImageReferencesAccessPolicy.
func ImageReferences(versions int) Opinion {
	if versions < 1 {
		versions = 1
	}
	return Opinion{
		Name: "image references",
		Ask: func(ctx context.Context, t Target, images []Image) ([]Reference, error) {
			return imageReferences(ctx, t, images, versions)
		},
		statements: referenceStatements,
	}
}

// imagesPerQuestion is how many images DescribeImageReferences takes.
const imagesPerQuestion = 10

func imageReferences(ctx context.Context, t Target, images []Image, versions int) ([]Reference, error) {
	var mu sync.Mutex
	var refs []Reference
	chunks := slices.Collect(slices.Chunk(images, imagesPerQuestion))
	err := atOnce(chunks, func(some []Image) error {
		in := &awsec2.DescribeImageReferencesInput{MaxResults: aws.Int32(mostPerPage), ResourceTypes: referenceTypes(versions)}
		for i := range some {
			in.ImageIds = append(in.ImageIds, some[i].ID)
		}
		pages := awsec2.NewDescribeImageReferencesPaginator(t.Client, in,
			func(o *awsec2.DescribeImageReferencesPaginatorOptions) { o.StopOnDuplicateToken = true })
		return eachPage(ctx, pages, func(page *awsec2.DescribeImageReferencesOutput) *string {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range page.ImageReferences {
				refs = append(refs, Reference{ImageID: aws.ToString(r.ImageId), By: aws.ToString(r.Arn)})
			}
			return page.NextToken
		})
	})
	return refs, err
}

func referenceTypes(versions int) []ec2types.ResourceTypeRequest {
	return []ec2types.ResourceTypeRequest{
		{ResourceType: ec2types.ImageReferenceResourceTypeEc2Instance, ResourceTypeOptions: []ec2types.ResourceTypeOption{{
			OptionName: ec2types.ImageReferenceOptionNameStateName, OptionValues: []string{"pending", "running", "shutting-down", "stopping", "stopped"},
		}}},
		{ResourceType: ec2types.ImageReferenceResourceTypeEc2LaunchTemplate, ResourceTypeOptions: []ec2types.ResourceTypeOption{{
			OptionName: ec2types.ImageReferenceOptionNameVersionDepth, OptionValues: []string{strconv.Itoa(versions)},
		}}},
		{ResourceType: ec2types.ImageReferenceResourceTypeSsmParameter},
		{ResourceType: ec2types.ImageReferenceResourceTypeImageBuilderImageRecipe},
		{ResourceType: ec2types.ImageReferenceResourceTypeImageBuilderContainerRecipe},
	}
}
