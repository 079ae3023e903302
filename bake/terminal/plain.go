package terminal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// plain returns the lines that show e where nothing can be drawn: when a step starts or
// is repeated, what machines print, messages, and when a build ends. The output is left as
// it is if raw is set.
func (r *run) plain(e *bake.Event, raw bool) string {
	if r.first.IsZero() {
		r.first = e.Time
	}
	name := flat(e.Image)
	if r.groups != nil && e.Kind == bake.OutputLine {
		r.groups[name] = r.groups[name].add(r.plainLines(e.Time, "", "| "+e.Text, raw))
		return ""
	}
	text := ""
	switch e.Kind {
	case bake.StepStarted:
		text = e.Step
		if e.Attempt > 1 {
			text += fmt.Sprintf(" (attempt %d)", e.Attempt)
		}
	case bake.BuildQueued:
		text = fmt.Sprintf("waits as number %d: %s", e.Queue, e.Text)
	case bake.StepFinished:
		if e.Err != "" {
			reason, _, _ := strings.Cut(e.Err, "\n")
			text = e.Step + " failed: " + visible.Shorten(reason, maxReason) + "; cleaning up"
		}
	case bake.OutputLine:
		text = "| " + e.Text
	case bake.StepRetried:
		text = fmt.Sprintf("%s failed: %s; next attempt in %s", e.Step, e.Err, amount.Duration(e.Delay))
	case bake.BuildRestarted:
		text = "the platform reclaimed the machine; starting again at " + e.Step
	case bake.UndoFinished:
		if e.Err != "" {
			text = e.Step + " failed: " + e.Err
		}
	case bake.BuildResumed:
		text = "resumed at " + cmp.Or(e.Step, "its clean-up")
	case bake.Message:
		text = "  " + e.Text
	case bake.BuildPaused, bake.MachineKept:
		text = e.Text
	case bake.BuildFinished:
		text = strings.TrimSpace(string(e.Status)+" "+e.Text) + " (" + amount.Duration(e.Elapsed) + ")"
		if e.Err != "" {
			text += ": " + cause(e)
		}
	}
	r.names = max(r.names, runewidth.StringWidth(name))
	before := ""
	if e.Kind == bake.BuildFinished {
		before = r.group(name)
	}
	raw = raw && e.Kind == bake.OutputLine
	return before + r.plainLines(e.Time, runewidth.FillRight(name, r.names)+"  ", text, raw)
}

// maxReason limits what is shown of an error that follows in full, in bytes.
const maxReason = 200

// plainLines returns the lines of text with the time and a prefix.
func (r *run) plainLines(at time.Time, prefix, text string, raw bool) string {
	if !raw {
		text = visible.Text(text)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = visible.Disarm(strings.TrimRight(line, "\n"))
		fmt.Fprintf(&b, "%8s  %s%s\n", amount.Clock(at.Sub(r.first)), prefix, line)
	}
	return b.String()
}

// A group holds the last lines that an image printed.
type group struct {
	lines   []string
	bytes   int
	omitted int
}

// add returns the group with a line. It drops the oldest ones of too many.
func (g *group) add(line string) *group {
	const maxBytes = 256 << 10
	if g == nil {
		g = &group{}
	}
	g.lines = append(g.lines, line)
	for g.bytes += len(line); g.bytes > maxBytes && len(g.lines) > 1; g.omitted++ {
		g.bytes -= len(g.lines[0])
		g.lines = g.lines[1:]
	}
	return g
}

// group returns and forgets the output of an image as a group of GitHub Actions.
func (r *run) group(name string) string {
	g := r.groups[name]
	if g == nil {
		return ""
	}
	delete(r.groups, name)
	var b strings.Builder
	fmt.Fprintf(&b, "::group::%s: %d lines of output\n", strings.ReplaceAll(name, "%", "%25"), len(g.lines)+g.omitted)
	if g.omitted > 0 {
		fmt.Fprintf(&b, "… %d lines omitted …\n", g.omitted)
	}
	for _, line := range g.lines {
		b.WriteString(line)
	}
	b.WriteString("::endgroup::\n")
	return b.String()
}

// table returns a table of the results, the failed ones last, and their numbers.
func (v *View) table(results []*bake.Result) string {
	if len(results) <= 1 {
		return "" // the end of the only image was printed
	}
	rows := [][]string{{"IMAGE", "RESULT", "TIME", "SLOWEST STEP", "ARTIFACT"}}
	failed := func(r *bake.Result) int {
		if r.Err != nil {
			return 1
		}
		return 0
	}
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b *bake.Result) int { return failed(a) - failed(b) })
	counts := map[bake.Status]int{}
	for _, r := range results {
		counts[r.Status]++
		artifact := ""
		if r.Artifact != nil {
			artifact = r.Artifact.ID()
		}
		rows = append(rows, []string{flat(visible.Text(r.Image.Name)), string(r.Status), amount.Clock(r.Finished.Sub(r.Started)), slowest(r.Steps), artifact})
	}
	return "\n" + align(rows, v.columns) + "\n" + total(counts) + "\n"
}

// total returns the numbers of images: "38 baked, 2 failed".
func total(counts map[bake.Status]int) string {
	var parts []string
	for _, status := range bake.Statuses() {
		if n := counts[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return strings.Join(parts, ", ")
}

// slowestColumn is missing in a narrow table.
const slowestColumn = 3

// align returns the rows as lines with aligned columns, without the slowest steps if
// they would be longer than columns, unless that is 0.
func align(rows [][]string, columns int) string {
	widths := make([]int, len(rows[0]))
	total := 0
	for c := range widths {
		for _, row := range rows {
			widths[c] = max(widths[c], runewidth.StringWidth(row[c]))
		}
		total += widths[c] + 2 //nolint:mnd // spaces
	}
	narrow := columns > 0 && total > columns
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for c, cell := range row {
			if c != slowestColumn || !narrow {
				line.WriteString(runewidth.FillRight(cell, widths[c]) + "  ")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// slowest describes the step that took longest.
func slowest(steps []bake.StepResult) string {
	var longest bake.StepResult
	for _, s := range steps {
		if s.Elapsed > longest.Elapsed {
			longest = s
		}
	}
	if longest.Elapsed < time.Second {
		return ""
	}
	const maxName = 28
	name := []rune(flat(visible.Text(longest.Name)))
	if len(name) > maxName {
		name = append(name[:maxName-1], '…')
	}
	return fmt.Sprintf("%s (%s)", string(name), amount.Clock(longest.Elapsed))
}
