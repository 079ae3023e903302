package amicleanup

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Limits of EC2 for tags. See "Tag your Amazon EC2 resources", tag restrictions.
const (
	longestTagValue = 256
	mostTags        = 50
	everyone        = "all"
)

// errSharesTooMany is returned for an image that is left alone because disabling
// it would lose its launch permissions.
var errSharesTooMany = errors.New("launch permissions do not fit in tags")

// tags encodes the launch permissions in as few tags as possible, for an image
// that has the given tags.
func (s *Shares) tags(have map[string]string) (map[string]string, error) {
	var words []string
	if s.Public {
		words = append(words, everyone)
	}
	words = append(append(words, s.Accounts...), s.ARNs...)
	tags := map[string]string{}
	var value string
	for i, word := range words {
		if len(word) > longestTagValue {
			return nil, fmt.Errorf("%w: %s is too long", errSharesTooMany, word)
		}
		if next := strings.TrimSpace(value + " " + word); len(next) <= longestTagValue {
			value = next
		} else {
			tags[TagShared+strconv.Itoa(len(tags))] = value
			value = word
		}
		if i == len(words)-1 {
			tags[TagShared+strconv.Itoa(len(tags))] = value
		}
	}
	all := maps.Clone(have)
	maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, "aws:") || isSharedTag(key) })
	if n := len(all) + len(tags) + 1; n > mostTags {
		return nil, fmt.Errorf("%w: %d tags, want at most %d", errSharesTooMany, n, mostTags)
	}
	return tags, nil
}

func isSharedTag(key string) bool { return strings.HasPrefix(key, TagShared) }

// sharesInTags returns the launch permissions that were saved in tags.
func sharesInTags(tags map[string]string) Shares {
	var s Shares
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if !isSharedTag(key) {
			continue
		}
		for word := range strings.FieldsSeq(tags[key]) {
			switch {
			case word == everyone:
				s.Public = true
			case strings.HasPrefix(word, "arn:"):
				s.ARNs = append(s.ARNs, word)
			default:
				s.Accounts = append(s.Accounts, word)
			}
		}
	}
	slices.Sort(s.Accounts)
	slices.Sort(s.ARNs)
	return s
}

// with returns the union of both.
func (s *Shares) with(other Shares) *Shares {
	both := &Shares{
		Public:   s.Public || other.Public,
		Accounts: slices.Concat(s.Accounts, other.Accounts),
		ARNs:     slices.Concat(s.ARNs, other.ARNs),
	}
	slices.Sort(both.Accounts)
	slices.Sort(both.ARNs)
	both.Accounts, both.ARNs = slices.Compact(both.Accounts), slices.Compact(both.ARNs)
	return both
}

// permissions returns the shares in the form that EC2 takes.
func (s *Shares) permissions() []ec2types.LaunchPermission {
	var list []ec2types.LaunchPermission
	if s.Public {
		list = append(list, ec2types.LaunchPermission{Group: ec2types.PermissionGroupAll})
	}
	for _, account := range s.Accounts {
		list = append(list, ec2types.LaunchPermission{UserId: aws.String(account)})
	}
	for _, arn := range s.ARNs {
		// arn:aws:organizations::ACCOUNT:organization/ID or …:ou/ID/OU
		if strings.Contains(arn, ":ou/") {
			list = append(list, ec2types.LaunchPermission{OrganizationalUnitArn: aws.String(arn)})
		} else {
			list = append(list, ec2types.LaunchPermission{OrganizationArn: aws.String(arn)})
		}
	}
	return list
}
