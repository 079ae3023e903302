package amicleanup

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Public keeps the images that everyone may launch.
func Public() Keeper {
	return Named("Public()", KeeperFunc(func(g *Group) []Reason {
		return keepIf(g, func(img *Stamped) bool { return img.Public }, "is public")
	}))
}

// Shared keeps the images that others than the owner may launch: accounts,
// organizations, or everyone. EC2 tells for one image at a time, and so only
// those are asked for that would go otherwise; one that could not be asked for
// stays. A disabled image is shared with nobody, but one that a Ladder has
// disabled counts as shared with those that it was shared with before.
func Shared() Keeper { return shared{} }

type shared struct{}

func (shared) String() string { return "Shared()" }

func (shared) Keep(g *Group) []Reason {
	var kept []Reason
	for _, img := range g.Images {
		switch saved := sharesInTags(img.Tags); {
		case img.Public:
			kept = append(kept, Reason{ImageID: img.ID, Text: "is public"})
		case saved.Any():
			kept = append(kept, Reason{ImageID: img.ID, Text: "was shared before it was disabled", Evidence: saved.evidence()})
		case img.Shares == nil:
			kept = append(kept, Reason{ImageID: img.ID, Text: "may be shared: that was not read", Blocked: true, unread: true})
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

func (p *Policy) wantsShares() bool {
	return slices.ContainsFunc(p.Keep, func(k Keeper) bool { _, ok := k.(shared); return ok })
}

// unreadShares are the images that would go, and of which it is not known who
// may launch them.
func unreadShares(t *TargetPlan) map[string]bool {
	ids := map[string]bool{}
	for i := range t.Items {
		if item := &t.Items[i]; item.Action.steps() > 0 && item.Image.Shares == nil {
			ids[item.Image.ID] = true
		}
	}
	return ids
}

func (t *TargetInventory) readShares(ctx context.Context, target Target, ids map[string]bool) error {
	for i := range t.Images {
		img := &t.Images[i]
		if !ids[img.ID] {
			continue
		}
		var err error
		if img.Shares, err = sharesOf(ctx, target.Client, img.ID); err != nil {
			if meaningOf(err) != gone {
				return &TargetError{target.Account, target.Region, fmt.Errorf("read who may launch %s: %w", img.ID, err)}
			}
			img.Shares = &Shares{}
		}
	}
	return nil
}

// sharesOf asks EC2 who may launch an image.
func sharesOf(ctx context.Context, client ImageReader, id string) (*Shares, error) {
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
