package amicleanup

import (
	"errors"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// A Select selects the images that a policy is about, among those that the
// target's own account owns. All conditions must hold. The zero value selects
// all own images.
type Select struct {
	// Name is a pattern for the whole name of an image. In it,
	//
	//	{group}        matches one or more characters: the group of the image,
	//	{unix}         matches a number: its timestamp in seconds since 1970,
	//	{time:LAYOUT}  matches its timestamp in UTC, in a layout of package time
	//	               of fixed width: {time:20060102-150405},
	//	{version}      matches a version that begins with a digit or with v and
	//	               a digit, as 1.20.3 or v2-rc1,
	//	*              matches any characters, or none,
	//
	// and everything else matches itself. {group}, {version} and a timestamp
	// may occur once; without {group} all matching images form one group. Empty
	// matches every name.
	Name string

	// Tags are tags that an image must have, with these values; "*" matches any
	// value.
	Tags map[string]string

	// Baked selects only images that this library has baked. Unless the Policy
	// says otherwise, the name of the definition is the group and the time of
	// the bake the timestamp. Both are in tags, so copies in other regions have
	// the same if their tags were copied.
	Baked bool

	// Except are tags of which an image must not have any; "*" matches any
	// value.
	Except map[string]string

	// FoldCase compares the values of Tags and Except without regard to case.
	FoldCase bool
}

// Validate returns the joined errors of the selection.
func (s *Select) Validate() error {
	var errs []error
	if _, err := compile(s.Name); err != nil {
		errs = append(errs, &bake.FieldError{Field: "Select.Name", Err: err})
	}
	for _, tags := range []map[string]string{s.Tags, s.Except} {
		if _, empty := tags[""]; empty {
			errs = append(errs, bake.Invalid("Select", "tag without a key"))
		}
	}
	return errors.Join(errs...)
}

// matches reports whether img has the tags that s asks for.
func (s *Select) matches(img *Image) bool {
	if s.Baked && (img.Tags[tagnames.Image] == "" || img.Tags[tagnames.Build] == "") {
		return false
	}
	for key, value := range s.Tags {
		if !s.has(img, key, value) {
			return false
		}
	}
	for key, value := range s.Except {
		if s.has(img, key, value) {
			return false
		}
	}
	return true
}

func (s *Select) has(img *Image, key, value string) bool {
	if s.FoldCase && strings.EqualFold(img.Tags[key], value) {
		return hasTag(img.Tags, key, "*")
	}
	return hasTag(img.Tags, key, value)
}

// hasTag reports whether tags have the key with a value; "*" matches any.
func hasTag(tags map[string]string, key, value string) bool {
	got, ok := tags[key]
	return ok && (value == "*" || got == value)
}
