package inuse

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/imagebuilder"
	buildertypes "github.com/aws/aws-sdk-go-v2/service/imagebuilder/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// ImageBuilder returns the source of the images that recipes of EC2 Image
// Builder are based on, own recipes and shared ones, in every version and whether
// or not a pipeline uses them: by image id, by a parameter, or as an image of
// Image Builder, in the newest version that matches. It also reads the images of
// the instances that build containers. Pipelines, infrastructure and distribution
// configurations name no images besides.
func ImageBuilder() Source {
	return Source{
		Name: "image builder recipes", List: listRecipes,
		Permissions: Reads("imagebuilder:ListImageRecipes", "imagebuilder:ListContainerRecipes", "imagebuilder:GetImage", "ssm:GetParameters"),
	}
}

// recipesPerPage is the largest page of Image Builder.
const recipesPerPage = 25

func listRecipes(ctx context.Context, at Place) ([]Reference, error) {
	b := &recipes{collector: newCollector(at), client: imagebuilder.NewFromConfig(at.Config), images: map[string][]string{}}
	err := forEach([]buildertypes.Ownership{buildertypes.OwnershipSelf, buildertypes.OwnershipShared}, func(owner buildertypes.Ownership) error {
		if err := b.listImageRecipes(ctx, owner); err != nil {
			return err
		}
		return b.listContainerRecipes(ctx, owner)
	})
	if err == nil {
		err = b.resolveImages(ctx)
	}
	return b.finish(ctx, err)
}

// recipes collects the images of recipes.
type recipes struct {
	*collector

	client *imagebuilder.Client
	images map[string][]string // by ARN of an image of Image Builder: the recipes
	lock   sync.Mutex
}

func (b *recipes) listImageRecipes(ctx context.Context, owner buildertypes.Ownership) error {
	pages := imagebuilder.NewListImageRecipesPaginator(b.client, &imagebuilder.ListImageRecipesInput{Owner: owner, MaxResults: aws.Int32(recipesPerPage)},
		func(o *imagebuilder.ListImageRecipesPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *imagebuilder.ListImageRecipesOutput) *string {
		for i := range page.ImageRecipeSummaryList {
			r := &page.ImageRecipeSummaryList[i]
			b.parent(aws.ToString(r.ParentImage), "image recipe "+aws.ToString(r.Arn))
		}
		return page.NextToken
	})
}

func (b *recipes) listContainerRecipes(ctx context.Context, owner buildertypes.Ownership) error {
	pages := imagebuilder.NewListContainerRecipesPaginator(b.client, &imagebuilder.ListContainerRecipesInput{Owner: owner, MaxResults: aws.Int32(recipesPerPage)},
		func(o *imagebuilder.ListContainerRecipesPaginatorOptions) { o.StopOnDuplicateToken = true })
	return awsapi.EachPage(ctx, pages, func(page *imagebuilder.ListContainerRecipesOutput) *string {
		for i := range page.ContainerRecipeSummaryList {
			r := &page.ContainerRecipeSummaryList[i]
			b.parent(aws.ToString(r.InstanceImage), "container recipe "+aws.ToString(r.Arn))
		}
		return page.NextToken
	})
}

// parent adds the image that a recipe names. Images of AWS and of the Marketplace
// are others' images, which are never removed.
func (b *recipes) parent(image, by string) {
	parameter, isParameter := strings.CutPrefix(image, "ssm:")
	switch {
	case isParameter:
		b.alias(parameter, by)
	case strings.HasPrefix(strings.ToLower(image), imagePrefix):
		b.image(image, by)
	case ownBuilderImage(image):
		b.lock.Lock()
		defer b.lock.Unlock()
		b.images[image] = append(b.images[image], by)
	}
}

// ownBuilderImage reports whether arn names an image of Image Builder that an
// account owns: arn:PARTITION:imagebuilder:REGION:ACCOUNT:image/NAME/VERSION.
func ownBuilderImage(arn string) bool {
	parts := strings.SplitN(arn, ":", 6)
	return len(parts) == 6 && parts[2] == "imagebuilder" && strings.HasPrefix(parts[5], "image/") && !strings.HasPrefix(parts[4], "aws")
}

// resolveImages adds the AMIs of images of Image Builder. Image Builder chooses
// the newest version where an ARN leaves it open.
func (b *recipes) resolveImages(ctx context.Context) error {
	arns := make([]string, 0, len(b.images))
	for arn := range b.images {
		arns = append(arns, arn)
	}
	return forEach(arns, func(arn string) error {
		out, err := b.client.GetImage(ctx, &imagebuilder.GetImageInput{ImageBuildVersionArn: aws.String(arn)})
		if notThere(err) {
			return nil // a recipe without its image builds nothing
		}
		if err != nil || out.Image == nil || out.Image.OutputResources == nil {
			return err
		}
		for _, ami := range out.Image.OutputResources.Amis {
			for _, by := range b.images[arn] {
				b.image(aws.ToString(ami.Image), by+" through "+arn)
			}
		}
		return nil
	})
}
