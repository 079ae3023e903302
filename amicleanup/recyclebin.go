package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"
)

// A RecycleBinReader reads the retention rules of the Recycle Bin.
// *rbin.Client is one.
type RecycleBinReader interface {
	ListRules(ctx context.Context, in *rbin.ListRulesInput, opts ...func(*rbin.Options)) (*rbin.ListRulesOutput, error)
	GetRule(ctx context.Context, in *rbin.GetRuleInput, opts ...func(*rbin.Options)) (*rbin.GetRuleOutput, error)
}

var _ RecycleBinReader = (*rbin.Client)(nil)

// A BinRule is a retention rule of the Recycle Bin.
type BinRule struct {
	ID       string        `json:"id"`
	Resource string        `json:"resource"`          // "EC2_IMAGE" or "EBS_SNAPSHOT"
	For      time.Duration `json:"for"`               // how long it keeps what was removed
	Tags     []Tag         `json:"tags,omitempty"`    // it is for what has any of these; none is the whole region
	Exclude  []Tag         `json:"exclude,omitempty"` // and, for a whole region, has none of these
}

// A Tag is a key and, if it matters, its value.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"` // empty is any
}

func (t Tag) on(tags map[string]string) bool {
	value, ok := tags[t.Key]
	return ok && (t.Value == "" || t.Value == value)
}

// covers reports whether the rule is for something with these tags.
func (b *BinRule) covers(tags map[string]string) bool {
	for _, t := range b.Exclude {
		if t.on(tags) {
			return false
		}
	}
	for _, t := range b.Tags {
		if t.on(tags) {
			return true
		}
	}
	return len(b.Tags) == 0
}

// recoverable says why the image could not be taken back after its removal.
// Empty is that it could: the Recycle Bin keeps it long enough, and each of its
// snapshots as long as the image. Tags of snapshots are not known here, so that
// only rules for whole regions count for them.
func (t *TargetInventory) recoverable(img *Image, enough time.Duration) string {
	if t.BinError != "" {
		return "could not be taken back: the rules of the Recycle Bin were not read: " + t.BinError
	}
	var images, snapshots time.Duration
	for i := range t.Bin {
		rule := &t.Bin[i]
		switch {
		case rule.Resource == string(rbintypes.ResourceTypeEc2Image) && rule.covers(img.Tags):
			images = max(images, rule.For)
		case rule.Resource == string(rbintypes.ResourceTypeEbsSnapshot) && len(rule.Tags)+len(rule.Exclude) == 0:
			snapshots = max(snapshots, rule.For)
		}
	}
	switch {
	case images < enough:
		return fmt.Sprintf("could not be taken back: the Recycle Bin keeps it for %s, not for %s", images, enough)
	case len(img.Snapshots) > 0 && snapshots < images:
		return fmt.Sprintf("could not be taken back: the Recycle Bin keeps its snapshots for %s, the image for %s", snapshots, images)
	default:
		return ""
	}
}

// readBins reads the rules of the Recycle Bin where the policy asks for them.
func readBins(ctx context.Context, targets []Target, p *Policy, inv *Inventory) {
	if p.Limits.Recoverable == 0 {
		return
	}
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			rules, err := readRules(ctx, t.RecycleBin)
			if err != nil {
				inv.Targets[i].BinError = err.Error()
			}
			inv.Targets[i].Bin = rules
		})
	}
	wg.Wait()
}

// readRules reads the retention rules for images and snapshots in force.
func readRules(ctx context.Context, client RecycleBinReader) ([]BinRule, error) {
	var rules []BinRule
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
					continue // it does not work yet
				}
				rules = append(rules, ruleOf(rule))
			}
		}
		if err := ended(next); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

func ruleOf(from *rbin.GetRuleOutput) BinRule {
	const day = 24 * time.Hour // the only unit there is
	rule := BinRule{ID: aws.ToString(from.Identifier), Resource: string(from.ResourceType)}
	if from.RetentionPeriod != nil {
		rule.For = time.Duration(aws.ToInt32(from.RetentionPeriod.RetentionPeriodValue)) * day
	}
	for _, t := range from.ResourceTags {
		rule.Tags = append(rule.Tags, Tag{aws.ToString(t.ResourceTagKey), aws.ToString(t.ResourceTagValue)})
	}
	for _, t := range from.ExcludeResourceTags {
		rule.Exclude = append(rule.Exclude, Tag{aws.ToString(t.ResourceTagKey), aws.ToString(t.ResourceTagValue)})
	}
	return rule
}
