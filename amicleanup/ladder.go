package amicleanup

import (
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Ladder lets an image that no keeper wants go in steps, the early ones of
// which can be taken back: it is deprecated, so that others do not find it any
// more, then disabled, so that nobody can launch it any more, and only then
// removed. Whoever needs it after all complains while it is still there.
//
// An image goes one step in a run at most. On which rung it is, and since
// when, is in its tag TagRetired; nothing else is remembered. When a keeper
// wants the image again, it is restored: enabled, shared as before, and no
// longer deprecated.
//
// The zero value removes at once. Images that cannot be launched anyway, such
// as failed ones, always go at once.
type Ladder struct {
	// Deprecated is how long an image stays deprecated, at least. Zero leaves
	// the rung out.
	Deprecated time.Duration

	// Disabled is how long an image stays disabled, at least. Zero leaves the
	// rung out. Disabled images cost as much as before: their snapshots stay.
	Disabled time.Duration
}

// Validate reports what is wrong with the ladder.
func (l *Ladder) Validate() error {
	var errs []error
	if l.Deprecated < 0 {
		errs = append(errs, bake.Invalid("Ladder.Deprecated", "must not be negative"))
	}
	if l.Disabled < 0 {
		errs = append(errs, bake.Invalid("Ladder.Disabled", "must not be negative"))
	}
	return errors.Join(errs...)
}

// next is the next step of an image that no keeper wants. Until is set when it
// has to wait for it.
func (l *Ladder) next(img *Image, now time.Time) (next Action, until time.Time) {
	if !img.Usable() && img.State != disabled {
		return Deregister, time.Time{}
	}
	on := rungOf(img)
	switch {
	case img.State == disabled && l.Disabled > 0:
		if on.action != Disable {
			return Disable, time.Time{} // by someone else: its time begins now
		}
		return waited(Deregister, on.since.Add(l.Disabled), now)
	case img.State == disabled:
		return Deregister, time.Time{}
	case l.Deprecated > 0:
		if on.action == "" || !img.deprecated(now) {
			return Deprecate, time.Time{}
		}
		if on.action == Deprecate {
			return waited(l.afterDeprecation(), on.since.Add(l.Deprecated), now)
		}
	}
	return l.afterDeprecation(), time.Time{}
}

func (l *Ladder) afterDeprecation() Action {
	if l.Disabled > 0 {
		return Disable
	}
	return Deregister
}

func waited(next Action, until, now time.Time) (Action, time.Time) {
	if now.Before(until) {
		return next, until
	}
	return next, time.Time{}
}

// deprecated reports whether the image is deprecated by now. EC2 sets the time
// to a minute.
func (img *Image) deprecated(now time.Time) bool {
	return !img.Deprecated.IsZero() && !img.Deprecated.After(now.Add(deprecationSlack))
}

const deprecationSlack = 2 * time.Minute

// stepText says what a waiting image waits for.
func stepText(on rung, next Action, until time.Time) string {
	verb := map[Action]string{Disable: "disable", Deregister: "remove"}[next]
	state := "deprecated"
	if on.action == Disable {
		state = "disabled"
	}
	return fmt.Sprintf("is %s since %s; %s not before %s", state, stampText(on.since), verb, stampText(until))
}

func stampText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}
