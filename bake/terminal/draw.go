package terminal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
)

// A style adds colors to text.
type style struct{ color bool }

func (s style) sgr(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string { return s.sgr("1", text) }
func (s style) dim(text string) string  { return s.sgr("2", text) }
func (s style) good(text string) string { return s.sgr("32", text) }
func (s style) bad(text string) string  { return s.sgr("31", text) }
func (s style) warn(text string) string { return s.sgr("33", text) }

// mark returns the sign of a status.
func (s style) mark(status bake.Status) string {
	switch status {
	case bake.StatusBaked, bake.StatusReused, bake.StatusProvisioned:
		return s.good("✓")
	case bake.StatusFailed:
		return s.bad("✗")
	default:
		return s.warn("–")
	}
}

// draw replaces the drawing, and prints the lines that scroll away. It leaves the cursor
// at the first column of the drawing, which stays there when the terminal is resized,
// whether that wraps lines, cuts them or moves them to the history.
//
// It overwrites line by line: some terminals keep what is cleared as a whole in their
// history. Lines of the drawing do not wrap even if the terminal finds them wider.
func (v *View) draw() {
	const clearLine, clearBelow, wrapOff, wrapOn = "\x1b[K", "\x1b[J", "\x1b[?7l", "\x1b[?7h"
	var b strings.Builder
	b.WriteString("\r")
	for _, n := range v.run.scroll {
		for _, line := range n.format(v.style, v.columns) {
			b.WriteString(line)
			if w := width(line); w == 0 || w%max(1, v.columns) > 0 { // else it would clear the last column
				b.WriteString(clearLine)
			}
			b.WriteString("\n")
		}
	}
	v.run.scroll = nil
	frame := v.frame(v.columns, v.rows)
	b.WriteString(wrapOff + strings.Join(frame, clearLine+"\n") + clearBelow + wrapOn + "\r")
	if up := len(frame) - 1; up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	v.write(b.String())
	v.changed, v.ticks = false, 0
}

// format returns the lines of a notice.
func (n *notice) format(s style, columns int) []string {
	const around = 4 // the mark and the spaces
	const least = 24 // even if the line wraps
	room := max(least, columns-around-runewidth.StringWidth(n.image))
	lines := make([]string, 0, 1+len(n.lines))
	lines = append(lines, n.mark+" "+s.bold(n.image)+"  "+cut(n.text, room))
	for _, line := range n.lines {
		lines = append(lines, s.bad("│")+" "+expand(line))
	}
	return lines
}

// width returns the columns of text, which may have colors.
func width(text string) int {
	columns := 0
	for text != "" {
		plain, rest, found := strings.Cut(text, "\x1b[")
		columns += runewidth.StringWidth(plain)
		if !found {
			break
		}
		_, text, _ = strings.Cut(rest, "m")
	}
	return columns
}

const (
	scrollShare = 5 // the part of the terminal that is not drawn on
	outputShare = 2 // the part of it that a drawing with output takes
	steadyTicks = 5 // without a resize until images are drawn again
)

// frame returns the lines to draw: a summary and the running images.
//
// A terminal that becomes narrower may wrap the lines, and move those to its history that
// do not fit any more. So lines are no longer than necessary, output is shown within half of
// the rows, and while a terminal is being resized there is only the summary.
func (v *View) frame(columns, rows int) []string {
	if len(v.run.current) == 0 {
		return nil
	}
	now := v.clock.Now()
	frame := []string{v.style.dim(cut(v.run.summary(now), columns))}
	room := rows - len(frame) - max(1, rows/scrollShare)
	if room < 1 || v.steady < steadyTicks {
		return frame
	}
	// Those whose step takes longest are of most interest.
	slow := slices.Clone(v.run.current)
	slices.SortStableFunc(slow, func(a, b *image) int { return a.since.Compare(b.since) })
	shown := v.run.current
	if len(shown) > room {
		slow = slow[:room-1]
		shown = slow
	}
	withOutput := slow[:min(len(slow), max(0, rows/outputShare-len(shown))/keptLines)]
	names := 0
	for _, i := range shown {
		names = max(names, runewidth.StringWidth(i.name))
		v.steps = min(maxStep, max(v.steps, runewidth.StringWidth(v.step(i))))
	}
	names = min(names, columns/3)
	for _, i := range shown {
		frame = append(frame, v.line(i, now, names, columns))
		if slices.Contains(withOutput, i) {
			for _, line := range i.lines {
				frame = append(frame, v.style.dim(cut("  │ "+expand(line), columns)))
			}
		}
	}
	if left := len(v.run.current) - len(shown); left > 0 {
		frame = append(frame, v.style.dim(cut(fmt.Sprintf("… and %d more", left), columns)))
	}
	return frame
}

// summary returns the numbers of images: "12 of 40 ended, 20 running, 1 failed, 4:05".
func (r *run) summary(now time.Time) string {
	ended := 0
	for _, n := range r.ended {
		ended += n
	}
	text := fmt.Sprintf("%d ended", ended)
	if r.images > 0 {
		text = fmt.Sprintf("%d of %d ended", ended, r.images)
	}
	text += fmt.Sprintf(", %d running", len(r.current))
	if failed := r.ended[bake.StatusFailed]; failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text + ", " + amount.Clock(now.Sub(r.first))
}

const (
	barColumns = 12
	minStep    = 16 // columns of a step beside a bar
	maxStep    = 60
)

// line returns the line of an image: name, time, step and bar. In a narrow terminal it
// has the percentage only.
func (v *View) line(i *image, now time.Time, names, columns int) string {
	elapsed := fmt.Sprintf(" %7s  ", amount.Clock(now.Sub(i.since)))
	room := columns - 1 - names - len(elapsed)
	step := v.step(i)
	if room < 1 {
		return cut(i.name+"  "+step, columns)
	}
	head := v.style.bold(runewidth.FillRight(runewidth.Truncate(i.name, names, "…"), names)) + elapsed
	bar, percent, known := v.progress(i, now)
	if !known {
		return head + runewidth.Truncate(step, room, "…")
	}
	if room -= width(bar + percent); room < minStep {
		room, bar = max(0, room+width(bar)), ""
	}
	room = min(room, v.steps)
	return head + runewidth.FillRight(runewidth.Truncate(step, room, "…"), room) + bar + percent
}

// step returns what the image does.
func (v *View) step(i *image) string {
	step := i.step
	if i.attempt > 1 {
		step += fmt.Sprintf(" (attempt %d)", i.attempt)
	}
	if i.what != "" && i.total > 0 {
		step += ": " + i.what
	}
	return flat(step)
}

// progress returns the bar of the image's step and its percentage: done of total, or else
// the share of the time that the step took in another image, if either is known.
func (v *View) progress(i *image, now time.Time) (bar, percent string, known bool) {
	var part float64
	switch took := v.run.took[i.step]; {
	case i.total > 0:
		part = float64(i.done) / float64(i.total)
	case took > 0:
		const notYet = 0.99
		part = min(notYet, float64(now.Sub(i.since))/float64(took))
	default:
		return "", "", false
	}
	part = min(max(part, 0), 1)
	full := int(part * barColumns)
	const hundred = 100
	bar = " " + v.style.good(strings.Repeat("━", full)) + v.style.dim(strings.Repeat("─", barColumns-full))
	return bar, fmt.Sprintf(" %3.0f%%", hundred*part), true
}

// expand replaces tabs, whose width depends on where they are.
func expand(line string) string { return strings.ReplaceAll(line, "\t", "    ") }

// flat replaces what would not stay on the line, or has no fixed width.
func flat(text string) string {
	if !strings.ContainsAny(text, "\n\t") {
		return text
	}
	return strings.NewReplacer("\n", "␊", "\t", " ").Replace(text)
}

// cut shortens text to less than columns.
func cut(text string, columns int) string { return runewidth.Truncate(text, max(1, columns-1), "…") }
