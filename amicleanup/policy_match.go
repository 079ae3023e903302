package amicleanup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Match selects images that must go, for Policy.Remove.
type Match struct {
	name string
	of   func(img *Image, now time.Time) bool

	// unclear, if not nil, returns why an image stays because of something that could not
	// be read, or "".
	unclear func(img *Image) string
}

// NewMatch returns a match for the images for which of returns true at the time
// of the plan. The name identifies it in plans.
func NewMatch(name string, of func(img *Image, now time.Time) bool) Match {
	return Match{name: name, of: of}
}

// String returns the match's name: `DeleteAfter("delete-after")`.
func (m Match) String() string { return m.name }

// DeleteAfter matches images whose tag holds a time that has passed, in RFC 3339
// or as a date: 2026-01-31 passes at the end of that day in UTC. A tag that holds
// something else keeps the image, unless another match asks for it.
func DeleteAfter(tag string) Match {
	m := NewMatch(fmt.Sprintf("DeleteAfter(%q)", tag), func(img *Image, now time.Time) bool {
		at, err := parseUntil(img.Tags[tag])
		return err == nil && !now.Before(at)
	})
	m.unclear = func(img *Image) string { return invalidTime(img, tag) }
	return m
}

// Abandoned matches the images of families that are no longer built, by patterns
// for their whole name, in which * matches any characters: "old-web *".
func Abandoned(names ...string) Match {
	return NewMatch(fmt.Sprintf("Abandoned(%s)", strings.Join(names, ", ")), func(img *Image, _ time.Time) bool {
		return slices.ContainsFunc(names, func(pattern string) bool { return globMatch(pattern, img.Name) })
	})
}

// WithID matches images by id.
func WithID(ids ...string) Match {
	set := setOf(ids)
	return NewMatch("WithID("+idsText(slices.Sorted(maps.Keys(set)))+")", func(img *Image, _ time.Time) bool { return set[img.ID] })
}

// globMatch reports whether pattern, with * for any characters, matches all of
// text.
func globMatch(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(text, first) || !strings.HasSuffix(text[len(first):], last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}
