package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	instancesPerPage = 1000
	templatesPerPage = 200
)

// Instances is the source of what instances run, stopped ones as well, and
// those that AWS services manage. Terminated ones do not count.
func Instances() Source { return instances{} }

type instances struct{}

func (instances) Name() string { return "instances" }

func (instances) References(ctx context.Context, t Target) ([]Reference, error) {
	pages := awsec2.NewDescribeInstancesPaginator(t.Client, &awsec2.DescribeInstancesInput{
		MaxResults:              aws.Int32(instancesPerPage),
		IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeInstancesPaginatorOptions) { o.StopOnDuplicateToken = true })
	var refs []Reference
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return refs, err
		}
		next = page.NextToken
		for _, r := range page.Reservations {
			for _, inst := range r.Instances {
				if inst.State != nil && inst.State.Name == ec2types.InstanceStateNameTerminated {
					continue
				}
				refs = append(refs, Reference{ImageID: aws.ToString(inst.ImageId), By: "instance " + aws.ToString(inst.InstanceId)})
			}
		}
	}
	return refs, ended(next)
}

// LaunchTemplates is the source of what the default and the latest version of
// every launch template launch. A template that names its image by a parameter
// of Systems Manager makes it incomplete.
func LaunchTemplates() Source { return launchTemplates{} }

type launchTemplates struct{}

func (launchTemplates) Name() string { return "launch templates" }

func (launchTemplates) References(ctx context.Context, t Target) ([]Reference, error) {
	// Without a template EC2 answers for all of them.
	pages := awsec2.NewDescribeLaunchTemplateVersionsPaginator(t.Client, &awsec2.DescribeLaunchTemplateVersionsInput{
		Versions:                []string{"$Latest", "$Default"},
		MaxResults:              aws.Int32(templatesPerPage),
		IncludeManagedResources: aws.Bool(true),
	}, func(o *awsec2.DescribeLaunchTemplateVersionsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var refs []Reference
	var errs []error
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return refs, err
		}
		next = page.NextToken
		for _, v := range page.LaunchTemplateVersions {
			by := fmt.Sprintf("launch template %s version %d", aws.ToString(v.LaunchTemplateId), aws.ToInt64(v.VersionNumber))
			switch image := templateImage(v); {
			case image == "":
			case strings.HasPrefix(image, "ami-"):
				refs = append(refs, Reference{ImageID: image, By: by})
			default:
				errs = append(errs, fmt.Errorf("%s names its image as %s", by, image))
			}
		}
	}
	return refs, errors.Join(append(errs, ended(next))...)
}

func templateImage(v ec2types.LaunchTemplateVersion) string {
	if v.LaunchTemplateData == nil {
		return ""
	}
	return aws.ToString(v.LaunchTemplateData.ImageId)
}
