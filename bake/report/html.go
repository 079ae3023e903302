package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

//go:embed report.html
var page string

// WriteHTML writes the report as one HTML page without scripts or pictures from
// elsewhere. It contains the output of the machines.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"span": r.span, "spent": spent, "bytes": size, "clock": clockText, "lineClass": lineClass, "state": state, "count": r.count, "worth": worth, "contains": strings.Contains, "half": func(l []Line) int { return len(l) / 2 },
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
	var counts []count
	for _, status := range []bake.Status{
		bake.StatusBaked, bake.StatusReused, bake.StatusProvisioned, bake.StatusFailed, bake.StatusSkipped, bake.StatusCanceled, "",
	} {
		n := 0
		for i := range r.Images {
			if r.Images[i].Status == status {
				n++
			}
		}
		if n > 0 {
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

// clockText formats the time since start: "12:05", "1:00:07".
func clockText(start, t time.Time) string {
	const minute = 60
	s := int(t.Sub(start).Round(time.Second).Seconds())
	if s < minute*minute {
		return fmt.Sprintf("%d:%02d", s/minute, s%minute)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/minute/minute, s/minute%minute, s%minute)
}

// spent formats a duration with a resolution that suits it: "240ms", "3.2s", "4m10s".
func spent(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second / 10).String()
	default:
		return d.Round(time.Second).String()
	}
}

// size formats n bytes: "512 B", "3.4 MiB".
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGT"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}
