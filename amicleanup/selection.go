package amicleanup

import (
	"errors"

	"github.com/bakestone-go/bakestone/bake"
)

// A Select says which images a policy is about. Every image that it selects
// belongs to the target's own account; all of its conditions hold together.
// The zero value selects all own images.
type Select struct {
	// Name is a pattern for the whole name of an image. In it,
	//
	//	{group}        is one or more characters: the group of the image,
	//	{unix}         is a number: the image's stamp in seconds since 1970,
	//	{time:LAYOUT}  is the image's stamp in a layout of package time, of
	//	               fixed width and in UTC: {time:20060102-150405},
	//	*              is any characters, or none,
	//
	// and everything else is itself. {group} and a stamp may be there once;
	// without {group} all the images that match are one group. Empty matches
	// every name.
	Name string

	// Tags are tags that an image must have, with these values; "*" is any
	// value.
	Tags map[string]string

	// Baked selects only what this library has baked. Unless the Policy says
	// otherwise, the name of the definition is the group and the time of the
	// bake the stamp: both are in tags, and the same for copies in other
	// regions that have the tags.
	Baked bool

	// Except are tags of which an image may not have any; "*" is any value.
	Except map[string]string
}

// Validate reports, joined, what is wrong with the selection.
func (s *Select) Validate() error {
	var errs []error
	if _, err := compile(s.Name); err != nil {
		errs = append(errs, &bake.FieldError{Field: "Select.Name", Err: err})
	}
	for _, tags := range []map[string]string{s.Tags, s.Except} {
		if _, empty := tags[""]; empty {
			errs = append(errs, bake.Invalid("Select", "a tag has no key"))
		}
	}
	return errors.Join(errs...)
}

// tagged reports whether the tags of img are those that s wants.
func (s *Select) tagged(img *Image) bool {
	if s.Baked && (img.Tags[tagFamily] == "" || img.Tags[tagBuild] == "") {
		return false
	}
	for key, value := range s.Tags {
		if !hasTag(img, key, value) {
			return false
		}
	}
	for key, value := range s.Except {
		if hasTag(img, key, value) {
			return false
		}
	}
	return true
}

func hasTag(img *Image, key, value string) bool {
	got, ok := img.Tags[key]
	return ok && (value == "*" || got == value)
}
