package amicleanup

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// SpotRequests is the source of what spot instance requests launch that are
// not at their end: open ones, and those of running or stopped instances.
func SpotRequests() Source { return spotRequests{} }

type spotRequests struct{}

func (spotRequests) Name() string { return "spot requests" }

func (spotRequests) IAMActions() []string { return []string{"ec2:DescribeSpotInstanceRequests"} }

func (spotRequests) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	pages := awsec2.NewDescribeSpotInstanceRequestsPaginator(t.Client, &awsec2.DescribeSpotInstanceRequestsInput{MaxResults: aws.Int32(mostPerPage)},
		func(o *awsec2.DescribeSpotInstanceRequestsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, eachPage(ctx, pages, func(page *awsec2.DescribeSpotInstanceRequestsOutput) *string {
		for _, r := range page.SpotInstanceRequests {
			switch r.State {
			case ec2types.SpotInstanceStateClosed, ec2types.SpotInstanceStateCancelled, ec2types.SpotInstanceStateFailed:
				continue
			}
			if r.LaunchSpecification != nil {
				g.image(aws.ToString(r.LaunchSpecification.ImageId), "spot request "+aws.ToString(r.SpotInstanceRequestId))
			}
		}
		return page.NextToken
	}))
}

// SpotFleets is the source of what spot fleet requests launch that are not
// cancelled, by their launch specifications or their launch templates.
func SpotFleets() Source { return spotFleets{} }

type spotFleets struct{}

func (spotFleets) Name() string { return "spot fleets" }

func (spotFleets) IAMActions() []string {
	return append(templateActions(), "ec2:DescribeSpotFleetRequests")
}

func (spotFleets) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	pages := awsec2.NewDescribeSpotFleetRequestsPaginator(t.Client, &awsec2.DescribeSpotFleetRequestsInput{MaxResults: aws.Int32(mostPerPage)},
		func(o *awsec2.DescribeSpotFleetRequestsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, eachPage(ctx, pages, func(page *awsec2.DescribeSpotFleetRequestsOutput) *string {
		for _, fleet := range page.SpotFleetRequestConfigs {
			switch fleet.SpotFleetRequestState {
			case ec2types.BatchStateCancelled, ec2types.BatchStateFailed, ec2types.BatchStateCancelledRunning, ec2types.BatchStateCancelledTerminatingInstances:
				continue // instances that still run are a reference of their own
			}
			if config := fleet.SpotFleetRequestConfig; config != nil {
				by := "spot fleet " + aws.ToString(fleet.SpotFleetRequestId)
				for i := range config.LaunchSpecifications {
					g.image(aws.ToString(config.LaunchSpecifications[i].ImageId), by)
				}
				for _, c := range config.LaunchTemplateConfigs {
					g.fleetTemplate(c.LaunchTemplateSpecification, by)
				}
			}
		}
		return page.NextToken
	}))
}

// Fleets is the source of what EC2 Fleets launch that are not deleted. Instant
// fleets launch once; EC2 does not list them.
func Fleets() Source { return fleets{} }

type fleets struct{}

func (fleets) Name() string { return "fleets" }

func (fleets) IAMActions() []string {
	return append(templateActions(), "ec2:DescribeFleets")
}

func (fleets) References(ctx context.Context, t Target) ([]Reference, error) {
	g := newGathering(t)
	pages := awsec2.NewDescribeFleetsPaginator(t.Client, &awsec2.DescribeFleetsInput{MaxResults: aws.Int32(mostPerPage)},
		func(o *awsec2.DescribeFleetsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, eachPage(ctx, pages, func(page *awsec2.DescribeFleetsOutput) *string {
		for _, fleet := range page.Fleets {
			switch fleet.FleetState {
			case ec2types.FleetStateCodeDeleted, ec2types.FleetStateCodeFailed, ec2types.FleetStateCodeDeletedRunning, ec2types.FleetStateCodeDeletedTerminatingInstances:
				continue // instances that still run are a reference of their own
			}
			by := "fleet " + aws.ToString(fleet.FleetId)
			for _, c := range fleet.LaunchTemplateConfigs {
				g.fleetTemplate(c.LaunchTemplateSpecification, by)
				for _, o := range c.Overrides {
					g.image(aws.ToString(o.ImageId), by+" in an override")
				}
			}
		}
		return page.NextToken
	}))
}

// fleetTemplate adds a launch template that a fleet names.
func (g *gathering) fleetTemplate(ref *ec2types.FleetLaunchTemplateSpecification, by string) {
	if ref != nil {
		g.templates = append(g.templates, templateVersion{
			aws.ToString(ref.LaunchTemplateId), aws.ToString(ref.LaunchTemplateName), aws.ToString(ref.Version), by,
		})
	}
}
