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

// toEnd clears the rest of a line.
const toEnd = "\x1b[K\n"

// draw replaces the drawing, and prints the lines that scroll away. It overwrites line by
// line: some terminals keep what is cleared as a whole in their history.
func (v *View) draw() {
	columns, rows := v.size()
	var b strings.Builder
	if up := height(v.drawn, columns); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r")
	for _, n := range v.run.scroll {
		text := cut(n.text, columns-4-runewidth.StringWidth(n.image)) //nolint:mnd // the mark and the spaces
		b.WriteString(n.mark + " " + v.style.bold(n.image) + "  " + text + toEnd)
		for _, line := range n.lines {
			b.WriteString(v.style.bad("│") + " " + line + toEnd)
		}
	}
	v.run.scroll = nil
	v.drawn = v.frame(columns, rows)
	for _, line := range v.drawn {
		b.WriteString(line + toEnd)
	}
	b.WriteString("\x1b[J")
	v.write(b.String())
}

// height returns the rows that lines take, which a narrower terminal wraps.
func height(lines []string, columns int) int {
	rows := 0
	for _, line := range lines {
		rows += max(1, (width(line)+columns-1)/columns)
	}
	return rows
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

// scrollShare is the part of the terminal that is not drawn on.
const scrollShare = 5

// frame returns the lines to draw: a summary and the running images.
func (v *View) frame(columns, rows int) []string {
	if len(v.run.current) == 0 {
		return nil
	}
	now := v.clock.Now()
	frame := []string{v.style.dim(cut(v.run.summary(now), columns))}
	// A row for the cursor, and some for what scrolled away last.
	room := max(1, rows-len(frame)-1-rows/scrollShare)
	shown := v.run.current
	if len(shown) > room {
		// Those whose step takes longest are of most interest.
		shown = slices.Clone(shown)
		slices.SortStableFunc(shown, func(a, b *image) int { return a.since.Compare(b.since) })
		shown = shown[:room-1]
	}
	withOutput := len(shown)*(1+keptLines) <= room
	names := 0
	for _, i := range shown {
		names = max(names, runewidth.StringWidth(i.name))
	}
	names = min(names, columns/3)
	for _, i := range shown {
		frame = append(frame, v.line(i, now, names, columns))
		if withOutput {
			for _, line := range i.lines {
				frame = append(frame, v.style.dim(cut("  │ "+strings.ReplaceAll(line, "\t", "    "), columns)))
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

const barColumns = 12

// line returns the line of an image: name, step, bar and time.
func (v *View) line(i *image, now time.Time, names, columns int) string {
	bar, known := v.bar(i, now)
	end := bar + fmt.Sprintf(" %7s", amount.Clock(now.Sub(i.since)))
	name := runewidth.FillRight(runewidth.Truncate(i.name, names, "…"), names)
	room := columns - 1 - names - 2 - width(end)
	step := i.step
	if i.attempt > 1 {
		step += fmt.Sprintf(" (attempt %d)", i.attempt)
	}
	if i.what != "" && known {
		step += ": " + i.what
	}
	step = flat(step)
	if room < 1 {
		return cut(i.name+"  "+step, columns)
	}
	return v.style.bold(name) + "  " + runewidth.FillRight(runewidth.Truncate(step, room, "…"), room) + end
}

// bar returns the bar of the image's step with its percentage: done of
// total, or else the share of the time that the step took in another image. It is empty
// if neither is known.
func (v *View) bar(i *image, now time.Time) (bar string, known bool) {
	var part float64
	switch took := v.run.took[i.step]; {
	case i.total > 0:
		part, known = float64(i.done)/float64(i.total), true
	case took > 0:
		const notYet = 0.99
		part = min(notYet, float64(now.Sub(i.since))/float64(took))
	default:
		return "", false
	}
	part = min(max(part, 0), 1)
	full := int(part * barColumns)
	const percent = 100
	return " " + v.style.good(strings.Repeat("━", full)) + v.style.dim(strings.Repeat("─", barColumns-full)) + fmt.Sprintf(" %3.0f%%", percent*part), known
}

// flat replaces what would not stay on the line, or has no fixed width.
func flat(text string) string {
	if !strings.ContainsAny(text, "\n\t") {
		return text
	}
	return strings.NewReplacer("\n", "␊", "\t", " ").Replace(text)
}

// cut shortens text to less than columns.
func cut(text string, columns int) string { return runewidth.Truncate(text, max(1, columns-1), "…") }
