package amicleanup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Policy says which images there are to judge, how they belong together, and
// which of them stay. The zero value removes nothing.
type Policy struct {
	// Select says which images the policy is about.
	Select Select

	// Group says which images belong together. Nil takes {group} of
	// Select.Name, or all that match it when it has no {group}; without a
	// Select.Name it is ByFamily if Select.Baked, and otherwise there is no
	// group, and everything is kept. Images of different architecture are
	// never in one group.
	Group GroupKey

	// Stamp says when an image was made. Nil takes the stamp in Select.Name,
	// else BakeTime if Select.Baked, else CreationDate.
	Stamp StampFunc

	// Keep says which images stay. One keeper is enough; without any, all
	// images stay.
	Keep []Keeper

	// Release says which images, over all targets, are kept or retired
	// together: SameBuild, GroupByTag("commit"). Images without an answer are
	// single. Nil is all images for themselves.
	Release GroupKey

	// Ladder lets images go in steps. The zero value removes at once.
	Ladder Ladder

	// Limits bound what one plan may do. The zero value has few.
	Limits Limits

	// PlanAge is how long a plan may be applied after it was made. Zero is 24
	// hours.
	PlanAge time.Duration
}

const defaultPlanAge = 24 * time.Hour

// Validate reports, joined, what is wrong with the policy. Read, Evaluate and
// the methods of a Cleaner call it.
func (p *Policy) Validate() error {
	errs := []error{p.Select.Validate(), p.Ladder.Validate(), p.Limits.Validate()}
	if p.PlanAge < 0 {
		errs = append(errs, bake.Invalid("Policy.PlanAge", "must not be negative"))
	}
	for i, k := range p.Keep {
		if k == nil {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Keep[%d]", i), "is nil"))
		} else if v, ok := k.(bake.Validator); ok {
			errs = append(errs, v.Validate())
		}
	}
	return errors.Join(errs...)
}

// sources are those of all keepers, each name once.
func (p *Policy) sources() []Source {
	var all []Source
	for _, k := range p.Keep {
		s, ok := k.(interface{ Sources() []Source })
		if !ok {
			continue
		}
		for _, source := range s.Sources() {
			if !slices.ContainsFunc(all, func(have Source) bool { return have.Name() == source.Name() }) {
				all = append(all, source)
			}
		}
	}
	return all
}

// Fingerprint tells policies apart: it is the same for the same settings.
// Apply refuses a plan that a policy of another fingerprint made. A Keeper
// counts by its String method or, without one, by its type; a func by its
// name, so that two closures of one func are the same.
func (p *Policy) Fingerprint() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %v %v %v\n", p.Select.Name, p.Select.Tags, p.Select.Except, p.Select.Baked) // maps print sorted
	fmt.Fprintf(&b, "%s %s %s\n", funcName(p.Group), funcName(p.Stamp), funcName(p.Release))
	for _, k := range p.Keep {
		fmt.Fprintln(&b, keeperName(k))
	}
	fmt.Fprintf(&b, "%v %v\n", p.Ladder, p.Limits)
	return digest(b.String())
}

func keeperName(k Keeper) string {
	if s, ok := k.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", k)
}

// digest tells texts apart.
func digest(text string) string {
	const enough = 8
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:enough])
}

func funcName[F ~func(*Image) (T, E), T, E any](f F) string {
	if f == nil {
		return "nil"
	}
	return runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
}
