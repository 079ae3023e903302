package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
)

//go:embed report.html
var page string

// WriteHTML writes the report as one HTML page without scripts or pictures from
// elsewhere. It contains the output of the machines.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"span": r.span, "spent": amount.Duration, "bytes": amount.Bytes, "clock": func(t time.Time) string { return amount.Clock(t.Sub(r.Started)) }, "lineClass": lineClass, "state": state, "count": r.count, "worth": worth, "contains": strings.Contains, "waited": func(i Image) time.Duration { return i.Started.Sub(r.Started) }, "half": func(l []Line) int { return len(l) / 2 },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("parse report.html: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	return nil
}

// Elapsed returns the duration of the run.
func (r *Report) Elapsed() time.Duration { return r.Finished.Sub(r.Started) }

// worth reports whether the page shows the step: undoing most steps has no effect, or
// removes what was needed for the build only.
func worth(s Step) bool { return !s.Undo || s.Err != "" || s.Elapsed >= time.Second }

// span returns the CSS of a bar that begins at start.
func (r *Report) span(start time.Time, d time.Duration) template.CSS {
	whole := max(r.Elapsed(), 1)
	const percent = 100
	left := percent * float64(start.Sub(r.Started)) / float64(whole)
	width := percent * float64(d) / float64(whole)
	return template.CSS(fmt.Sprintf("left:%.2f%%;width:%.2f%%", min(max(left, 0), percent), min(max(width, 0), percent))) //nolint:gosec // numbers only
}

// A count is a number of images with the same status.
type count struct {
	Status string
	N      int
}

func (r *Report) count() []count {
	images := map[bake.Status]int{}
	for n := range r.Images {
		images[r.Images[n].Status]++
	}
	var counts []count
	for _, status := range append(bake.Statuses(), "") {
		if n := images[status]; n > 0 {
			counts = append(counts, count{state(status), n})
		}
	}
	return counts
}

func state(s bake.Status) string {
	if s == "" {
		return "running"
	}
	return string(s)
}

func lineClass(l Line) string {
	switch {
	case l.Kind == bake.CommandStarted:
		return "command"
	case l.Kind != bake.OutputLine:
		return "message"
	case l.Err:
		return "stderr"
	default:
		return "stdout"
	}
}
