package amicleanup

import (
	"errors"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Limits caps what one run may do, in case a policy or the facts that it rests
// on are wrong. Apply counts what it does, whatever the plan says. An image that
// a limit holds back is kept, and the plan names the limit.
type Limits struct {
	// Removals, Disables and Deprecations are the most images that one run
	// removes, disables or deprecates, over all targets together. The oldest
	// images go first; the others wait for the next run. Zero means no limit.
	Removals     int
	Disables     int
	Deprecations int

	// Snapshots is the most snapshots without an image that one run removes,
	// the oldest first, over all targets together. Zero means no limit.
	Snapshots int

	// Fraction is the largest part of a target's selected images that one run
	// disables or removes, above zero and up to one. If the policy wants more
	// to go, nothing goes there. Zero means no limit.
	Fraction float64

	// MinLeft is how many usable images stay in each group, whatever the rules
	// say. Zero means one; the newest usable image always stays.
	MinLeft int

	// AllowUnusableNewest lets images go from groups whose newest image cannot
	// be launched: failed, disabled, or still being made. Otherwise such a
	// group is left alone, since the last good image may be needed.
	AllowUnusableNewest bool

	// Recoverable lets only those images go that the Recycle Bin keeps for this
	// long, with their snapshots kept at least as long, so that Undo can take
	// them back. A new retention rule takes up to 30 minutes to work. Zero
	// disables the check.
	Recoverable time.Duration
}

// Validate returns the joined errors of the limits.
func (l *Limits) Validate() error {
	var errs []error
	for _, n := range []struct {
		field string
		value int
	}{
		{"Removals", l.Removals}, {"Disables", l.Disables}, {"Deprecations", l.Deprecations},
		{"Snapshots", l.Snapshots}, {"MinLeft", l.MinLeft}, {"Recoverable", int(l.Recoverable)},
	} {
		if n.value < 0 {
			errs = append(errs, bake.Invalid("Limits."+n.field, "must not be negative"))
		}
	}
	if l.Fraction < 0 || l.Fraction > 1 {
		errs = append(errs, bake.Invalid("Limits.Fraction", "%v is not between 0 and 1", l.Fraction))
	}
	return errors.Join(errs...)
}

// of returns the limit for an action; zero means none.
func (l *Limits) of(a Action) int {
	switch a {
	case Remove, Unprotect:
		return l.Removals
	case Disable:
		return l.Disables
	case Deprecate:
		return l.Deprecations
	default:
		return 0
	}
}
