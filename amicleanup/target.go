package amicleanup

import (
	"context"
	"errors"
	"fmt"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
)

// ReferenceReader is what the sources of InUse read of EC2.
type ReferenceReader interface {
	DescribeInstances(ctx context.Context, in *awsec2.DescribeInstancesInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeInstancesOutput, error)
	DescribeLaunchTemplateVersions(ctx context.Context, in *awsec2.DescribeLaunchTemplateVersionsInput, opts ...func(*awsec2.Options)) (*awsec2.DescribeLaunchTemplateVersionsOutput, error)
}

// A Target is one region of one account.
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
}

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
