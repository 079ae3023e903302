package ec2test

import (
	"cmp"
	"iter"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// tagRecord is a tag of a resource.
type tagRecord struct {
	id       string
	resource string
	key      string
	value    string
	seq      uint64
}

type tagDescriptionXML struct {
	ID       string `xml:"resourceId"`
	Resource string `xml:"resourceType"`
	Key      string `xml:"key"`
	Value    string `xml:"value"`
}

func tagFilters() filters[tagRecord] {
	return filters[tagRecord]{
		"key":           func(_ *call, t tagRecord) []string { return one(t.key) },
		"value":         func(_ *call, t tagRecord) []string { return []string{t.value} },
		"resource-id":   func(_ *call, t tagRecord) []string { return one(t.id) },
		"resource-type": func(_ *call, t tagRecord) []string { return one(t.resource) },
	}
}

type describeTagsInput struct {
	Filter []filterParam
	pageParams
}

type describeTagsOutput struct {
	Tags ec2query.Set[tagDescriptionXML] `xml:"tagSet"`
	Next string                          `xml:"nextToken,omitempty"`
}

func (c *call) describeTags(in *describeTagsInput) (*describeTagsOutput, *ec2query.Error) {
	known := c.server.known.tags
	// The filter tag:<key> matches the value of a key.
	m, err := known.compile(c, in.Filter, func(t tagRecord) tags { return tags{t.key: tagValue{value: t.value}} })
	if err != nil {
		return nil, err
	}
	var found []tagRecord
	for resource, b := range c.everything() {
		if !c.owns(b) || !c.isVisible(b) {
			continue
		}
		for i, tag := range b.tags.list(c.now) {
			r := tagRecord{b.id, resource, tag.Key, tag.Value, b.seq*64 + uint64(i)}
			if m.match(r) {
				found = append(found, r)
			}
		}
	}
	slices.SortFunc(found, func(a, b tagRecord) int { return cmp.Compare(a.seq, b.seq) })
	items, next, err := page(c, found, in.pageParams, pageLimits{5, 1000}, func(t tagRecord) uint64 { return t.seq })
	return &describeTagsOutput{Next: next, Tags: ec2query.MapSet(items, func(t tagRecord) tagDescriptionXML {
		return tagDescriptionXML{t.id, t.resource, t.key, t.value}
	})}, err
}

// everything iterates over all taggable resources of the region, and the names
// of their kinds.
func (r *region) everything() iter.Seq2[string, *base] {
	return func(yield func(string, *base) bool) {
		for _, s := range r.shelves() {
			for b := range s.all {
				if !yield(s.kind.resource, b) {
					return
				}
			}
		}
	}
}
