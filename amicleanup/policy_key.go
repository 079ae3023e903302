package amicleanup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// A Key extracts a text from an image: the group that it belongs to, its
// release, or its version. The zero Key stands for the default of its field.
type Key struct {
	name string
	of   func(img *Image) (string, bool)
}

// NewKey returns a key computed by of, which reports whether the image has one.
// The name identifies the key in plans and logs.
func NewKey(name string, of func(img *Image) (key string, ok bool)) Key { return Key{name, of} }

// String returns the key's name: `ByTag("role")`.
func (k Key) String() string { return k.name }

// Of returns the key of img, and whether it has one.
func (k Key) Of(img *Image) (key string, ok bool) {
	if k.of == nil {
		return "", false
	}
	return k.of(img)
}

// IsZero reports whether k is the zero value.
func (k Key) IsZero() bool { return k.of == nil }

// ByTag returns the key that is the value of a tag. An empty value does not count.
func ByTag(tag string) Key {
	return NewKey(fmt.Sprintf("ByTag(%q)", tag), func(img *Image) (string, bool) {
		value := img.Tags[tag]
		return value, value != ""
	})
}

// ByDefinition returns the key of images that this library has baked: the name
// of their definition, bake.Image.Name.
func ByDefinition() Key { return named("ByDefinition()", ByTag(tagnames.Image)) }

// SameBuild returns the key for Policy.Release that binds the images that this
// library has baked in one build.
func SameBuild() Key { return named("SameBuild()", ByTag(tagnames.Build)) }

func named(name string, k Key) Key { return Key{name, k.of} }

// CreationDate returns the time at which EC2 made the image. A copy in another
// region has its own, so the same images may be ordered differently there.
func CreationDate(img *Image) (time.Time, error) {
	if img.Created.IsZero() {
		return time.Time{}, errors.New("has no readable creation date")
	}
	return img.Created, nil
}

// TimestampByTag returns a func for Policy.Timestamp that parses the value of a
// tag, which has the given layout of package time.
func TimestampByTag(tag, layout string) func(img *Image) (time.Time, error) {
	return func(img *Image) (time.Time, error) {
		t, err := time.Parse(layout, img.Tags[tag])
		if err != nil {
			return time.Time{}, fmt.Errorf("has tag %s=%q, which does not match %q", tag, img.Tags[tag], layout)
		}
		return t.UTC(), nil
	}
}

// BakeTime returns the time at which this library baked the image. Its copies have
// the same.
func BakeTime(img *Image) (time.Time, error) { return parseUnix(img.Tags[tagnames.Stamp]) }

// compareVersions compares versions part by part: runs of digits as numbers, the
// rest as text. A version with a suffix after a hyphen, as 1.2.0-rc1, is older
// than the one without.
func compareVersions(a, b string) int {
	a, b = strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
	a, _, _ = strings.Cut(a, "+")
	b, _, _ = strings.Cut(b, "+")
	aMain, aPre, _ := strings.Cut(a, "-")
	bMain, bPre, _ := strings.Cut(b, "-")
	if c := compareParts(aMain, bMain); c != 0 {
		return c
	}
	switch {
	case aPre == bPre:
		return 0
	case aPre == "":
		return 1
	case bPre == "":
		return -1
	}
	return compareParts(aPre, bPre)
}

func compareParts(a, b string) int {
	return slices.CompareFunc(versionParts(a), versionParts(b), func(x, y string) int {
		m, mErr := strconv.ParseUint(x, 10, 64)
		n, nErr := strconv.ParseUint(y, 10, 64)
		if mErr == nil && nErr == nil {
			return cmp.Compare(m, n)
		}
		return cmp.Compare(x, y)
	})
}

// versionParts splits a version at separators, and between digits and letters.
func versionParts(version string) []string {
	var parts []string
	for field := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '.' || r == '_' }) {
		from := 0
		for i := 1; i < len(field); i++ {
			if isDigit(field[i]) != isDigit(field[i-1]) {
				parts = append(parts, field[from:i])
				from = i
			}
		}
		parts = append(parts, field[from:])
	}
	return parts
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
