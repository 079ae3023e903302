package amicleanup

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Public keeps images that everyone may launch.
func Public() Rule {
	return NewRule("Public()", func(g *Group) []Reason {
		return keepIf(g, func(img *Image) bool { return img.Public }, Reason{Text: "is public"})
	})
}

// Shared keeps images that others than the owner may launch: accounts,
// organizations, or everyone. EC2 answers for one image at a time, so Plan reads
// permissions only of images that would otherwise go; if it cannot, the image stays.
// A disabled image is not shared, but an image that a [Lifecycle] has disabled
// counts as shared if it was shared before.
func Shared() Rule { return shared{} }

type shared struct{}

var _ Rule = shared{}

func (shared) String() string  { return "Shared()" }
func (shared) Validate() error { return nil }
func (shared) Needs() Needs    { return Needs{Shares: true} }

func (shared) Keep(g *Group) []Reason {
	var kept []Reason
	for i := range g.Images {
		img := g.Images[i]
		switch saved := sharesInTags(img.Tags); {
		case img.Public:
			kept = append(kept, Reason{ImageID: img.ID, Text: "is public"})
		case saved.Any():
			kept = append(kept, Reason{ImageID: img.ID, Text: "was shared before it was disabled", Evidence: saved.evidence()})
		case img.Shares == nil:
			kept = append(kept, Reason{ImageID: img.ID, Text: "may be shared: permissions were not read", Blocked: true, unread: true})
		case img.Shares.Any():
			kept = append(kept, Reason{ImageID: img.ID, Text: "is shared", Evidence: img.Shares.evidence()})
		}
	}
	return kept
}

func (s *Shares) evidence() []string {
	var with []string
	if s.Public {
		with = append(with, "everyone")
	}
	for _, account := range s.Accounts {
		with = append(with, "account "+account)
	}
	return append(with, s.ARNs...)
}

// sharesOf asks EC2 who may launch an image.
func sharesOf(ctx context.Context, client *awsec2.Client, id string) (*Shares, error) {
	out, err := client.DescribeImageAttribute(ctx, &awsec2.DescribeImageAttributeInput{
		ImageId: aws.String(id), Attribute: ec2types.ImageAttributeNameLaunchPermission,
	})
	if err != nil {
		return nil, err
	}
	s := &Shares{}
	for _, p := range out.LaunchPermissions {
		switch {
		case p.Group == ec2types.PermissionGroupAll:
			s.Public = true
		case aws.ToString(p.UserId) != "":
			s.Accounts = append(s.Accounts, *p.UserId)
		case aws.ToString(p.OrganizationArn) != "":
			s.ARNs = append(s.ARNs, *p.OrganizationArn)
		case aws.ToString(p.OrganizationalUnitArn) != "":
			s.ARNs = append(s.ARNs, *p.OrganizationalUnitArn)
		}
	}
	slices.Sort(s.Accounts)
	slices.Sort(s.ARNs)
	return s, nil
}
