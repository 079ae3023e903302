package amicleanup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// YoungerThan keeps images whose timestamp or creation date is less than age
// ago. An old image that was copied or restored lately counts as young.
func YoungerThan(age time.Duration) Rule { return youngerThan(age) }

type youngerThan time.Duration

var _ Rule = youngerThan(0)

func (age youngerThan) String() string {
	return fmt.Sprintf("YoungerThan(%s)", spanText(time.Duration(age)))
}

func (age youngerThan) Validate() error {
	if age <= 0 {
		return bake.Invalid("Keep", "%s: must be positive", age)
	}
	return nil
}

func (youngerThan) Needs() Needs { return Needs{} }

func (age youngerThan) Keep(g *Group) []Reason {
	span := time.Duration(age)
	return append(
		keepIf(g, func(img *Image) bool { return g.Now.Sub(img.Timestamp) < span },
			Reason{Text: "is younger than " + spanText(span), Retention: true}),
		keepIf(g, func(img *Image) bool { return g.Now.Sub(img.Timestamp) >= span && g.Now.Sub(img.Created) < span },
			Reason{Text: "was created within " + spanText(span), Retention: true})...)
}

// LaunchedWithin keeps images that an instance was launched from less than age
// ago. EC2 reports launches up to a day late, so a day is added. EC2 has recorded
// launches since April 2017; an older image without a recorded launch is kept,
// and a newer one was never launched. See EC2, "Check when an Amazon EC2 AMI was
// last used".
func LaunchedWithin(age time.Duration) Rule { return launchedWithin(age) }

type launchedWithin time.Duration

var _ Rule = launchedWithin(0)

// launchDelay is how late EC2 may report a launch.
const launchDelay = Day

// launchesRecorded returns the time since which EC2 has certainly recorded
// launches.
func launchesRecorded() time.Time { return time.Date(2017, time.May, 1, 0, 0, 0, 0, time.UTC) }

func (age launchedWithin) String() string {
	return fmt.Sprintf("LaunchedWithin(%s)", spanText(time.Duration(age)))
}

func (age launchedWithin) Validate() error {
	if age <= 0 {
		return bake.Invalid("Keep", "%s: must be positive", age)
	}
	return nil
}

func (launchedWithin) Needs() Needs { return Needs{} }

func (age launchedWithin) Keep(g *Group) []Reason {
	span := time.Duration(age)
	kept := keepIf(g, func(img *Image) bool {
		return !img.LastLaunched.IsZero() && g.Now.Sub(img.LastLaunched) < span+launchDelay
	},
		Reason{Text: "was launched within " + spanText(span)})
	kept = append(kept, keepIf(g, func(img *Image) bool { return img.LastLaunched.IsZero() && img.Created.Before(launchesRecorded()) },
		Reason{Text: "may have been launched before EC2 recorded launches", Blocked: true})...)
	return append(kept, keepIf(g, func(img *Image) bool {
		return img.LastLaunched.IsZero() && !img.Created.Before(launchesRecorded()) && g.Now.Sub(img.Created) < launchDelay
	}, Reason{Text: "may have been launched: EC2 reports launches a day late", Blocked: true})...)
}

// KeepUntil keeps images that have the tag until the time in it, which is RFC
// 3339 or a date: 2026-01-31 lasts until the end of that day in UTC. A value that
// is not a time keeps the image.
func KeepUntil(tag string) Rule {
	return NewRule(fmt.Sprintf("KeepUntil(%q)", tag), func(g *Group) []Reason {
		var kept []Reason
		for i := range g.Images {
			img := g.Images[i]
			value, ok := img.Tags[tag]
			if !ok {
				continue
			}
			until, err := parseUntil(value)
			switch {
			case err != nil:
				kept = append(kept, Reason{ImageID: img.ID, Text: invalidTime(img, tag)})
			case g.Now.Before(until):
				kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("is to be kept until %s by its tag %s", timeText(until), tag)})
			}
		}
		return kept
	})
}

// invalidTime returns why an image stays whose tag does not hold a time, or "".
func invalidTime(img *Image, tag string) string {
	value, ok := img.Tags[tag]
	if _, err := parseUntil(value); !ok || err == nil {
		return ""
	}
	return fmt.Sprintf("has an invalid time in tag %s=%q", tag, value)
}

func parseUntil(value string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, value); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	return time.Parse(time.RFC3339, value)
}

// A Calendar is a [Rule] that keeps the newest usable image of each of the last
// days, weeks, months and years that have one, as backup tools do. Daily: 7 keeps
// the newest image of each of the last seven days with images, however long ago
// they are. At least one number is positive. An image may count for several
// periods.
type Calendar struct {
	Daily   int
	Weekly  int // ISO weeks, which begin on Monday
	Monthly int
	Yearly  int

	// In is the time zone in which days begin. If nil, UTC is used.
	In *time.Location
}

var _ Rule = Calendar{}

// String returns the calendar as Go writes it.
func (c Calendar) String() string {
	var parts []string
	for _, part := range []struct {
		n    int
		name string
	}{{c.Daily, "Daily"}, {c.Weekly, "Weekly"}, {c.Monthly, "Monthly"}, {c.Yearly, "Yearly"}} {
		if part.n != 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", part.name, part.n))
		}
	}
	if c.In != nil {
		parts = append(parts, "In: "+c.In.String())
	}
	return "Calendar{" + strings.Join(parts, ", ") + "}"
}

// Needs returns the zero value.
func (Calendar) Needs() Needs { return Needs{} }

// Validate reports negative numbers and a calendar that keeps nothing.
func (c Calendar) Validate() error {
	var errs []error
	for _, n := range []int{c.Daily, c.Weekly, c.Monthly, c.Yearly} {
		if n < 0 {
			errs = append(errs, bake.Invalid("Calendar", "numbers must not be negative"))
		}
	}
	if c.Daily+c.Weekly+c.Monthly+c.Yearly == 0 {
		errs = append(errs, bake.Invalid("Calendar", "at least one number must be positive"))
	}
	return errors.Join(errs...)
}

func (c Calendar) location() *time.Location {
	if c.In == nil {
		return time.UTC
	}
	return c.In
}

// Keep returns a reason for the newest image of each period.
func (c Calendar) Keep(g *Group) []Reason {
	var kept []Reason
	for _, period := range []struct {
		n    int
		name string
		of   func(time.Time) string
	}{
		{c.Daily, "day", func(t time.Time) string { return t.Format(time.DateOnly) }},
		{c.Weekly, "week", func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{c.Monthly, "month", func(t time.Time) string { return t.Format("2006-01") }},
		{c.Yearly, "year", func(t time.Time) string { return t.Format("2006") }},
	} {
		seen := map[string]bool{}
		for i := range g.Images {
			img := g.Images[i]
			if !img.Usable() {
				continue
			}
			at := period.of(img.Timestamp.In(c.location()))
			if seen[at] || len(seen) == period.n {
				continue
			}
			seen[at] = true
			kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("is the newest of %s %s", period.name, at), Retention: true})
		}
	}
	return kept
}
