package sshmachine

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/bakestone-go/bakestone/bake"
)

// excludes are the patterns of bake.Upload.Exclude.
type excludes []string

// newExcludes checks the patterns of the given field.
func newExcludes(field string, patterns []string) (excludes, error) {
	var ex excludes
	for i, pattern := range patterns {
		trimmed := strings.TrimSuffix(strings.TrimPrefix(pattern, "./"), "/")
		if trimmed == "" || !doublestar.ValidatePattern(trimmed) {
			return nil, bake.Invalid(fmt.Sprintf("%s[%d]", field, i), "%q is not a pattern", pattern)
		}
		ex = append(ex, trimmed)
	}
	return ex, nil
}

// match reports whether the last element of name, a path below the root, is
// left out. A walk asks for every directory before what is in it.
func (ex excludes) match(name string) bool {
	element := name[strings.LastIndexByte(name, '/')+1:]
	for _, pattern := range ex {
		against := element
		if strings.Contains(pattern, "/") {
			against = name
			pattern = strings.TrimPrefix(pattern, "/")
		}
		if doublestar.MatchUnvalidated(pattern, against) {
			return true
		}
	}
	return false
}

// matchAny reports whether name or a directory that it is in is left out.
func (ex excludes) matchAny(name string) bool {
	for i := 0; len(ex) > 0 && i <= len(name); i++ {
		if (i == len(name) || name[i] == '/') && ex.match(name[:i]) {
			return true
		}
	}
	return false
}
