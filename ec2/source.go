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

// A Source says which AMI to start from: an ImageID, a Parameter, or the
// Newest that matches.
type Source interface {
	fmt.Stringer
	validate() error
	find(ctx context.Context, r *region) (ec2types.Image, error)
}

var (
	_ Source = ImageID("")
	_ Source = Parameter("")
	_ Source = Newest{}
)

// Owners whose AMIs bakes commonly start from, for Newest.
const (
	Self      = "self"         // the account itself
	Amazon    = "amazon"       // Amazon Linux and other AMIs of AWS
	Canonical = "099720109477" // Ubuntu
	Debian    = "136693071363"
)

// ErrNoSource is wrapped by the error of a Source that matches no AMI.
var ErrNoSource = errors.New("no such image")

// ImageID is the id of an AMI: "ami-0123456789abcdef0".
type ImageID string

// String is the id.
func (id ImageID) String() string { return string(id) }

func (id ImageID) validate() error {
	if !strings.HasPrefix(string(id), "ami-") {
		return bake.Invalid("Builder.Source", "%q is not the id of an AMI", string(id))
	}
	return nil
}

func (id ImageID) find(ctx context.Context, r *region) (ec2types.Image, error) {
	images, err := r.fetchImages(ctx, []string{string(id)})
	if err != nil {
		return ec2types.Image{}, err
	}
	image, ok := images[string(id)]
	switch {
	case !ok:
		return image, fmt.Errorf("%w: %s in %s", ErrNoSource, id, r.name)
	case image.State != ec2types.ImageStateAvailable:
		return image, fmt.Errorf("%s is %s, not available", id, image.State)
	}
	return image, nil
}

// Parameter is the name of an SSM parameter that holds the id of an AMI, such
// as the public ones of AWS and Canonical:
// "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64".
type Parameter string

// String is the name.
func (p Parameter) String() string { return "parameter " + string(p) }

func (p Parameter) validate() error {
	if p == "" {
		return bake.Invalid("Builder.Source", "the parameter has no name")
	}
	return nil
}

func (p Parameter) find(ctx context.Context, r *region) (ec2types.Image, error) {
	out, err := r.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(string(p))})
	if err != nil {
		return ec2types.Image{}, err
	}
	id := ImageID(strings.TrimSpace(aws.ToString(out.Parameter.Value)))
	if err := id.validate(); err != nil {
		return ec2types.Image{}, fmt.Errorf("%s holds %q, which is not the id of an AMI", p, string(id))
	}
	return id.find(ctx, r)
}

// Newest is the AMI with the latest creation date of those that match.
type Newest struct {
	// Owners are account ids, or Self or Amazon. At least one is required:
	// anyone can publish an AMI under any name.
	Owners []string

	// Name is the pattern of the name, with * and ?. Empty matches all.
	Name string

	// Architecture is "x86_64" or "arm64". Empty matches all.
	Architecture string

	// Filters are further filters of DescribeImages.
	Filters Filters

	// Deprecated also takes AMIs whose deprecation time has passed.
	Deprecated bool
}

// String names the owners and the pattern.
func (n Newest) String() string {
	return fmt.Sprintf("newest %q of %s", n.Name, strings.Join(n.Owners, ", "))
}

func (n Newest) validate() error {
	if len(n.Owners) == 0 || slices.Contains(n.Owners, "") {
		return bake.Invalid("Builder.Source", "Newest.Owners is required: anyone can publish an AMI under any name")
	}
	return nil
}

func (n Newest) find(ctx context.Context, r *region) (ec2types.Image, error) {
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

// A SourceImage is the AMI that a bake started from.
type SourceImage struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Owner        string    `json:"owner"`
	Created      time.Time `json:"created"`
	Architecture string    `json:"architecture"`
	RootDevice   string    `json:"root_device"`
	Login        string    `json:"login"` // who to log in as

	// Staying are its volumes that would outlive an instance.
	Staying []SourceVolume `json:"staying,omitempty"`
}

// A SourceVolume is an EBS volume of an AMI.
type SourceVolume struct {
	Device  string `json:"device"`
	SizeGiB int32  `json:"size_gib"`
}

func (s *session) findSource(ctx context.Context) error {
	source := s.builder.Source
	if s.run.Source != nil { // the image it is made from, or the candidate to check
		id, ok := s.run.Source.IDs()[s.region.name]
		if !ok {
			return fmt.Errorf("%s is not in %s", s.run.Source, s.region.name)
		}
		source = ImageID(id)
	}
	if source == nil {
		return errors.New("there is no source: the image it is made from has no artifact")
	}
	image, err := source.find(ctx, s.region)
	if err != nil {
		return err
	}
	s.Source = SourceImage{
		ID: aws.ToString(image.ImageId), Name: aws.ToString(image.Name), Owner: aws.ToString(image.OwnerId),
		Created: created(image), Architecture: string(image.Architecture), RootDevice: aws.ToString(image.RootDeviceName),
		Login: s.builder.User,
	}
	for _, m := range image.BlockDeviceMappings {
		if m.Ebs != nil && !aws.ToBool(m.Ebs.DeleteOnTermination) {
			s.Source.Staying = append(s.Source.Staying, SourceVolume{aws.ToString(m.DeviceName), aws.ToInt32(m.Ebs.VolumeSize)})
		}
	}
	if s.Source.Login == "" {
		s.Source.Login = loginOf(image)
	}
	if s.Source.Login == "" {
		return bake.Invalid("Builder.User", "%s of account %s does not say who to log in as", s.Source.ID, s.Source.Owner)
	}
	s.run.Say("source is %s %q of %s, created %s", s.Source.ID, s.Source.Name, s.Source.Owner, s.Source.Created.Format(time.DateOnly))
	return nil
}

// loginOf is the login of an AMI by our tag, else by what its vendor uses.
func loginOf(image ec2types.Image) string {
	if login := tagMap(image.Tags)[TagLogin]; login != "" {
		return login
	}
	switch aws.ToString(image.OwnerId) {
	case Canonical:
		return "ubuntu"
	case Debian:
		return "admin"
	case "137112412989", "309956199498", "764336703387": // Amazon Linux, Red Hat, AlmaLinux
		return "ec2-user"
	case "792107900819": // Rocky Linux
		return "rocky"
	}
	if aws.ToString(image.ImageOwnerAlias) == Amazon {
		return "ec2-user"
	}
	return ""
}
