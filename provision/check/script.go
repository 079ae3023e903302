package check

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// Every problem is a line behind mark and the test's number. The end is marked,
// too: a script that was cut short found nothing.
const (
	mark    = "bakestone-check "
	markEnd = "everything was looked at"
)

// frame is what all tests use.
const frame = `set -f
PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
bad() { printf 'bakestone-check %s %s\n' "$n" "$(printf '%s' "$*" | tr '\n' ' ')"; }
# is WHAT FOUND WANTED
is() { if [ "$2" != "$3" ]; then bad "$1 is ${2:-empty}, not $3"; fi; }
# holds WHAT TEXT WANTED, and matches WHAT TEXT PATTERN
holds() { case $2 in *"$3"*) ;; *) bad "$1 does not contain: $3" ;; esac; }
matches() { if ! printf '%s\n' "$2" | grep -qE -e "$3"; then bad "$1 does not match: $3"; fi; }
`

func (c Checks) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# check: %s\n%s", strings.ReplaceAll(c.String(), "\n", " "), frame)
	for i, t := range c.Tests {
		fmt.Fprintf(&b, "n=%d\n(\n%s\n)\n", i, t.script())
	}
	b.WriteString("echo " + posixsh.Quote(markEnd) + "\n")
	return b.String()
}

// look runs the script once.
func (c Checks) look(ctx context.Context, m bake.Machine, script string) ([]Failure, error) {
	var out bytes.Buffer
	if err := m.Run(ctx, &bake.Cmd{Line: script, Sudo: c.Sudo, Stdout: &out}); err != nil {
		return nil, fmt.Errorf("look at the machine: %w", err)
	}
	var failures []Failure
	ended := false
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		ended = ended || line == markEnd
		rest, ours := strings.CutPrefix(line, mark)
		number, problem, _ := strings.Cut(rest, " ")
		i, err := strconv.Atoi(number)
		if !ours || err != nil || i < 0 || i >= len(c.Tests) {
			continue
		}
		failures = append(failures, Failure{Test: c.Tests[i].String(), Problem: strings.TrimSpace(problem)})
	}
	if !ended {
		return nil, fmt.Errorf("look at the machine: the script did not come to its end: %.500q", out.String())
	}
	return failures, nil
}

// contentScript looks at the text in the variable out.
func contentScript(what, contains, pattern string) string {
	script := ""
	if contains != "" {
		script += "holds " + posixsh.Quote(what) + ` "$out" ` + posixsh.Quote(contains) + "\n"
	}
	if pattern != "" {
		script += "matches " + posixsh.Quote(what) + ` "$out" ` + posixsh.Quote(pattern) + "\n"
	}
	return script
}

// checkLine reports a text that no line can contain.
func checkLine(field, text string) error {
	if strings.ContainsAny(text, "\n\x00") {
		return bake.Invalid(field, "has an end of line or a NUL byte in it")
	}
	return nil
}

// checkName reports what is no name of anything.
func checkName(field, name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_@][A-Za-z0-9_@:.+\\-]*$`).MatchString(name) {
		return bake.Invalid(field, "%q is not a name", name)
	}
	return nil
}
