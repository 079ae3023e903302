package amicleanup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A switcher moves images along the lifecycle. Tags are set first on the way down
// and removed last on the way back, so an interrupted change shows and can be
// taken back.
type switcher struct {
	client *awsec2.Client
	clock  clock.Clock
}

func (s switcher) deprecate(ctx context.Context, img *Image) error {
	now := s.clock.Now()
	on := stage{action: Deprecate, since: now}
	if !img.deprecated(now) {
		on.deprecated, on.before = true, img.Deprecated
	}
	if err := s.tag(ctx, img.ID, map[string]string{TagRetired: on.String()}); err != nil || !on.deprecated {
		return err
	}
	return s.deprecateAt(ctx, img.ID, now)
}

func (s switcher) deprecateAt(ctx context.Context, id string, at time.Time) error {
	// EC2 rejects times in the past, and rounds down to a minute.
	if earliest := s.clock.Now().Add(time.Minute); at.Before(earliest) {
		at = earliest
	}
	_, err := s.client.EnableImageDeprecation(ctx, &awsec2.EnableImageDeprecationInput{
		ImageId: aws.String(id), DeprecateAt: aws.Time(at.UTC().Truncate(time.Minute)),
	})
	if err != nil {
		return fmt.Errorf("deprecate: %w", err)
	}
	return nil
}

// disable saves the launch permissions, which are in img.Shares if the image can
// be launched, and disables the image. Permissions that an interrupted run had
// saved are kept.
func (s switcher) disable(ctx context.Context, img *Image) error {
	was := stageOf(img)
	on := stage{
		action: Disable, since: s.clock.Now(), deprecated: was.deprecated, before: was.before,
		found: img.State == disabled && was.action != Disable,
	}
	saved := sharesInTags(img.Tags)
	if img.Shares != nil {
		saved = *img.Shares.with(saved)
	}
	tags, err := saved.tags(img.Tags)
	if err != nil {
		return err
	}
	tags[TagRetired] = on.String()
	if err := s.tag(ctx, img.ID, tags); err != nil || img.State == disabled {
		return err
	}
	if _, err := s.client.DisableImage(ctx, &awsec2.DisableImageInput{ImageId: aws.String(img.ID)}); err != nil {
		return fmt.Errorf("disable: %w", err)
	}
	return nil
}

func (s switcher) unprotect(ctx context.Context, img *Image) error {
	_, err := s.client.DisableImageDeregistrationProtection(ctx, &awsec2.DisableImageDeregistrationProtectionInput{ImageId: aws.String(img.ID)})
	if err != nil {
		return fmt.Errorf("lift deregistration protection: %w", err)
	}
	return nil
}

// restored describes the state that an image is taken back to.
type restored struct {
	enable      bool
	shares      *Shares
	undeprecate bool
	deprecation time.Time         // the deprecation time that it had; zero means none
	tags        map[string]string // tags of this package to set; the others are removed
}

func (s switcher) restore(ctx context.Context, img *Image, to restored) error {
	id := aws.String(img.ID)
	if img.State == disabled && to.enable {
		if _, err := s.client.EnableImage(ctx, &awsec2.EnableImageInput{ImageId: id}); err != nil {
			return fmt.Errorf("enable: %w", err)
		}
	}
	if to.shares != nil && to.shares.Any() {
		_, err := s.client.ModifyImageAttribute(ctx, &awsec2.ModifyImageAttributeInput{
			ImageId: id, LaunchPermission: &ec2types.LaunchPermissionModifications{Add: to.shares.permissions()},
		})
		if err != nil {
			return fmt.Errorf("restore launch permissions: %w", err)
		}
	}
	if to.undeprecate {
		if err := s.undeprecate(ctx, img.ID, to.deprecation); err != nil {
			return err
		}
	}
	if len(to.tags) > 0 {
		if err := s.tag(ctx, img.ID, to.tags); err != nil {
			return err
		}
	}
	return s.untag(ctx, img, to.tags)
}

func (s switcher) undeprecate(ctx context.Context, id string, before time.Time) error {
	if !before.IsZero() {
		return s.deprecateAt(ctx, id, before)
	}
	if _, err := s.client.DisableImageDeprecation(ctx, &awsec2.DisableImageDeprecationInput{ImageId: aws.String(id)}); err != nil {
		return fmt.Errorf("undo deprecation: %w", err)
	}
	return nil
}

func (s switcher) tag(ctx context.Context, id string, tags map[string]string) error {
	list := make([]ec2types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, ec2types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	if _, err := s.client.CreateTags(ctx, &awsec2.CreateTagsInput{Resources: []string{id}, Tags: list}); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	return nil
}

// untag removes this package's tags from an image, except those in leave.
func (s switcher) untag(ctx context.Context, img *Image, leave map[string]string) error {
	var list []ec2types.Tag
	for _, key := range slices.Sorted(maps.Keys(img.Tags)) {
		if _, stays := leave[key]; !stays && (key == TagRetired || isSharedTag(key)) {
			list = append(list, ec2types.Tag{Key: aws.String(key)})
		}
	}
	if len(list) == 0 {
		return nil
	}
	if _, err := s.client.DeleteTags(ctx, &awsec2.DeleteTagsInput{Resources: []string{img.ID}, Tags: list}); err != nil {
		return fmt.Errorf("remove tags: %w", err)
	}
	return nil
}
