package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// limitsFile lists the packages with limits above the usual ones, one a line:
// directory, marks, comments that begin "Name is".
const limitsFile = "internal/lint/limits.txt"

const limitsHead = `# Packages that still have stiff English: directory, marks, func comments that begin "Name is".
# Counts may only fall. "go run ./internal/lint -update" writes this file.
`

// A limit is the most that a package may have of what a count counts.
type limit struct{ marks, named int }

// readLimits reads the limits by directory. A missing file has none.
func readLimits(name string) (map[string]limit, error) {
	text, err := os.ReadFile(filepath.Clean(name))
	if os.IsNotExist(err) {
		return nil, nil //nolint:nilnil // a nil map has no limits
	}
	if err != nil {
		return nil, err
	}
	limits := map[string]limit{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var dir string
		var l limit
		if _, err := fmt.Sscan(line, &dir, &l.marks, &l.named); err != nil {
			return nil, fmt.Errorf("parse %s: %q: %w", name, strings.TrimSpace(line), err)
		}
		limits[dir] = l
	}
	return limits, nil
}

// writeLimits writes the limits that counts need.
func writeLimits(name string, counts map[string]*count) error {
	var text bytes.Buffer
	text.WriteString(limitsHead)
	for _, dir := range slices.Sorted(maps.Keys(counts)) {
		if l := counts[dir].limit(); l != (limit{}) {
			fmt.Fprintf(&text, "%s %d %d\n", dir, l.marks, l.named)
		}
	}
	return os.WriteFile(name, text.Bytes(), 0o600)
}
