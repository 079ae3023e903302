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

// What EC2 takes as tags. ("Tag your Amazon EC2 resources", tag restrictions.)
const (
	longestTagValue = 256
	mostTags        = 50
	everyone        = "all"
)

// errSharesTooMany is an image that is left alone since its launch permissions
// would be lost.
var errSharesTooMany = errors.New("its launch permissions do not fit in its tags")

// tags are the launch permissions as tags, as few as hold them, for an image
// that has the tags given.
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
		return nil, fmt.Errorf("%w: that would be %d tags, of %d at most", errSharesTooMany, n, mostTags)
	}
	return tags, nil
}

func isSharedTag(key string) bool { return strings.HasPrefix(key, TagShared) }

// sharesInTags are the launch permissions that were saved in tags.
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

// with are the permissions of both.
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

// permissions are the shares as EC2 takes them.
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
