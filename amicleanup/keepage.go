package amicleanup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// LaunchedWithin keeps the images that an instance was launched from less than
// age ago. EC2 tells the time up to a day late, so that a day is added. An
// image of which EC2 knows no launch is kept too: that may as well be one that
// was launched before EC2 began to note it, in April 2017, or only a moment
// ago. (EC2, "Check when an Amazon EC2 AMI was last used".)
func LaunchedWithin(age time.Duration) Keeper { return launchedWithin(age) }

type launchedWithin time.Duration

// launchDelay is how late EC2 may tell of a launch.
const launchDelay = 24 * time.Hour

func (age launchedWithin) String() string {
	return fmt.Sprintf("LaunchedWithin(%s)", time.Duration(age))
}

func (age launchedWithin) Validate() error {
	if age <= 0 {
		return bake.Invalid("Keep", "%s: must be more than zero", age)
	}
	return nil
}

func (age launchedWithin) Keep(g *Group) []Reason {
	kept := keepIf(g, func(img *Stamped) bool {
		return !img.LastLaunched.IsZero() && g.Now.Sub(img.LastLaunched) < time.Duration(age)+launchDelay
	}, fmt.Sprintf("was launched within %s", time.Duration(age)))
	unknown := keepIf(g, func(img *Stamped) bool { return img.LastLaunched.IsZero() },
		"may have been launched: EC2 does not know when it was last")
	for i := range unknown {
		unknown[i].Blocked = true
	}
	return append(kept, unknown...)
}

// KeepUntil keeps the images that have the tag until the time in it, which is
// RFC 3339 or only a date: 2026-01-31 is until the end of that day in UTC.
// What cannot be read as a time keeps the image, too.
func KeepUntil(tag string) Keeper { return keepUntil(tag) }

type keepUntil string

func (tag keepUntil) String() string { return fmt.Sprintf("KeepUntil(%q)", string(tag)) }

func (tag keepUntil) Keep(g *Group) []Reason {
	var kept []Reason
	for _, img := range g.Images {
		value, ok := img.Tags[string(tag)]
		if !ok {
			continue
		}
		until, err := parseUntil(value)
		switch {
		case err != nil:
			kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("has tag %s=%q, which is no time", string(tag), value)})
		case g.Now.Before(until):
			kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("is to be kept until %s by its tag %s", stampText(until), string(tag))})
		}
	}
	return kept
}

func parseUntil(value string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, value); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	return time.Parse(time.RFC3339, value)
}

// A Calendar keeps the newest usable image of each of the last days, weeks,
// months and years that have one, as backup tools do: with Daily 7 the newest
// of each of the seven latest days on which there are images, however long ago
// they are. At least one of the numbers is above zero. An image may count for
// several of them.
type Calendar struct {
	Daily   int
	Weekly  int // ISO weeks, which begin on Monday
	Monthly int
	Yearly  int

	// In is the time zone that days begin in. Nil is UTC.
	In *time.Location
}

var _ Keeper = Calendar{}

// String is the calendar as Go writes it.
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

// Validate reports a calendar that keeps nothing.
func (c Calendar) Validate() error {
	var errs []error
	for _, n := range []int{c.Daily, c.Weekly, c.Monthly, c.Yearly} {
		if n < 0 {
			errs = append(errs, bake.Invalid("Calendar", "no number may be negative"))
		}
	}
	if c.Daily+c.Weekly+c.Monthly+c.Yearly == 0 {
		errs = append(errs, bake.Invalid("Calendar", "at least one number must be more than zero"))
	}
	return errors.Join(errs...)
}

func (c Calendar) location() *time.Location {
	if c.In == nil {
		return time.UTC
	}
	return c.In
}

// Keep keeps the newest of each period.
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
			img := &g.Images[i]
			if !img.Usable() {
				continue
			}
			at := period.of(img.Stamp.In(c.location()))
			if seen[at] || len(seen) == period.n {
				continue
			}
			seen[at] = true
			kept = append(kept, Reason{ImageID: img.ID, Text: fmt.Sprintf("is the newest of %s %s", period.name, at)})
		}
	}
	return kept
}
