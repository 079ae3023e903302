package provision

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A User creates an account on the machine as root, or changes what differs in an
// existing one. The defaults apply to new accounts; for existing accounts, empty
// fields change nothing.
//
// The machine needs useradd, usermod and groupadd, or BusyBox's adduser and
// addgroup, which can create accounts but not change them.
type User struct {
	// Name is the account's name. It is required.
	Name string

	// UID is the user ID. Zero means the next free one.
	UID int

	// System makes it a system account: a low UID, and no home directory unless
	// Home is set.
	System bool

	// Group is the primary group. If empty, the machine chooses it, usually a new
	// group with the account's name. Groups are supplementary groups. Missing
	// groups are created.
	Group  string
	Groups []string

	// Home is the home directory, which is created for a new account. If empty,
	// it is /home/NAME.
	Home string

	// Shell is the login shell. If empty, it is the machine's default.
	Shell string

	// Comment is the user's full name or the account's purpose.
	Comment string

	// AuthorizedKeys are lines to add to the account's authorized_keys file.
	AuthorizedKeys []string

	// LockPassword disables password logins. A new account has no password.
	LockPassword bool
}

var (
	_ bake.Provisioner   = User{}
	_ bake.Validator     = User{}
	_ bake.InputDeclarer = User{}
)

// String returns "user NAME".
func (u User) String() string { return "user " + u.Name }

const maxUID = 1<<32 - 2

// Validate reports invalid names, IDs, paths and keys.
func (u User) Validate() error {
	var errs []error
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
	if !name.MatchString(u.Name) {
		errs = append(errs, bake.Invalid("User.Name", "invalid account name %q", u.Name))
	}
	if u.Group != "" && !name.MatchString(u.Group) {
		errs = append(errs, bake.Invalid("User.Group", "invalid group name %q", u.Group))
	}
	for _, group := range u.Groups {
		if !name.MatchString(group) {
			errs = append(errs, bake.Invalid("User.Groups", "invalid group name %q", group))
		}
	}
	if u.UID < 0 || u.UID > maxUID {
		errs = append(errs, bake.Invalid("User.UID", "invalid user ID %d", u.UID))
	}
	errs = append(errs, checkAbsolute("User.Home", u.Home, optional), checkAbsolute("User.Shell", u.Shell, optional))
	for field, value := range map[string]string{"Home": u.Home, "Shell": u.Shell, "Comment": u.Comment} {
		if strings.ContainsAny(value, ":\n\x00") {
			errs = append(errs, bake.Invalid("User."+field, "contains a colon, a NUL byte or a newline"))
		}
	}
	for i, key := range u.AuthorizedKeys {
		switch field := fmt.Sprintf("User.AuthorizedKeys[%d]", i); {
		case strings.TrimSpace(key) == "" || strings.ContainsAny(strings.TrimSpace(key), "\n\x00"):
			errs = append(errs, bake.Invalid(field, "must be one line"))
		case len(strings.Fields(key)) == 1:
			errs = append(errs, bake.Invalid(field, "%q is not a public key, which has a type, \"ssh-ed25519\", and a text: read the key's file", key))
		}
	}
	if len(u.AuthorizedKeys) > 0 && u.System && u.Home == "" {
		errs = append(errs, bake.Invalid("User.AuthorizedKeys", "requires Home for a System account"))
	}
	return errors.Join(append(errs, checkRedacted("User", u))...)
}

// DeclareInputs declares every field.
func (u User) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", u.Name)
	in.Value("UID", u.UID)
	in.Value("system", u.System)
	in.Value("group", u.Group)
	in.Value("groups", u.Groups)
	in.Value("home", u.Home)
	in.Value("shell", u.Shell)
	in.Value("comment", u.Comment)
	in.Value("keys", u.AuthorizedKeys)
	in.Value("lock", u.LockPassword)
	return nil
}

// Provision creates or changes the account.
func (u User) Provision(ctx context.Context, m bake.Machine) error {
	if err := u.Validate(); err != nil {
		return err
	}
	return runGuestScript(ctx, m, u.String(), u.script())
}

const userFunctions = `
# entry NAME FILE prints the line of an account or group.
entry() { grep "^$(echo "$1" | sed 's/\./\\./g'):" "$2"; }
# field N prints the Nth field of the account in /etc/passwd.
field() { entry "$name" /etc/passwd | cut -d: -f"$1"; }
make_group() {
	if ! entry "$1" /etc/group >/dev/null; then
		if have groupadd; then groupadd ${system:+-r} "$1"; else addgroup ${system:+-S} "$1"; fi
		changed "group $1"
	fi
}
# alter FLAG FIELD WHAT WANTED
alter() {
	if [ "$(field "$2")" != "$4" ]; then
		have usermod || refuse "usermod not found: cannot change the $3 of $name to $4"
		usermod "$1" "$4" "$name"
		changed "$3"
	fi
}
join() {
	case " $(id -nG "$name") " in
	*" $1 "*) ;;
	*)
		if have usermod; then usermod -aG "$1" "$name"; else addgroup "$name" "$1"; fi
		changed "member of $1"
		;;
	esac
}
authorize() {
	home=$(field 6)
	keys=$home/.ssh/authorized_keys
	if [ ! -d "$home/.ssh" ]; then
		mkdir -p "$home/.ssh"
		chmod 700 "$home/.ssh"
		chown "$name:$(id -gn "$name")" "$home/.ssh"
	fi
	if ! grep -qxF -e "$1" "$keys" 2>/dev/null; then
		if [ -s "$keys" ] && [ -n "$(tail -c 1 "$keys")" ]; then echo >>"$keys"; fi
		printf '%s\n' "$1" >>"$keys"
		chmod 600 "$keys"
		chown "$name:$(id -gn "$name")" "$keys"
		changed "an authorized key"
	fi
}
lock() {
	if entry "$name" /etc/shadow | cut -d: -f2 | grep -qv '^[!*]'; then
		if have usermod; then usermod -L "$name"; else passwd -l "$name"; fi
		changed "password locked"
	fi
}
`

// script returns the shell script that creates the account if it is missing, then
// changes what differs.
func (u User) script() string {
	var b strings.Builder
	b.WriteString("name=" + posixsh.Quote(u.Name) + "\nsystem=" + yes(u.System) + "\n" + userFunctions)
	for _, group := range slices.Concat([]string{u.Group}, u.Groups) {
		if group != "" {
			b.WriteString("make_group " + posixsh.Quote(group) + "\n")
		}
	}
	shadow, busybox := u.create()
	fmt.Fprintf(&b, "if ! entry \"$name\" /etc/passwd >/dev/null; then\n\tif have useradd; then useradd%s \"$name\"; else adduser%s \"$name\"; fi\n\tchanged created\nfi\n",
		posixsh.Words(shadow...), posixsh.Words(busybox...))
	for _, a := range []struct{ flag, field, what, want string }{
		{"-u", "3", "UID", number(u.UID)}, {"-c", "5", "comment", u.Comment}, {"-d", "6", "home", u.Home}, {"-s", "7", "shell", u.Shell},
	} {
		if a.want != "" {
			b.WriteString("alter" + posixsh.Words(a.flag, a.field, a.what, a.want) + "\n")
		}
	}
	if u.Group != "" {
		fmt.Fprintf(&b, "alter -g 4 group \"$(entry %s /etc/group | cut -d: -f3)\"\n", posixsh.Quote(u.Group))
	}
	for _, group := range u.Groups {
		b.WriteString("join " + posixsh.Quote(group) + "\n")
	}
	for _, key := range u.AuthorizedKeys {
		b.WriteString("authorize " + posixsh.Quote(strings.TrimSpace(key)) + "\n")
	}
	if u.LockPassword {
		b.WriteString("lock\n")
	}
	return b.String()
}

// create returns the arguments of useradd and of BusyBox's adduser.
func (u User) create() (shadow, busybox []string) {
	busybox = []string{"-D"} // no password, so no prompt
	both := func(shadowFlag, busyboxFlag, value string) {
		if value != "" {
			shadow, busybox = append(shadow, shadowFlag, value), append(busybox, busyboxFlag, value)
		}
	}
	if u.System {
		shadow, busybox = append(shadow, "-r"), append(busybox, "-S")
	}
	if u.System && u.Home == "" {
		shadow, busybox = append(shadow, "-M"), append(busybox, "-H")
	} else {
		shadow = append(shadow, "-m")
	}
	both("-d", "-h", u.Home)
	both("-s", "-s", u.Shell)
	both("-c", "-g", u.Comment)
	both("-u", "-u", number(u.UID))
	both("-g", "-G", u.Group)
	return shadow, busybox
}

// number formats n, and returns "" for zero.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
