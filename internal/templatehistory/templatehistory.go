// Package templatehistory keeps in the description of a launch template's version
// which version it replaced in an Auto Scaling group. The chain of these is what the
// group can be rolled back to: versions that failed are not part of it.
package templatehistory

import (
	"fmt"
	"regexp"
	"unicode/utf8"
)

// longest is EC2's limit on a description in characters.
const longest = 255

var replaced = regexp.MustCompile(`\(replaces version ([1-9][0-9]*)\)$`)

// Describe returns the description of a version that replaces another one.
func Describe(name, version string) string {
	suffix := fmt.Sprintf(" (replaces version %s)", version)
	for utf8.RuneCountInString(name)+len(suffix) > longest {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name + suffix
}

// Replaced returns the version that the version with a description replaced.
func Replaced(description string) (version string, ok bool) {
	m := replaced.FindStringSubmatch(description)
	if m == nil {
		return "", false
	}
	return m[1], true
}
