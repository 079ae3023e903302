package amicleanup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// A Guard names a rule of [Careful] to leave out.
type Guard string

// The guards that Careful can leave out.
const (
	WithoutImageReferences Guard = "image references" // needs permission to let EC2 read Image Builder
	WithoutUsageReports    Guard = "usage reports"    // take EC2 some minutes for each shared image
	WithoutShared          Guard = "shared"           // shared and public images may go
	WithoutParents         Guard = "parents"          // what kept images were made from may go
	WithoutMarked          Guard = "marked"           // tags as do-not-delete do not count
	WithoutLocked          Guard = "locked"           // locked snapshots may lose their image
	WithoutRecent          Guard = "recent"           // images created or launched lately may go
)

// Spans within which Careful keeps images.
const (
	carefulCreated  = 7 * Day
	carefulLaunched = 30 * Day
)

// Careful returns every rule that protects images and needs no parameters. It
// keeps images that
//
//   - anything uses that [inuse.Standard] reads;
//   - EC2 itself knows to be used: by image references, which include recipes of
//     Image Builder, and in other accounts, by usage reports;
//   - are public or shared with anyone;
//   - a kept image was made from;
//   - have a tag such as do-not-delete, legal-hold, keep or protected: see
//     [Marked];
//   - have a locked snapshot;
//   - were created within 7 days or launched within 30 days.
//
// Rules of age and number, such as [NewestUsable], are up to the caller.
// Arguments leave guards out: Careful(WithoutUsageReports).
func Careful(without ...Guard) []Rule {
	has := func(g Guard) bool { return !slices.Contains(without, g) }
	rules := []Rule{InUse(inuse.Standard()...)}
	if has(WithoutImageReferences) {
		rules = append(rules, InUse(inuse.ImageReferences(1)))
	}
	if has(WithoutUsageReports) {
		rules = append(rules, InUse(inuse.UsageReports(nil)))
	}
	if has(WithoutShared) {
		rules = append(rules, Public(), Shared())
	}
	if has(WithoutParents) {
		rules = append(rules, ParentOfKept())
	}
	if has(WithoutMarked) {
		rules = append(rules, Marked())
	}
	if has(WithoutLocked) {
		rules = append(rules, Locked())
	}
	if has(WithoutRecent) {
		rules = append(rules, YoungerThan(carefulCreated), LaunchedWithin(carefulLaunched))
	}
	return rules
}

// Marked keeps images with a tag that asks to keep them: DoNotDelete, DoNotRemove,
// DoNotClean, Keep, Retain, Protected, Protect, LegalHold or Hold, in any case and
// with any of -, _, :, . and spaces between the words, also behind a prefix that
// ends with : or /, such as acme:do-not-delete. The values false, no, off and 0 do
// not count.
func Marked() Rule {
	return NewRule("Marked()", func(g *Group) []Reason {
		var kept []Reason
		for i := range g.Images {
			for key, value := range g.Images[i].Tags {
				if (marks(key) || marks(key[strings.LastIndexAny(key, ":/")+1:])) && !declines(value) {
					kept = append(kept, Reason{ImageID: g.Images[i].ID, Text: fmt.Sprintf("is tagged %s=%s", key, value)})
					break
				}
			}
		}
		return kept
	})
}

// marks reports whether a tag's key asks to keep the image.
func marks(key string) bool {
	const longest = 16
	word := make([]byte, 0, longest) // the key in lower case, without separators
	for i := range len(key) {
		c := key[i]
		switch {
		case c == '-', c == '_', c == ':', c == '.', c == ' ':
			continue
		case len(word) == longest:
			return false
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		word = append(word, c)
	}
	switch string(word) {
	case "donotdelete", "donotremove", "donotclean", "dontdelete", "keep", "retain", "protected", "protect", "legalhold", "hold":
		return true
	default:
		return false
	}
}

func declines(value string) bool {
	switch strings.ToLower(value) {
	case "false", "no", "off", "0":
		return true
	default:
		return false
	}
}

// Locked keeps images of which a snapshot is locked: EC2 would remove the image
// and leave the snapshot.
func Locked() Rule { return locked{} }

type locked struct{}

var _ Rule = locked{}

func (locked) String() string  { return "Locked()" }
func (locked) Validate() error { return nil }
func (locked) Needs() Needs    { return Needs{Locks: true} }

func (locked) Keep(g *Group) []Reason {
	var kept []Reason
	for i := range g.Images {
		if img := g.Images[i]; len(img.Locked) > 0 {
			kept = append(kept, Reason{ImageID: img.ID, Text: "has a locked snapshot", Evidence: img.Locked})
		}
	}
	return kept
}
