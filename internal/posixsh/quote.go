// Package posixsh writes text for the shell of a machine, whichever it is: any
// /bin/sh, and the login shell that hands a command line to it.
package posixsh

import "strings"

// Quote makes s one word for a shell, of any kind: not all take \' the same way.
func Quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// Words quotes every word, with a space before each: to follow a command.
func Words(words ...string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" " + Quote(word))
	}
	return b.String()
}
