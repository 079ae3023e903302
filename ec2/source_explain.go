package ec2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// explain says why no image matches, from the images that almost do. The text follows
// an error. It is empty if there are none or they cannot be looked up.
func (n Newest) explain(ctx context.Context, r *region) string {
	look := func(more Filters, owners ...string) []ec2types.Image {
		in := &awsec2.DescribeImagesInput{
			Owners: owners, Filters: n.filters(more), MaxResults: aws.Int32(pageSize),
			IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
		}
		out, err := r.client.DescribeImages(ctx, in) // one page suffices for an example
		if err != nil {
			return nil
		}
		return out.Images
	}
	if images := look(n.Filters, n.Owners...); len(images) > 0 {
		// The one with the fewest obstacles, and the newest of these.
		slices.SortStableFunc(images, func(a, b ec2types.Image) int { return created(b).Compare(created(a)) })
		best := slices.MinFunc(images, func(a, b ec2types.Image) int {
			return len(n.obstacles(a, r.clock.Now())) - len(n.obstacles(b, r.clock.Now()))
		})
		return fmt.Sprintf("; %s %q %s", aws.ToString(best.ImageId), aws.ToString(best.Name), strings.Join(n.obstacles(best, r.clock.Now()), ", and "))
	}
	if len(n.Filters) > 0 {
		if images := look(nil, n.Owners...); len(images) > 0 {
			return fmt.Sprintf("; %s %q does not pass Newest.Filters", aws.ToString(images[0].ImageId), aws.ToString(images[0].Name))
		}
	}
	if strings.Trim(n.Name, "*?") == "" {
		return ""
	}
	if images := look(n.Filters); len(images) > 0 {
		return fmt.Sprintf("; %s of %s has such a name: check Newest.Owners, but anyone can publish an AMI under any name",
			aws.ToString(images[0].ImageId), aws.ToString(images[0].OwnerId))
	}
	return ""
}

// obstacles returns what keeps an image from being used, and what to set to use it.
func (n Newest) obstacles(i ec2types.Image, now time.Time) []string {
	var list []string
	if at, err := time.Parse(time.RFC3339, aws.ToString(i.DeprecationTime)); err == nil && !at.After(now) && !n.Deprecated {
		list = append(list, "is deprecated since "+at.Format(time.DateOnly)+", set Newest.Deprecated to include it")
	}
	if n.Architecture != "" && string(i.Architecture) != n.Architecture {
		list = append(list, fmt.Sprintf("is for %s, not %s, see Newest.Architecture", i.Architecture, n.Architecture))
	}
	switch _, unfinished := tagMap(i.Tags)[TagExpires]; {
	case i.State == ec2types.ImageState("disabled"):
		list = append(list, "is disabled, EnableImage makes it usable")
	case i.State != ec2types.ImageStateAvailable:
		list = append(list, fmt.Sprintf("is in state %s, want available", i.State))
	case unfinished:
		list = append(list, "belongs to a build that has not succeeded")
	}
	if i.RootDeviceType != ec2types.DeviceTypeEbs {
		list = append(list, fmt.Sprintf("has a root device of type %s, want ebs", i.RootDeviceType))
	}
	return list
}

// explainSource adds to an error of the first calls of a bake the field to check: that
// the region is unknown, that the credentials are missing or invalid, or the source.
func (s *session) explainSource(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return bake.Invalid("Builder.Region", "AWS has no endpoint for %q: check the region's name, and this host's network: %w", s.region.name, err)
	}
	const cloud = "Builder.Cloud"
	switch code := awsapi.Code(err); code {
	case "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId", "IncompleteSignature":
		return bake.Invalid(cloud, "AWS refused the credentials in %s: check the aws.Config's, and that the account has enabled the region: %w", s.region.name, err)
	case "OptInRequired":
		return bake.Invalid("Builder.Region", "the account has not enabled %s: check the region's name, or enable it: %w", s.region.name, err)
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return bake.Invalid(cloud, "the credentials have expired: renew those of the aws.Config, or check this host's clock: %w", err)
	case "ParameterNotFound", "ParameterVersionNotFound":
		return bake.Invalid("Builder.Source", "%s not found in %s: check its name and the region: %w", s.builder.Source, s.region.name, err)
	case "InvalidParameterValue":
		return bake.Invalid("Builder.Source", "EC2 does not accept the filters: %w", err)
	}
	switch text := err.Error(); {
	case strings.Contains(text, "invalid input region"): // nor for this
		return bake.Invalid("Builder.Region", "invalid region %q: %w", s.region.name, err)
	case errors.Is(err, ErrNoSource):
		return bake.Invalid("Builder.Source", "%w", err)
	case strings.Contains(text, "STS: AssumeRole"):
		return bake.Invalid(cloud, "the role cannot be assumed: check its name, its trust policy and the permissions of the aws.Config's credentials: %w", err)
	case strings.Contains(text, "get identity: "): // the SDK has no type for it
		return bake.Invalid(cloud, "no usable credentials: set them in the aws.Config, by config.LoadDefaultConfig for example: %w", err)
	}
	return err
}
