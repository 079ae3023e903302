package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A binRule is a retention rule of the Recycle Bin.
type binRule struct {
	resource rbintypes.ResourceType
	keeps    time.Duration
	tags     []rbintypes.ResourceTag // for resources with any of these; none means the whole region
	exclude  []rbintypes.ResourceTag // for a whole region: except resources with any of these
}

// tagOn reports whether tags have a tag; an empty value matches any.
func tagOn(tags map[string]string, t rbintypes.ResourceTag) bool {
	value, ok := tags[aws.ToString(t.ResourceTagKey)]
	want := aws.ToString(t.ResourceTagValue)
	return ok && (want == "" || want == value)
}

// covers reports whether the rule is for a resource with these tags.
func (b *binRule) covers(tags map[string]string) bool {
	for _, t := range b.exclude {
		if tagOn(tags, t) {
			return false
		}
	}
	for _, t := range b.tags {
		if tagOn(tags, t) {
			return true
		}
	}
	return len(b.tags) == 0
}

// unrecoverable returns why the image could not be taken back after its removal,
// or "" if the Recycle Bin keeps it long enough and its snapshots as long as the
// image. Tags of snapshots are not known, so only rules for whole regions count
// for them.
func (t *targetInventory) unrecoverable(img *Image, enough time.Duration) string {
	if t.rulesErr != nil {
		return "may not be recoverable: the rules of the Recycle Bin could not be read"
	}
	var images, snapshots time.Duration
	for i := range t.rules {
		rule := &t.rules[i]
		switch {
		case rule.resource == rbintypes.ResourceTypeEc2Image && rule.covers(img.Tags):
			images = max(images, rule.keeps)
		case rule.resource == rbintypes.ResourceTypeEbsSnapshot && len(rule.tags)+len(rule.exclude) == 0:
			snapshots = max(snapshots, rule.keeps)
		}
	}
	switch {
	case images < enough:
		return fmt.Sprintf("would not be recoverable: the Recycle Bin keeps it for %s, want %s", spanText(images), spanText(enough))
	case len(img.Snapshots) > 0 && snapshots < images:
		return fmt.Sprintf("would not be recoverable: the Recycle Bin keeps its snapshots for %s, the image for %s", spanText(snapshots), spanText(images))
	default:
		return ""
	}
}

// readRules reads the active retention rules for images and snapshots.
func readRules(ctx context.Context, t Target) ([]binRule, error) {
	client := rbin.NewFromConfig(t.Config)
	var rules []binRule
	for _, kind := range []rbintypes.ResourceType{rbintypes.ResourceTypeEc2Image, rbintypes.ResourceTypeEbsSnapshot} {
		pages := rbin.NewListRulesPaginator(client, &rbin.ListRulesInput{ResourceType: kind},
			func(o *rbin.ListRulesPaginatorOptions) { o.StopOnDuplicateToken = true })
		var next *string
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			next = page.NextToken
			for _, summary := range page.Rules {
				rule, err := client.GetRule(ctx, &rbin.GetRuleInput{Identifier: summary.Identifier})
				if missing := new(rbintypes.ResourceNotFoundException); errors.As(err, &missing) {
					continue
				} else if err != nil {
					return nil, err
				}
				if rule.Status != rbintypes.RuleStatusAvailable {
					continue // not active yet
				}
				rules = append(rules, ruleOf(rule))
			}
		}
		if aws.ToString(next) != "" {
			return nil, awsapi.ErrPaging
		}
	}
	return rules, nil
}

func ruleOf(from *rbin.GetRuleOutput) binRule {
	rule := binRule{resource: from.ResourceType, tags: from.ResourceTags, exclude: from.ExcludeResourceTags}
	if from.RetentionPeriod != nil {
		rule.keeps = time.Duration(aws.ToInt32(from.RetentionPeriod.RetentionPeriodValue)) * Day // the only unit
	}
	return rule
}
