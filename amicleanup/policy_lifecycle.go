package amicleanup

import (
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Lifecycle retires an image that no rule keeps in steps, the early ones of
// which can be taken back: the image is deprecated, so that listings of others
// omit it, then disabled, so that it cannot be launched, and then removed.
// Remaining users notice while the image can still be restored.
//
// An image takes at most one step per run. Its step, and since when, is in its
// tag [TagRetired]; nothing else is stored. When a rule keeps the image again,
// it is restored: enabled, shared as before, and no longer deprecated.
//
// The zero value removes at once. Images that cannot be launched anyway, such as
// failed ones, skip the steps.
type Lifecycle struct {
	// DeprecateFor is how long an image stays deprecated, at least. Zero leaves
	// the step out.
	DeprecateFor time.Duration

	// DisableFor is how long an image stays disabled, at least. Zero leaves the
	// step out. Disabled images cost as much as before: their snapshots stay.
	DisableFor time.Duration

	// End is the last step: Deprecate, Disable or Remove. An image stays there
	// until a rule keeps it again. Empty means Remove.
	End Action
}

// Validate returns the joined errors of the lifecycle.
func (l *Lifecycle) Validate() error {
	var errs []error
	if l.DeprecateFor < 0 {
		errs = append(errs, bake.Invalid("Lifecycle.DeprecateFor", "must not be negative"))
	}
	if l.DisableFor < 0 {
		errs = append(errs, bake.Invalid("Lifecycle.DisableFor", "must not be negative"))
	}
	switch l.End {
	case "", Deprecate, Disable, Remove:
	default:
		errs = append(errs, bake.Invalid("Lifecycle.End", "unknown last step %q", l.End))
	}
	return errors.Join(errs...)
}

func (l *Lifecycle) deprecates() bool { return l.DeprecateFor > 0 || l.End == Deprecate }

func (l *Lifecycle) disables() bool {
	return l.End == Disable || l.DisableFor > 0 && l.End != Deprecate
}

func (l *Lifecycle) removes() bool { return l.End == "" || l.End == Remove }

// A step is the next action of the lifecycle for an image.
type step struct {
	action Action    // Deprecate, Disable or Remove; empty if the image is at the last step
	until  time.Time // when the image has to wait until then
}

// next returns the next step of an image that no rule keeps.
func (l *Lifecycle) next(img *Image, now time.Time) step {
	on := stageOf(img)
	switch {
	case !img.Usable() && img.State != disabled:
		return l.remove(time.Time{}, now)
	case img.State == disabled && l.disables() && on.action != Disable:
		return step{action: Disable} // by someone else: its time begins now
	case img.State == disabled && l.disables():
		return l.remove(on.since.Add(l.DisableFor), now)
	case img.State == disabled:
		return l.remove(time.Time{}, now)
	case l.deprecates() && (on.action == "" || !img.deprecated(now)):
		return step{action: Deprecate}
	}
	var until time.Time
	if l.deprecates() && on.action == Deprecate {
		until = on.since.Add(l.DeprecateFor)
	}
	if l.disables() {
		return wait(Disable, until, now)
	}
	return l.remove(until, now)
}

func (l *Lifecycle) remove(until, now time.Time) step {
	if !l.removes() {
		return step{}
	}
	return wait(Remove, until, now)
}

func wait(next Action, until, now time.Time) step {
	if now.Before(until) {
		return step{next, until}
	}
	return step{action: next}
}

// deprecated reports whether the image is deprecated by now. EC2 rounds the time
// to a minute.
func (img *Image) deprecated(now time.Time) bool {
	return !img.Deprecated.IsZero() && !img.Deprecated.After(now.Add(deprecationSlack))
}

const deprecationSlack = 2 * time.Minute

// waitText describes what a waiting image waits for.
func waitText(on stage, next step) string {
	state := "deprecated"
	if on.action == Disable {
		state = "disabled"
	}
	return fmt.Sprintf("is %s since %s; %s not before %s", state, timeText(on.since), next.action, timeText(next.until))
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

// Day is a unit for the durations of rules: YoungerThan(90 * Day).
const Day = 24 * time.Hour

// spanText formats a duration in days where it is whole days.
func spanText(d time.Duration) string {
	switch {
	case d == Day:
		return "1 day"
	case d != 0 && d%Day == 0:
		return fmt.Sprintf("%d days", d/Day)
	default:
		return d.String()
	}
}
