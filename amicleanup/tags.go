package amicleanup

import (
	"fmt"
	"strings"
	"time"
)

// Tags that package ec2 sets on what it bakes. The two packages do not import
// each other; a test compares the names.
const (
	tagBuild   = "bakestone:build"   // the build that made the image and its snapshots
	tagFamily  = "bakestone:image"   // the name of the definition
	tagExpires = "bakestone:expires" // on what a build has not finished yet
	tagSource  = "bakestone:source"  // the image that it was baked from
	tagStamp   = "bakestone:stamp"   // when it was baked, in seconds since 1970
)

// Tags of this package's own. All state of a Ladder is in them.
const (
	// TagRetired says on which rung of a Ladder an image is and since when:
	// "deprecated 2026-01-31T03:00:00Z".
	TagRetired = "bakestone:retired"

	// TagShared is the prefix of the tags that hold the launch permissions of
	// a disabled image: EC2 forgets them.
	TagShared = "bakestone:shared:"
)

// managedBy says which service of AWS removes the resource by itself, going by
// the tags that the services set; empty is none.
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

// unfinished reports whether the tags are those of a build that has not ended
// well, and until when it may still run. A time that cannot be read is far away.
func unfinished(tags map[string]string) (until time.Time, is bool) {
	text, is := tags[tagExpires]
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

// A rung is where on a Ladder an image is, as its tag says.
type rung struct {
	action Action // Deprecate or Disable; empty is none
	since  time.Time
	found  bool // someone else had disabled it before

	// Whether it was us who deprecated it, and the deprecation time that it
	// had before; zero is none.
	deprecated bool
	before     time.Time
}

// The words for the rungs in the tag.
const (
	onDeprecated = "deprecated"
	onDisabled   = "disabled"
	onFound      = "found-disabled"
)

// noTime stands for "had no deprecation time" in the tag.
const noTime = "-"

func rungOf(img *Image) rung {
	words := strings.Fields(img.Tags[TagRetired])
	const most = 3
	if len(words) < 2 || len(words) > most {
		return rung{}
	}
	var r rung
	switch words[0] {
	case onDeprecated:
		r.action = Deprecate
	case onDisabled, onFound:
		r.action, r.found = Disable, words[0] == onFound
	default:
		return rung{}
	}
	var err error
	if r.since, err = time.Parse(time.RFC3339, words[1]); err != nil {
		return rung{}
	}
	if len(words) == most {
		r.deprecated = true
		r.before = timeOf(&words[2])
	}
	return r
}

// String is the value of the tag.
func (r rung) String() string {
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
