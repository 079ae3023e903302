package inuse

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	batchtypes "github.com/aws/aws-sdk-go-v2/service/batch/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// BatchEnvironments returns the source of the images of Batch compute
// environments: the image that one names, those of its EC2 configurations, and
// the version of a launch template, also for single instance types. Disabled and
// invalid environments count, since either can be changed and enabled. Job
// definitions and queues name no machine images.
func BatchEnvironments() Source {
	return Source{
		Name: "batch environments", List: listBatchEnvironments,
		Permissions: readsTemplates("batch:DescribeComputeEnvironments"),
	}
}

// environmentsPerPage is the largest page of Batch.
const environmentsPerPage = 100

func listBatchEnvironments(ctx context.Context, at Place) ([]Reference, error) {
	g := newCollector(at)
	pages := batch.NewDescribeComputeEnvironmentsPaginator(batch.NewFromConfig(at.Config),
		&batch.DescribeComputeEnvironmentsInput{MaxResults: aws.Int32(environmentsPerPage)},
		func(o *batch.DescribeComputeEnvironmentsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, awsapi.EachPage(ctx, pages, func(page *batch.DescribeComputeEnvironmentsOutput) *string {
		for i := range page.ComputeEnvironments {
			e := &page.ComputeEnvironments[i]
			if e.Status != batchtypes.CEStatusDeleted && e.ComputeResources != nil {
				g.batch(e.ComputeResources, "batch environment "+aws.ToString(e.ComputeEnvironmentName))
			}
		}
		return page.NextToken
	}))
}

func (g *collector) batch(r *batchtypes.ComputeResource, by string) {
	g.image(aws.ToString(r.ImageId), by) //nolint:staticcheck // deprecated, and still in use
	for _, c := range r.Ec2Configuration {
		g.image(aws.ToString(c.ImageIdOverride), by)
	}
	if t := r.LaunchTemplate; t != nil {
		if aws.ToString(t.LaunchTemplateId)+aws.ToString(t.LaunchTemplateName) != "" {
			g.template(t.LaunchTemplateId, t.LaunchTemplateName, t.Version, by)
		}
		for _, o := range t.Overrides {
			g.template(o.LaunchTemplateId, o.LaunchTemplateName, o.Version, by+" in an override")
		}
	}
}
