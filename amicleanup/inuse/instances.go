package inuse

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// Instances returns the source of the images that instances run, including
// stopped instances and those that AWS services manage. Terminated instances
// do not count.
func Instances() Source {
	return Source{Name: "instances", List: listInstances, Permissions: Reads("ec2:DescribeInstances")}
}

func listInstances(ctx context.Context, at Place) ([]Reference, error) {
	var refs []Reference
	pages := awsec2.NewDescribeInstancesPaginator(awsec2.NewFromConfig(at.Config), &awsec2.DescribeInstancesInput{
		MaxResults:              aws.Int32(mostPerPage),
		IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeInstancesPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeInstancesOutput) *string {
		for _, r := range page.Reservations {
			for i := range r.Instances {
				inst := &r.Instances[i]
				if inst.State != nil && inst.State.Name == ec2types.InstanceStateNameTerminated {
					continue
				}
				refs = append(refs, Reference{ImageID: aws.ToString(inst.ImageId), By: "instance " + aws.ToString(inst.InstanceId)})
			}
		}
		return page.NextToken
	})
	return refs, err
}

// mostPerPage is the largest page of most EC2 calls. Without a limit EC2 tries
// to answer with everything at once, which may fail.
const mostPerPage = 1000
