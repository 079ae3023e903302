// Package denial recognizes messages of programs that lack the permissions of root.
package denial

import (
	"slices"
	"strings"
)

// Is reports whether a message says that the user lacks a permission that root may
// have.
func Is(message string) bool {
	message = strings.ToLower(message)
	has := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case has("permission denied (") && !has("you must be root"):
		return false // of an SSH server: (publickey,password)
	case has("failed to") && has("access denied"): // systemctl without polkit
		return true
	}
	return slices.ContainsFunc([]string{
		"permission denied", "operation not permitted", "interactive authentication required", "superuser",
		"are you root", "be root", "run as root", "root privileges", "requires root", "only root", "unless you are root", "not root",
	}, has)
}
