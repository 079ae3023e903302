package check

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A User verifies that an account exists and has certain properties. Fields that
// are not set are not verified.
type User struct {
	// Name is the account's name. It is required.
	Name string

	// Absent requires that the account does not exist.
	Absent bool

	// UID is the expected user ID. Zero, which is root's, is not verified.
	UID int

	// Group is the expected primary group. Groups are other groups that the
	// account must be a member of.
	Group  string
	Groups []string

	// Home and Shell are the expected home directory and login shell.
	Home  string
	Shell string
}

var _ Test = User{}

// String returns "user NAME".
func (u User) String() string { return "user " + u.Name }

// Validate reports an invalid Name and conflicting fields.
func (u User) Validate() error {
	errs := []error{checkName("User.Name", u.Name)}
	if u.Absent && (u.UID != 0 || u.Group != "" || len(u.Groups) > 0 || u.Home != "" || u.Shell != "") {
		errs = append(errs, bake.Invalid("User.Absent", "conflicts with the other fields"))
	}
	return errors.Join(errs...)
}

// script uses id, which knows accounts of every source, and for home and shell
// getent or /etc/passwd.
func (u User) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "u=%s\n", posixsh.Quote(u.Name))
	if u.Absent {
		b.WriteString(`if id -u "$u" >/dev/null 2>&1; then bad "exists"; fi`)
		return b.String()
	}
	b.WriteString("if ! id -u \"$u\" >/dev/null 2>&1; then bad \"does not exist\"; exit; fi\n")
	b.WriteString("line=$( (have getent && getent passwd \"$u\") || grep \"^$(echo \"$u\" | sed 's/\\./\\\\./g'):\" /etc/passwd)\n")
	uid := ""
	if u.UID != 0 {
		uid = strconv.Itoa(u.UID)
	}
	const field = `printf '%s\n' "$line" | cut -d: -f`
	for _, a := range []struct{ what, ask, want string }{
		{"the UID", `id -u "$u"`, uid}, {"the group", `id -gn "$u"`, u.Group},
		{"the home", field + "6", u.Home}, {"the shell", field + "7", u.Shell},
	} {
		if a.want != "" {
			b.WriteString("is" + posixsh.Words(a.what) + " \"$(" + a.ask + ")\"" + posixsh.Words(a.want) + "\n")
		}
	}
	for _, group := range u.Groups {
		fmt.Fprintf(&b, "g=%s\ncase \" $(id -Gn \"$u\") \" in *\" $g \"*) ;; *) bad \"is not a member of $g\" ;; esac\n", posixsh.Quote(group))
	}
	return b.String()
}
