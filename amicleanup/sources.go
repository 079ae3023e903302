package amicleanup

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// AllSources are all sources of this package that every account can read:
// everything of EC2, Auto Scaling and the Parameter Store. NodeGroups is not
// among them.
func AllSources() []Source {
	return []Source{
		Instances(), LaunchTemplates(), LaunchConfigurations(), AutoScalingGroups(),
		SpotRequests(), SpotFleets(), Fleets(), Parameters(),
	}
}

// Instances is the source of what instances run, stopped ones as well, and
// those that AWS services manage. Terminated ones do not count.
func Instances() Source { return instances{} }

type instances struct{}

func (instances) Name() string { return "instances" }

func (instances) IAMActions() []string { return []string{"ec2:DescribeInstances"} }

func (instances) References(ctx context.Context, t Target) ([]Reference, error) {
	var refs []Reference
	pages := awsec2.NewDescribeInstancesPaginator(t.Client, &awsec2.DescribeInstancesInput{
		MaxResults:              aws.Int32(mostPerPage),
		IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeInstancesPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := eachPage(ctx, pages, func(page *awsec2.DescribeInstancesOutput) *string {
		for _, r := range page.Reservations {
			for _, inst := range r.Instances {
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

// mostPerPage is what most calls of EC2 answer at once when they are asked to.
// Without a bound EC2 tries to answer with everything, which it may give up on.
const mostPerPage = 1000

// A pager is one of the SDK's paginators.
type pager[Page, Options any] interface {
	HasMorePages() bool
	NextPage(ctx context.Context, opts ...func(*Options)) (Page, error)
}

// eachPage calls do with every page; it returns the token of the next one. A
// list that does not end is an error.
func eachPage[Page, Options any](ctx context.Context, pages pager[Page, Options], do func(Page) (next *string)) error {
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		next = do(page)
	}
	return ended(next)
}

// errPaging is a list whose pages come round again.
var errPaging = errors.New("the pages of the list do not end")

// ended reports the token of a last page, on which there may be none.
func ended(next *string) error {
	if aws.ToString(next) != "" {
		return errPaging
	}
	return nil
}

// callsAtOnce is how many calls of one kind are under way at the same time
// where each answers for one thing only.
const callsAtOnce = 8

// atOnce runs f for each item, some at a time, and joins the errors.
func atOnce[T any](items []T, f func(T) error) error {
	errs := make([]error, len(items))
	queue := make(chan int)
	var wg sync.WaitGroup
	for range min(len(items), callsAtOnce) {
		wg.Go(func() {
			for i := range queue {
				errs[i] = f(items[i])
			}
		})
	}
	for i := range items {
		queue <- i
	}
	close(queue)
	wg.Wait()
	return errors.Join(errs...)
}
