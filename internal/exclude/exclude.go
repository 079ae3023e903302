// Package exclude says which paths of a tree are left out: what bake.Upload and
// bake.Download mean by their Exclude, in one place for everything that walks
// a tree.
package exclude

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Patterns are patterns that are known to be valid. Nil leaves nothing out.
type Patterns []string

// Parse checks patterns. Its error names all that are none.
func Parse(patterns []string) (Patterns, error) {
	parsed := make(Patterns, 0, len(patterns))
	var bad []string
	for _, pattern := range patterns {
		trimmed := strings.TrimSuffix(strings.TrimPrefix(pattern, "./"), "/")
		if trimmed == "" || !doublestar.ValidatePattern(trimmed) {
			bad = append(bad, strconv.Quote(pattern))
		}
		parsed = append(parsed, trimmed)
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("not a pattern: %s", strings.Join(bad, ", "))
	}
	return parsed, nil
}

// Match reports whether the last element of name, a path below the root with
// slashes, is left out. Whoever walks a tree asks for every directory before
// what is in it.
func (p Patterns) Match(name string) bool {
	for _, pattern := range p {
		against := path.Base(name)
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

// MatchAny reports whether name or a directory that it is in is left out.
func (p Patterns) MatchAny(name string) bool {
	for i := 0; len(p) > 0 && i <= len(name); i++ {
		if (i == len(name) || name[i] == '/') && p.Match(name[:i]) {
			return true
		}
	}
	return false
}
