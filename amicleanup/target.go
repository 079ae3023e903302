package amicleanup

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake"
)

// A Target is one region of one account. Connect and Everywhere make complete
// ones.
type Target struct {
	// Account is a label that tells the accounts of several targets apart. It
	// may be empty when there is only one; the client's credentials decide
	// which account it is.
	Account string

	// Region is the region of Client. It is required.
	Region string

	// Client talks to EC2 there. It is required.
	Client Client

	// RecycleBin reads the Recycle Bin's retention rules there, for
	// Limits.Recoverable.
	RecycleBin RecycleBinReader

	// Scaling reads Auto Scaling, for AutoScalingGroups and
	// LaunchConfigurations.
	Scaling ScalingReader

	// Parameters reads the Parameter Store, for Parameters and for launch
	// templates that name their image by a parameter.
	Parameters ParameterReader

	// Clusters reads EKS, for NodeGroups.
	Clusters ClusterReader
}

// ReferenceReader is what the sources and opinions of this package read of EC2.
type ReferenceReader interface {
	DescribeInstances(ctx context.Context, in *awsec2.DescribeInstancesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeInstancesOutput, error)
	DescribeLaunchTemplateVersions(ctx context.Context, in *awsec2.DescribeLaunchTemplateVersionsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeLaunchTemplateVersionsOutput, error)
	DescribeLaunchTemplates(ctx context.Context, in *awsec2.DescribeLaunchTemplatesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeLaunchTemplatesOutput, error)
	FleetReader
	UsageReader
}

// FleetReader is what SpotRequests, SpotFleets and Fleets read.
type FleetReader interface {
	DescribeSpotInstanceRequests(ctx context.Context, in *awsec2.DescribeSpotInstanceRequestsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeSpotInstanceRequestsOutput, error)
	DescribeSpotFleetRequests(ctx context.Context, in *awsec2.DescribeSpotFleetRequestsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeSpotFleetRequestsOutput, error)
	DescribeFleets(ctx context.Context, in *awsec2.DescribeFleetsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeFleetsOutput, error)
}

// UsageReader is what ImageReferences and UsageReports ask.
type UsageReader interface {
	DescribeImageReferences(ctx context.Context, in *awsec2.DescribeImageReferencesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeImageReferencesOutput, error)
	CreateImageUsageReport(ctx context.Context, in *awsec2.CreateImageUsageReportInput, opts ...func(*awsec2.Options)) (*awsec2.CreateImageUsageReportOutput, error)
	DescribeImageUsageReports(ctx context.Context, in *awsec2.DescribeImageUsageReportsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeImageUsageReportsOutput, error)
	DescribeImageUsageReportEntries(ctx context.Context, in *awsec2.DescribeImageUsageReportEntriesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeImageUsageReportEntriesOutput, error)
}

// ScalingReader reads Auto Scaling. *autoscaling.Client is one.
type ScalingReader interface {
	DescribeAutoScalingGroups(ctx context.Context, in *autoscaling.DescribeAutoScalingGroupsInput, opts ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error)
	DescribeLaunchConfigurations(ctx context.Context, in *autoscaling.DescribeLaunchConfigurationsInput, opts ...func(*autoscaling.Options)) (*autoscaling.DescribeLaunchConfigurationsOutput, error)
	DescribeInstanceRefreshes(ctx context.Context, in *autoscaling.DescribeInstanceRefreshesInput, opts ...func(*autoscaling.Options)) (*autoscaling.DescribeInstanceRefreshesOutput, error)
}

// ParameterReader reads the Parameter Store of Systems Manager. *ssm.Client is
// one.
type ParameterReader interface {
	DescribeParameters(ctx context.Context, in *ssm.DescribeParametersInput, opts ...func(*ssm.Options)) (*ssm.DescribeParametersOutput, error)
	GetParameters(ctx context.Context, in *ssm.GetParametersInput, opts ...func(*ssm.Options)) (*ssm.GetParametersOutput, error)
	GetParametersByPath(ctx context.Context, in *ssm.GetParametersByPathInput, opts ...func(*ssm.Options)) (*ssm.GetParametersByPathOutput, error)
}

// ClusterReader reads EKS. *eks.Client is one.
type ClusterReader interface {
	ListClusters(ctx context.Context, in *eks.ListClustersInput, opts ...func(*eks.Options)) (*eks.ListClustersOutput, error)
	ListNodegroups(ctx context.Context, in *eks.ListNodegroupsInput, opts ...func(*eks.Options)) (*eks.ListNodegroupsOutput, error)
	DescribeNodegroup(ctx context.Context, in *eks.DescribeNodegroupInput, opts ...func(*eks.Options)) (*eks.DescribeNodegroupOutput, error)
}

var (
	_ ScalingReader   = (*autoscaling.Client)(nil)
	_ ParameterReader = (*ssm.Client)(nil)
	_ ClusterReader   = (*eks.Client)(nil)
)

// String is "REGION", or "ACCOUNT/REGION" when the account has a label.
func (t Target) String() string { return place(t.Account, t.Region) }

func place(account, region string) string {
	if account == "" {
		return region
	}
	return account + "/" + region
}

func validateTargets(targets []Target) error {
	var errs []error
	seen := map[string]bool{}
	if len(targets) == 0 {
		errs = append(errs, bake.Invalid("Targets", "at least one is required"))
	}
	for i, t := range targets {
		field := fmt.Sprintf("Targets[%d]", i)
		if t.Region == "" {
			errs = append(errs, bake.Invalid(field+".Region", "is required"))
		}
		if t.Client == nil {
			errs = append(errs, bake.Invalid(field+".Client", "is required"))
		}
		if seen[t.String()] {
			errs = append(errs, bake.Invalid(field, "%s is there twice", t))
		}
		seen[t.String()] = true
	}
	return errors.Join(errs...)
}

// validateSources reports clients that the policy and its sources need and
// that targets have not got.
func validateSources(targets []Target, p *Policy) error {
	var errs []error
	for i, t := range targets {
		if p.Limits.Recoverable > 0 && t.RecycleBin == nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Targets[%d].RecycleBin", i), "is required by Limits.Recoverable"))
		}
		for _, s := range p.sources() {
			if n, ok := s.(interface{ needs(t Target) string }); ok {
				if client := n.needs(t); client != "" {
					errs = append(errs, bake.Invalid(fmt.Sprintf("Targets[%d].%s", i, client), "is required to read %s", s.Name()))
				}
			}
		}
	}
	return errors.Join(errs...)
}
