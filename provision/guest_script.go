package provision

import (
	"context"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// changedMark begins the lines in which a guest script reports its changes.
const changedMark = "changed: "

// guestRefused is the exit status of a guest script that cannot work on this
// machine, so retrying is pointless.
const guestRefused = 64

// guestFunctions are the shell functions that guest scripts use.
const guestFunctions = `umask 022
changes=
changed() { changes=yes; echo "changed: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }
refuse() { echo "$*" >&2; exit 64; }

# put PATH TEXT writes a world-readable file, unless it already has this text.
put() {
	if [ ! -f "$1" ] || [ "$(cat "$1")" != "$2" ]; then
		mkdir -p "${1%/*}"
		printf '%s\n' "$2" >"$1.bakestone-new"
		mv -f "$1.bakestone-new" "$1"
		changed "$1"
	fi
}
`

// runGuestScript runs a shell script as root, in a single command, and reports
// what it changed. The title names the command in events and errors. The script
// stops at the first command that fails.
func runGuestScript(ctx context.Context, m bake.Machine, title, script string) error {
	var changes []string
	stdout := &lineWriter{line: func(line string) {
		if change, ok := strings.CutPrefix(line, changedMark); ok {
			changes = append(changes, change)
		}
	}}
	err := m.Run(ctx, &bake.Cmd{
		Line: "# " + strings.ReplaceAll(title, "\n", " ") + "\nset -e\n" + guestFunctions + script, Sudo: true, Stdout: stdout,
	})
	if err != nil {
		return err
	}
	reportChanges(ctx, title, changes)
	return nil
}

func reportChanges(ctx context.Context, title string, changes []string) {
	if len(changes) == 0 {
		bake.RunFromContext(ctx).Say("%s: unchanged", title)
		return
	}
	bake.RunFromContext(ctx).Say("%s: changed %s", title, strings.Join(changes, ", "))
}
