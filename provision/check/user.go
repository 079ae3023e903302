package check

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// User is an account that must be there.
type User struct {
	// Name is the name of the account.
	Name string

	// Absent wants that there is none.
	Absent bool

	// UID is its number. Zero does not count, since it is root's.
	UID int

	// Group is its first group, and Groups are others of which it must be a
	// member.
	Group  string
	Groups []string

	// Home and Shell are those of passwd(5).
	Home  string
	Shell string
}

// String is "user NAME".
func (u User) String() string { return "user " + u.Name }

// Validate reports a missing Name, and what contradicts itself.
func (u User) Validate() error {
	errs := []error{checkName("User.Name", u.Name)}
	if u.Absent && (u.UID != 0 || u.Group != "" || len(u.Groups) > 0 || u.Home != "" || u.Shell != "") {
		errs = append(errs, bake.Invalid("User.Absent", "contradicts the other fields"))
	}
	return errors.Join(errs...)
}

// script asks id, which knows accounts of every kind, and looks up in
// /etc/passwd what id does not tell.
func (u User) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "u=%s\n", posixsh.Quote(u.Name))
	if u.Absent {
		b.WriteString(`if id -u "$u" >/dev/null 2>&1; then bad "it is there"; fi`)
		return b.String()
	}
	b.WriteString("if ! id -u \"$u\" >/dev/null 2>&1; then bad \"it is missing\"; exit; fi\n")
	b.WriteString("line=$( (have getent && getent passwd \"$u\") || grep \"^$u:\" /etc/passwd)\n")
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
		fmt.Fprintf(&b, "g=%s\ncase \" $(id -Gn \"$u\") \" in *\" $g \"*) ;; *) bad \"it is no member of $g\" ;; esac\n", posixsh.Quote(group))
	}
	return b.String()
}
