package amicleanup

import (
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// Tags of this package. They hold all state of a [Lifecycle].
const (
	// TagRetired holds the step of the lifecycle at which an image is, and since
	// when: "deprecated 2026-01-31T03:00:00Z".
	TagRetired = tagnames.Prefix + "retired" // "bakestone:retired"

	// TagShared is the prefix of the tags that hold the launch permissions of a
	// disabled image, which EC2 drops.
	TagShared = tagnames.Prefix + "shared:" // "bakestone:shared:"
)

// managedBy returns the AWS service that manages a resource with these tags, or
// "".
func managedBy(tags map[string]string) string {
	for key := range tags {
		switch {
		case strings.HasPrefix(key, "aws:backup:"):
			return "AWS Backup"
		case strings.HasPrefix(key, "aws:dlm:"), strings.HasPrefix(key, "dlm:managed"):
			return "Data Lifecycle Manager"
		}
	}
	return ""
}

// unfinished reports whether the tags are those of an unfinished build, and until
// when it may run. An invalid time is far in the future.
func unfinished(tags map[string]string) (until time.Time, is bool) {
	text, is := tags[tagnames.Expires]
	if !is {
		return time.Time{}, false
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		const latest = 9999
		until = time.Date(latest, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return until, true
}

// A stage is the step of the lifecycle at which an image is, by its tag.
type stage struct {
	action Action // Deprecate or Disable; empty means none
	since  time.Time
	found  bool // the image had been disabled by someone else

	// Whether this package deprecated the image, and the deprecation time that
	// it had before; zero means none.
	deprecated bool
	before     time.Time
}

// Words of the tag.
const (
	onDeprecated = "deprecated"
	onDisabled   = "disabled"
	onFound      = "found-disabled"
)

// noTime means that the image had no deprecation time.
const noTime = "-"

func stageOf(img *Image) stage {
	words := strings.Fields(img.Tags[TagRetired])
	const most = 3
	if len(words) < 2 || len(words) > most {
		return stage{}
	}
	var r stage
	switch words[0] {
	case onDeprecated:
		r.action = Deprecate
	case onDisabled, onFound:
		r.action, r.found = Disable, words[0] == onFound
	default:
		return stage{}
	}
	var err error
	if r.since, err = time.Parse(time.RFC3339, words[1]); err != nil {
		return stage{}
	}
	if len(words) == most {
		r.deprecated = true
		r.before = timeOf(words[2])
	}
	return r
}

// String returns the value of the tag.
func (r stage) String() string {
	word := onDeprecated
	switch {
	case r.found:
		word = onFound
	case r.action == Disable:
		word = onDisabled
	}
	text := fmt.Sprintf("%s %s", word, r.since.UTC().Format(time.RFC3339))
	switch {
	case r.deprecated && r.before.IsZero():
		text += " " + noTime
	case r.deprecated:
		text += " " + r.before.UTC().Format(time.RFC3339)
	}
	return text
}
