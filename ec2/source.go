package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake"
)

// A Source selects the AMI to start from: [ImageID], [ParameterName] or [Newest]; or it
// is a [Disk], which becomes the AMI.
type Source interface {
	fmt.Stringer
	bake.Validator
	find(ctx context.Context, r *region) (ec2types.Image, error)

	// grants are the permissions that find needs besides DescribeImages.
	grants(region string) grants

	// disk returns the source if it is a Disk, else nil.
	disk() *Disk
}

var (
	_ Source = ImageID("")
	_ Source = ParameterName("")
	_ Source = Newest{}
)

// Common values of Newest.Owners.
const (
	Self        = "self"            // the account itself
	Amazon      = "amazon"          // AWS, for Amazon Linux and others
	Marketplace = "aws-marketplace" // AWS Marketplace; needs a subscription
	Canonical   = "099720109477"    // Ubuntu
	Debian      = "136693071363"
)

// ErrNoSource is returned, wrapped, for a Source that matches no AMI.
var ErrNoSource = errors.New("no such image")

// An ImageID is a Source that selects an AMI by its id: "ami-0123456789abcdef0".
type ImageID string

// String returns the id.
func (id ImageID) String() string { return string(id) }

// Validate reports an invalid id.
func (id ImageID) Validate() error {
	if !strings.HasPrefix(string(id), "ami-") {
		return fmt.Errorf("invalid AMI id %q", string(id))
	}
	return nil
}

func (id ImageID) grants(string) grants { return nil }

func (id ImageID) disk() *Disk { return nil }

// find looks up the image in the same request as concurrent builds.
func (id ImageID) find(ctx context.Context, r *region) (image ec2types.Image, err error) {
	there := false
	err = r.images.Wait(ctx, string(id), func(i ec2types.Image, found bool) (bool, error) {
		image, there = i, found
		return true, nil
	})
	switch {
	case err != nil:
		return image, err
	case !there:
		return image, fmt.Errorf("%w: %s in %s", ErrNoSource, id, r.name)
	case image.State != ec2types.ImageStateAvailable:
		return image, fmt.Errorf("%s is in state %s, want available", id, image.State)
	}
	return image, nil
}

// A ParameterName is a Source that reads the AMI's id from an SSM parameter, such as
// the public ones of AWS and Canonical or one that [SSMParameter] writes:
// "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64".
type ParameterName string

// String returns "parameter " and the name.
func (p ParameterName) String() string { return "parameter " + string(p) }

// Validate reports a missing name.
func (p ParameterName) Validate() error {
	if p == "" {
		return errors.New("parameter name is empty")
	}
	return nil
}

func (p ParameterName) grants(region string) grants {
	return grants{{"ReadSource", []string{"ssm:GetParameter"}, parameterARNs(region, string(p)), nil}}
}

func (p ParameterName) disk() *Disk { return nil }

func (p ParameterName) find(ctx context.Context, r *region) (ec2types.Image, error) {
	public := strings.HasPrefix(string(p), "/aws/service/")
	return r.findShared(ctx, fmt.Sprintf("%#v", p), public, p.read)
}

func (p ParameterName) read(ctx context.Context, r *region) (ec2types.Image, error) {
	out, err := r.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(string(p))})
	if err != nil {
		return ec2types.Image{}, err
	}
	id := ImageID(strings.TrimSpace(aws.ToString(out.Parameter.Value)))
	if err := id.Validate(); err != nil {
		return ec2types.Image{}, bake.Invalid("Builder.Source", "%s: %w", p, err)
	}
	return id.find(ctx, r)
}

// A Newest is a Source that selects the matching AMI with the latest creation date.
type Newest struct {
	// Owners are account ids, Self, Amazon or Marketplace. At least one is
	// required, because anyone can publish an AMI under any name.
	Owners []string

	// Name is a pattern with * and ?. Empty matches all names.
	Name string

	// Architecture is "x86_64" or "arm64". Empty matches both.
	Architecture string

	// Filters are additional filters of DescribeImages, such as "tag:team".
	Filters Filters

	// Deprecated includes AMIs whose deprecation time has passed.
	Deprecated bool
}

// String returns the name pattern and the owners.
func (n Newest) String() string {
	return fmt.Sprintf("newest %q of %s", n.Name, strings.Join(n.Owners, ", "))
}

// Validate reports missing or invalid Owners.
func (n Newest) Validate() error {
	if len(n.Owners) == 0 || slices.Contains(n.Owners, "") {
		return errors.New("Newest.Owners is required: anyone can publish an AMI under any name")
	}
	for _, o := range n.Owners {
		if !accountID.MatchString(o) && !slices.Contains([]string{Self, Amazon, Marketplace, "aws-backup-vault"}, o) {
			return fmt.Errorf("invalid Newest.Owners %q: want an account id of twelve digits (ec2.Canonical or ec2.Debian, for two vendors), %q, %q or %q", o, Self, Amazon, Marketplace)
		}
	}
	return nil
}

func (n Newest) grants(string) grants { return nil }

func (n Newest) disk() *Disk { return nil }

func (n Newest) find(ctx context.Context, r *region) (ec2types.Image, error) {
	vendors := []string{Amazon, Marketplace, Canonical, Debian}
	public := !slices.ContainsFunc(n.Owners, func(o string) bool { return !slices.Contains(vendors, o) })
	return r.findShared(ctx, fmt.Sprintf("%#v", n), public, n.search)
}

func (n Newest) search(ctx context.Context, r *region) (ec2types.Image, error) {
	filters := append(n.filters(n.Filters), filter("state", "available"), filter("root-device-type", "ebs"))
	if n.Architecture != "" {
		filters = append(filters, filter("architecture", n.Architecture))
	}
	images, err := r.describeImages(ctx, &awsec2.DescribeImagesInput{
		Owners: n.Owners, Filters: filters, IncludeDeprecated: aws.Bool(n.Deprecated),
	})
	if err != nil {
		return ec2types.Image{}, err
	}
	images = slices.DeleteFunc(images, func(i ec2types.Image) bool { return !n.usable(i, r.clock.Now()) })
	if len(images) == 0 {
		return ec2types.Image{}, fmt.Errorf("%w: %s in %s%s", ErrNoSource, n, r.name, n.explain(ctx, r))
	}
	return newest(images), nil
}

// filters returns the filters for the name, and those of more.
func (n Newest) filters(more Filters) []ec2types.Filter {
	filters := more.list()
	if n.Name != "" {
		filters = append(filters, filter("name", n.Name))
	}
	return filters
}

// usable reports whether an AMI may be used: it is not from an unfinished build, and
// not deprecated unless n allows it. EC2 always lists deprecated AMIs to their owner.
func (n Newest) usable(i ec2types.Image, now time.Time) bool {
	if _, unfinished := tagMap(i.Tags)[TagExpires]; unfinished {
		return false
	}
	deprecated, err := time.Parse(time.RFC3339, aws.ToString(i.DeprecationTime))
	return n.Deprecated || err != nil || deprecated.After(now)
}

// newest returns the image with the latest creation date. The id breaks ties, so
// that the choice is stable.
func newest(images []ec2types.Image) ec2types.Image {
	return slices.MaxFunc(images, func(a, b ec2types.Image) int {
		if c := created(a).Compare(created(b)); c != 0 {
			return c
		}
		return strings.Compare(aws.ToString(a.ImageId), aws.ToString(b.ImageId))
	})
}

// created returns the image's creation date, or the zero time if it is invalid.
func created(i ec2types.Image) time.Time {
	t, err := time.Parse(time.RFC3339, aws.ToString(i.CreationDate))
	if err != nil {
		return time.Time{}
	}
	return t
}

func (f Filters) list() []ec2types.Filter {
	list := make([]ec2types.Filter, 0, len(f)+4)
	for name, values := range f {
		list = append(list, filter(name, values...))
	}
	slices.SortFunc(list, func(a, b ec2types.Filter) int { return strings.Compare(*a.Name, *b.Name) })
	return list
}
