package ec2test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// maxTags is EC2's limit on the tags of a resource.
const maxTags = 50

// tags holds a resource's tags by key. With eventual consistency a change
// becomes visible later.
type tags map[string]tagValue

// systemPrefix begins the keys of tags that only AWS sets. They do not count
// towards maxTags.
const systemPrefix = "aws:"

func isSystemTag(key string) bool { return strings.HasPrefix(strings.ToLower(key), systemPrefix) }

type tagValue struct {
	value   string
	removed bool
	from    time.Time // when the change becomes visible
	was     *string   // visible value until then; nil means no tag
}

// at returns the tag's visible value at a time.
func (v tagValue) at(now time.Time) (string, bool) {
	if now.Before(v.from) {
		if v.was == nil {
			return "", false
		}
		return *v.was, true
	}
	return v.value, !v.removed
}

func (t tags) get(now time.Time, key string) (string, bool) {
	v, ok := t[key]
	if !ok {
		return "", false
	}
	return v.at(now)
}

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// list returns the visible tags at a time, by key.
func (t tags) list(now time.Time) []tagXML {
	out := make([]tagXML, 0, len(t))
	for key, v := range t {
		if value, ok := v.at(now); ok {
			out = append(out, tagXML{Key: key, Value: value})
		}
	}
	slices.SortFunc(out, func(a, b tagXML) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (t tags) set(now time.Time) ec2query.Set[tagXML] { return ec2query.SetOf(t.list(now)...) }

// change sets or removes a tag. The change becomes visible at the time from.
func (b *base) change(now, from time.Time, key, value string, remove bool) {
	next := tagValue{value: value, removed: remove, from: from}
	if seen, ok := b.tags.get(now, key); ok {
		next.was = &seen
	}
	if b.tags == nil {
		b.tags = make(tags)
	}
	if remove && !from.After(now) {
		delete(b.tags, key)
		return
	}
	b.tags[key] = next
}

// optional is like set, but returns nil if there are no tags, for resources of
// which EC2 omits an empty set.
func (t tags) optional(now time.Time) *ec2query.Set[tagXML] { return ec2query.Optional(t.set(now)) }

type tagParam struct {
	Key   string  `ec2:"Key"`
	Value *string `ec2:"Value"`
}

func (p tagParam) value() string {
	if p.Value == nil {
		return ""
	}
	return *p.Value
}

// tagSpecification holds the tags for a type of resource in the call that
// creates it.
type tagSpecification struct {
	ResourceType string
	Tag          []tagParam
}

func checkTags(list []tagParam) *ec2query.Error {
	seen := make(map[string]bool, len(list))
	for _, tag := range list {
		switch {
		case tag.Key == "":
			return ec2query.Errorf("InvalidParameterValue", "Tag keys must be at least 1 character long.")
		case utf8.RuneCountInString(tag.Key) > 128:
			return ec2query.Errorf("InvalidParameterValue", "Tag key exceeds the maximum length of 128 characters.")
		case utf8.RuneCountInString(tag.value()) > 256:
			return ec2query.Errorf("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters.")
		case isSystemTag(tag.Key):
			return ec2query.Errorf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case seen[tag.Key]:
			return ec2query.Errorf("InvalidParameterValue", "Duplicate tag key '%s' specified.", tag.Key)
		}
		seen[tag.Key] = true
	}
	if len(list) > maxTags {
		return ec2query.Errorf("TagLimitExceeded", "More than %d tags specified", maxTags)
	}
	return nil
}

// metadataTag matches the tag keys that the instance metadata service accepts.
var metadataTag = regexp.MustCompile(`^[0-9a-zA-Z\-_+=,.@:]{1,255}$`)

// checkMetadataTags rejects a tag key that an instance whose metadata service shows
// tags cannot have.
func checkMetadataTags(keys []string) *ec2query.Error {
	for _, key := range keys {
		if !metadataTag.MatchString(key) || key == "." || key == ".." || key == "_index" {
			return ec2query.Errorf("InvalidParameterValue",
				`'%s' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`, key)
		}
	}
	return nil
}

// tagSpecs returns the tags of a call by resource type. Only the allowed types
// are accepted.
func tagSpecs(specs []tagSpecification, allowed ...string) (map[string]tags, *ec2query.Error) {
	out := make(map[string]tags, len(allowed))
	lists := make(map[string][]tagParam, len(specs))
	for _, spec := range specs {
		if !slices.Contains(allowed, spec.ResourceType) {
			return nil, ec2query.InvalidValue("ResourceType", spec.ResourceType, "'"+spec.ResourceType+"' is not a valid taggable resource type for this operation.")
		}
		if len(spec.Tag) == 0 {
			return nil, ec2query.Errorf("InvalidParameterValue", "Tag specification must have at least one tag")
		}
		lists[spec.ResourceType] = append(lists[spec.ResourceType], spec.Tag...)
	}
	for resource, list := range lists {
		if err := checkTags(list); err != nil {
			return nil, err
		}
		made := make(tags, len(list))
		for _, tag := range list {
			made[tag.Key] = tagValue{value: tag.value()}
		}
		out[resource] = made
	}
	return out, nil
}

// clone copies tags for another resource.
func (t tags) clone() tags {
	out := make(tags, len(t))
	maps.Copy(out, t)
	return out
}

type tagsInput struct {
	ResourceID []string   `ec2:"ResourceId,required"`
	Tag        []tagParam `ec2:"Tag"`
}

// taggable returns the resources of a tagging call.
func (c *call) taggable(ids []string) ([]*base, *ec2query.Error) {
	found := make([]*base, 0, len(ids))
	for _, id := range ids {
		b, err := c.anyRecord(id)
		if err != nil {
			return nil, err
		}
		found = append(found, b)
	}
	return found, nil
}

func (c *call) createTags(in *tagsInput) (*ec2query.Return, *ec2query.Error) {
	if len(in.Tag) == 0 {
		return nil, ec2query.MissingParameter("Tag")
	}
	if err := checkTags(in.Tag); err != nil {
		return nil, err
	}
	found, err := c.taggable(in.ResourceID)
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		count := 0
		for key := range b.tags {
			if !isSystemTag(key) {
				count++
			}
		}
		for _, tag := range in.Tag {
			if _, ok := b.tags[tag.Key]; !ok {
				count++
			}
		}
		if count > maxTags {
			return nil, ec2query.Errorf("TagLimitExceeded", "The maximum number of tags per resource is %d: %s", maxTags, b.id)
		}
	}
	for _, id := range in.ResourceID {
		if i, ok := c.instances.get(id); ok && i.metadata.InstanceMetadataTags == "enabled" {
			keys := make([]string, 0, len(in.Tag))
			for _, tag := range in.Tag {
				keys = append(keys, tag.Key)
			}
			if err := checkMetadataTags(keys); err != nil {
				return nil, err
			}
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for _, b := range found {
		for _, tag := range in.Tag {
			b.change(c.now, c.visibleAt(), tag.Key, tag.value(), false)
		}
	}
	return ec2query.Done(), nil
}

func (c *call) deleteTags(in *tagsInput) (*ec2query.Return, *ec2query.Error) {
	for _, tag := range in.Tag {
		if isSystemTag(tag.Key) {
			return nil, ec2query.Errorf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	found, err := c.taggable(in.ResourceID)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	for _, b := range found {
		if len(in.Tag) == 0 {
			for key := range b.tags {
				if isSystemTag(key) {
					continue
				}
				b.change(c.now, c.visibleAt(), key, "", true)
			}
		}
		for _, tag := range in.Tag {
			have, ok := b.tags[tag.Key]
			// With a value given, only a tag with that value is deleted.
			if ok && (tag.Value == nil || have.value == *tag.Value) {
				b.change(c.now, c.visibleAt(), tag.Key, "", true)
			}
		}
	}
	return ec2query.Done(), nil
}
