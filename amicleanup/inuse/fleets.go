package inuse

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// SpotRequests returns the source of the images of spot instance requests that
// may still launch: open requests and those of running or stopped instances.
func SpotRequests() Source {
	return Source{Name: "spot requests", List: listSpotRequests, Permissions: Reads("ec2:DescribeSpotInstanceRequests")}
}

func listSpotRequests(ctx context.Context, at Place) ([]Reference, error) {
	g := newCollector(at)
	pages := awsec2.NewDescribeSpotInstanceRequestsPaginator(g.ec2, &awsec2.DescribeSpotInstanceRequestsInput{MaxResults: aws.Int32(mostPerPage)},
		func(o *awsec2.DescribeSpotInstanceRequestsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeSpotInstanceRequestsOutput) *string {
		for _, r := range page.SpotInstanceRequests {
			switch r.State {
			case ec2types.SpotInstanceStateClosed, ec2types.SpotInstanceStateCancelled, ec2types.SpotInstanceStateFailed:
				continue
			}
			if r.LaunchSpecification != nil {
				by := "spot request " + aws.ToString(r.SpotInstanceRequestId)
				g.launch(r.LaunchSpecification.ImageId, r.LaunchSpecification.UserData, by)
				g.attachAll(r.LaunchSpecification.BlockDeviceMappings, by)
			}
		}
		return page.NextToken
	}))
}

// SpotFleets returns the source of the images of spot fleet requests that are
// not canceled, by launch specification or launch template.
func SpotFleets() Source {
	return Source{Name: "spot fleets", List: listSpotFleets, Permissions: readsTemplates("ec2:DescribeSpotFleetRequests")}
}

func listSpotFleets(ctx context.Context, at Place) ([]Reference, error) {
	g := newCollector(at)
	pages := awsec2.NewDescribeSpotFleetRequestsPaginator(g.ec2, &awsec2.DescribeSpotFleetRequestsInput{MaxResults: aws.Int32(mostPerPage)},
		func(o *awsec2.DescribeSpotFleetRequestsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeSpotFleetRequestsOutput) *string {
		for _, fleet := range page.SpotFleetRequestConfigs {
			switch fleet.SpotFleetRequestState {
			case ec2types.BatchStateCancelled, ec2types.BatchStateFailed, ec2types.BatchStateCancelledRunning, ec2types.BatchStateCancelledTerminatingInstances:
				continue // its running instances are references themselves
			}
			if config := fleet.SpotFleetRequestConfig; config != nil {
				by := "spot fleet " + aws.ToString(fleet.SpotFleetRequestId)
				for i := range config.LaunchSpecifications {
					spec := &config.LaunchSpecifications[i]
					g.launch(spec.ImageId, spec.UserData, by)
					g.attachAll(spec.BlockDeviceMappings, by)
				}
				for _, c := range config.LaunchTemplateConfigs {
					g.fleetTemplate(c.LaunchTemplateSpecification, by)
				}
			}
		}
		return page.NextToken
	}))
}

// Fleets returns the source of the images of EC2 Fleets that are not deleted.
// Instant fleets launch once; EC2 does not list them.
func Fleets() Source {
	return Source{Name: "fleets", List: listFleets, Permissions: readsTemplates("ec2:DescribeFleets")}
}

func listFleets(ctx context.Context, at Place) ([]Reference, error) {
	g := newCollector(at)
	pages := awsec2.NewDescribeFleetsPaginator(g.ec2, &awsec2.DescribeFleetsInput{MaxResults: aws.Int32(mostPerPage)},
		func(o *awsec2.DescribeFleetsPaginatorOptions) { o.StopOnDuplicateToken = true })
	return g.finish(ctx, awsapi.EachPage(ctx, pages, func(page *awsec2.DescribeFleetsOutput) *string {
		for _, fleet := range page.Fleets {
			switch fleet.FleetState {
			case ec2types.FleetStateCodeDeleted, ec2types.FleetStateCodeFailed, ec2types.FleetStateCodeDeletedRunning, ec2types.FleetStateCodeDeletedTerminatingInstances:
				continue // its running instances are references themselves
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
func (g *collector) fleetTemplate(ref *ec2types.FleetLaunchTemplateSpecification, by string) {
	if ref != nil {
		g.template(ref.LaunchTemplateId, ref.LaunchTemplateName, ref.Version, by)
	}
}
