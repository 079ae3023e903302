package provision

import (
	"bytes"
	"context"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// changedMark begins the line by which a script of this package tells what it
// has changed.
const changedMark = "changed: "

// guestRefused is the exit status of a script of this package that cannot do
// what it should on this machine, however often it is tried.
const guestRefused = 64

// guestTools are the functions that scripts of this package are made of.
const guestTools = `umask 022
changes=
changed() { changes=yes; echo "changed: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }
refuse() { echo "$*" >&2; exit 64; }

# put PATH TEXT writes a file of root's for everybody to read, unless it has
# this text already.
put() {
	if [ ! -f "$1" ] || [ "$(cat "$1")" != "$2" ]; then
		mkdir -p "${1%/*}"
		printf '%s\n' "$2" >"$1.bakestone-new"
		mv -f "$1.bakestone-new" "$1"
		changed "$1"
	fi
}
`

// onGuest runs a script of this package as root, in a single command, and says
// what it has changed. Title is what the command is called in events and
// errors. A script ends at the first command that fails.
func onGuest(ctx context.Context, m bake.Machine, title, script string) error {
	var told changes
	err := m.Run(ctx, &bake.Cmd{
		Line: "# " + strings.ReplaceAll(title, "\n", " ") + "\nset -e\n" + guestTools + script, Sudo: true, Stdout: &told,
	})
	if err != nil {
		return err
	}
	report(ctx, title, told.list)
	return nil
}

// report says what has changed, or that nothing had to.
func report(ctx context.Context, title string, changes []string) {
	if len(changes) == 0 {
		bake.RunFromContext(ctx).Say("%s: already so", title)
		return
	}
	bake.RunFromContext(ctx).Say("%s: changed %s", title, strings.Join(changes, ", "))
}

// changes collects the changes that a script tells of.
type changes struct {
	list    []string
	pending []byte
}

func (c *changes) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		// A line that is no mark need not be kept to its end.
		if len(c.pending) < longestLine {
			c.pending = append(c.pending, line...)
		}
		if !found {
			return n, nil
		}
		if what, ok := strings.CutPrefix(string(c.pending), changedMark); ok {
			c.list = append(c.list, what)
		}
		c.pending, p = c.pending[:0], rest
	}
}
