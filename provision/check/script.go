package check

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/denial"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// The script prints each problem on a line that starts with mark and the index of
// the test. The last line is markEnd; without it the script did not run to its end.
const (
	mark    = "bakestone-check "
	markEnd = "bakestone-check done"
)

// functions are the shell functions that tests use.
const functions = `set -f
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
	fmt.Fprintf(&b, "# check: %s\n%s", strings.ReplaceAll(c.String(), "\n", " "), functions)
	for i, t := range c.tests {
		fmt.Fprintf(&b, "n=%d\n(\n%s\n)\n", i, t.script())
	}
	b.WriteString("echo " + posixsh.Quote(markEnd) + "\n")
	return b.String()
}

// run runs the script once.
func (c Checks) run(ctx context.Context, m bake.Machine, script string) ([]Failure, error) {
	out, err := bake.Output(ctx, m, &bake.Cmd{Line: script, Sudo: c.sudo, Quiet: true})
	if err != nil {
		return nil, fmt.Errorf("run tests: %w", err)
	}
	var failures []Failure
	ended := false
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		ended = ended || line == markEnd
		rest, isProblem := strings.CutPrefix(line, mark)
		number, problem, _ := strings.Cut(rest, " ")
		i, err := strconv.Atoi(number)
		if !isProblem || err != nil || i < 0 || i >= len(c.tests) {
			continue
		}
		problem = strings.TrimSpace(problem)
		if !c.sudo && (denial.Is(problem) || problem == notReadable) {
			problem += " (use Checks.AsRoot if it needs root)"
		}
		failures = append(failures, Failure{Test: c.tests[i].String(), Problem: problem})
	}
	if !ended {
		return nil, fmt.Errorf("run tests: incomplete output: %.500q", out)
	}
	return failures, nil
}

// contentScript returns shell code that tests the text in the variable out, which
// what describes.
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

// checkLine reports text that is not within one line.
func checkLine(field, text string) error {
	if strings.ContainsAny(text, "\n\x00") {
		return bake.Invalid(field, "contains a newline or a NUL byte")
	}
	return nil
}

// checkName reports an invalid name of a unit, package or account.
func checkName(field, name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_@][A-Za-z0-9_@:.+\\-]*$`).MatchString(name) {
		return bake.Invalid(field, "invalid name %q", name)
	}
	return nil
}
