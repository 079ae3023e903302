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

// A Source says which AMI to start from: an ImageID, a ParameterName, or the
// Newest that matches.
type Source interface {
	fmt.Stringer
	bake.Validator
	find(ctx context.Context, r *region) (ec2types.Image, error)

	// grants are the permissions that find needs besides DescribeImages.
	grants(region string) grants
}

var (
	_ Source = ImageID("")
	_ Source = ParameterName("")
	_ Source = Newest{}
)

// Owners whose AMIs bakes commonly start from, for Newest.
const (
	Self        = "self"            // the account itself
	Amazon      = "amazon"          // Amazon Linux and other AMIs of AWS
	Marketplace = "aws-marketplace" // AMIs that are subscribed to
	Canonical   = "099720109477"    // Ubuntu
	Debian      = "136693071363"
)

// ErrNoSource is wrapped by the error of a Source that matches no AMI.
var ErrNoSource = errors.New("no such image")

// ImageID is the id of an AMI: "ami-0123456789abcdef0".
type ImageID string

// String is the id.
func (id ImageID) String() string { return string(id) }

// Validate reports an invalid id.
func (id ImageID) Validate() error {
	if !strings.HasPrefix(string(id), "ami-") {
		return fmt.Errorf("%q is not the id of an AMI", string(id))
	}
	return nil
}

func (id ImageID) grants(string) grants { return nil }

// find asks together with all other bakes that look for an image by its id.
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
		return image, fmt.Errorf("%s is %s, not available", id, image.State)
	}
	return image, nil
}

// ParameterName is the name of an SSM parameter that holds the id of an AMI, such
// as the public ones of AWS and Canonical:
// "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64".
type ParameterName string

// String is the name.
func (p ParameterName) String() string { return "parameter " + string(p) }

// Validate reports a missing name.
func (p ParameterName) Validate() error {
	if p == "" {
		return errors.New("the parameter has no name")
	}
	return nil
}

func (p ParameterName) grants(region string) grants {
	return grants{{"ReadSource", []string{"ssm:GetParameter"}, parameterARNs(region, string(p)), nil}}
}

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
		return ec2types.Image{}, fmt.Errorf("%s holds %q, which is not the id of an AMI", p, string(id))
	}
	return id.find(ctx, r)
}

// Newest is the AMI with the latest creation date of those that match.
type Newest struct {
	// Owners are account ids, or Self, Amazon or Marketplace. At least one is
	// required: anyone can publish an AMI under any name.
	Owners []string

	// Name is the pattern of the name, with * and ?. Empty matches all.
	Name string

	// Architecture is "x86_64" or "arm64". Empty matches all.
	Architecture string

	// Filters are further filters of DescribeImages, such as "tag:team".
	Filters Filters

	// Deprecated also takes AMIs whose deprecation time has passed.
	Deprecated bool
}

// String names the owners and the pattern.
func (n Newest) String() string {
	return fmt.Sprintf("newest %q of %s", n.Name, strings.Join(n.Owners, ", "))
}

// Validate reports missing Owners.
func (n Newest) Validate() error {
	if len(n.Owners) == 0 || slices.Contains(n.Owners, "") {
		return errors.New("Newest.Owners is required: anyone can publish an AMI under any name")
	}
	return nil
}

func (n Newest) grants(string) grants { return nil }

func (n Newest) find(ctx context.Context, r *region) (ec2types.Image, error) {
	vendors := []string{Amazon, Marketplace, Canonical, Debian}
	public := !slices.ContainsFunc(n.Owners, func(o string) bool { return !slices.Contains(vendors, o) })
	return r.findShared(ctx, fmt.Sprintf("%#v", n), public, n.search)
}

func (n Newest) search(ctx context.Context, r *region) (ec2types.Image, error) {
	filters := append(n.Filters.list(), filter("state", "available"), filter("root-device-type", "ebs"))
	if n.Name != "" {
		filters = append(filters, filter("name", n.Name))
	}
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
		return ec2types.Image{}, fmt.Errorf("%w: %s in %s", ErrNoSource, n, r.name)
	}
	return newest(images), nil
}

// usable leaves out the AMIs of builds that have not finished, and deprecated
// ones of our own, which EC2 lists for their owner in any case.
func (n Newest) usable(i ec2types.Image, now time.Time) bool {
	if _, unfinished := tagMap(i.Tags)[TagExpires]; unfinished {
		return false
	}
	deprecated, err := time.Parse(time.RFC3339, aws.ToString(i.DeprecationTime))
	return n.Deprecated || err != nil || deprecated.After(now)
}

// newest returns the image with the latest creation date; of several with the
// same, the one with the greatest id, so that the choice does not vary.
func newest(images []ec2types.Image) ec2types.Image {
	return slices.MaxFunc(images, func(a, b ec2types.Image) int {
		if c := created(a).Compare(created(b)); c != 0 {
			return c
		}
		return strings.Compare(aws.ToString(a.ImageId), aws.ToString(b.ImageId))
	})
}

// created is when the image was; the zero time, which is oldest, when EC2
// gives none that can be read.
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
