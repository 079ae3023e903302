package inuse

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// ImageReferences returns the source that asks EC2 what references an image,
// by DescribeImageReferences: instances, launch templates, parameters, and
// recipes of Image Builder. EC2 does not look at launch configurations, overrides
// and fleets, so the answer supplements the sources of [Standard].
//
// Versions is how many of the newest versions of each launch template count;
// values below one mean one. Terminated instances do not count. The permissions
// are those of the managed policy AmazonEC2ImageReferencesAccessPolicy.
func ImageReferences(versions int) Source {
	versions = max(versions, 1)
	return Source{
		Name: "image references", Permissions: referencePermissions,
		Ask: func(ctx context.Context, at Place, images []string) ([]Reference, error) {
			return imageReferences(ctx, at, images, versions)
		},
	}
}

// referencePermissions returns what DescribeImageReferences needs: EC2 in turn
// reads with the caller's permissions. See EC2, "Identify your resources
// referencing specified AMIs".
func referencePermissions(region string) []iampolicy.Statement {
	return append(Reads("ec2:DescribeImageReferences")(region),
		iampolicy.Allow("LookThroughEC2", []string{
			"ec2:DescribeInstances", "ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions",
			"ssm:DescribeParameters", "ssm:GetParameters",
			"imagebuilder:ListImageRecipes", "imagebuilder:ListContainerRecipes", "imagebuilder:GetContainerRecipe",
		}, []string{"*"}, iampolicy.Condition{
			"ForAnyValue:StringEquals": {"aws:CalledVia": {"ec2-images.amazonaws.com"}},
		}))
}

// imagesPerQuestion is the most images that DescribeImageReferences accepts.
const imagesPerQuestion = 10

func imageReferences(ctx context.Context, at Place, images []string, versions int) ([]Reference, error) {
	var mu sync.Mutex
	var refs []Reference
	client := awsec2.NewFromConfig(at.Config)
	chunks := slices.Collect(slices.Chunk(images, imagesPerQuestion))
	err := forEach(chunks, func(some []string) error {
		in := &awsec2.DescribeImageReferencesInput{ImageIds: some, MaxResults: aws.Int32(mostPerPage), ResourceTypes: referenceTypes(versions)}
		pages := awsec2.NewDescribeImageReferencesPaginator(client, in,
			func(o *awsec2.DescribeImageReferencesPaginatorOptions) { o.StopOnDuplicateToken = true })
		return awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeImageReferencesOutput) *string {
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
