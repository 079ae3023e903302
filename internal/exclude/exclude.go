// Package exclude implements the Exclude patterns of bake.Upload and
// bake.Download for everything that walks a tree.
package exclude

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Patterns is a list of valid patterns. Nil excludes nothing.
type Patterns []string

// Parse parses patterns. Its error names all invalid ones.
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
		return nil, fmt.Errorf("invalid patterns: %s", strings.Join(bad, ", "))
	}
	return parsed, nil
}

// Match reports whether name itself, a slash-separated path below the root, is
// excluded. It suits a walk that skips excluded directories; see MatchAny for
// paths without a walk.
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

// MatchAny reports whether name or a directory that contains it is excluded.
func (p Patterns) MatchAny(name string) bool {
	for i := 0; len(p) > 0 && i <= len(name); i++ {
		if (i == len(name) || name[i] == '/') && p.Match(name[:i]) {
			return true
		}
	}
	return false
}
