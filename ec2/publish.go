package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// A PolicyPublisher is a [bake.Publisher] that declares the permissions it needs,
// for [Policy]: [SSMParameter], [LaunchTemplate] and the publisher that
// amicleanup.AfterBake returns.
type PolicyPublisher interface {
	bake.Publisher

	// IAMPolicy returns the permissions that Publish needs for an artifact in
	// these regions of an account. Policy calls it for each account in which a
	// RegionalPublisher publishes, and only for the Builder's account if the
	// publisher is not one. It does no I/O.
	IAMPolicy(regions ...string) *iampolicy.Document
}

// A RegionalPublisher is a [bake.Publisher] that publishes in the regions and
// accounts that have the AMI, with each account's credentials: [SSMParameter] and
// [LaunchTemplate].
type RegionalPublisher interface {
	bake.Publisher

	// Destinations returns the destinations in which Publish publishes. It
	// returns an error if Publish needs one that is not among all. The first of
	// all is the AMI itself, the others are its copies. It does no I/O.
	Destinations(all []Destination) ([]Destination, error)
}

// A SourcePublisher is a [bake.Publisher] that publishes facts of the AMI that the bake
// started from: [PackerManifest].
type SourcePublisher interface {
	bake.Publisher

	// PreflightSource reports why Publish would fail for a bake that starts from an
	// AMI. It is called before anything is created.
	PreflightSource(source SourceImage) error
}

// A PreflightPublisher is a [bake.Publisher] that can detect before the launch that
// Publish would fail: [SSMParameter] and [LaunchTemplate].
type PreflightPublisher interface {
	bake.Publisher

	// Preflight reports why Publish would fail at a destination. It is called for
	// each destination of a RegionalPublisher, and for all destinations if the
	// publisher is not one. It creates nothing.
	Preflight(ctx context.Context, at Destination) error
}

// A PlannedPublisher is a [bake.Publisher] that declares its API calls, for [Plan]:
// [SSMParameter] and [LaunchTemplate].
type PlannedPublisher interface {
	bake.Publisher

	// PlannedCalls returns the API actions, such as "PutParameter", with which
	// Publish creates, changes or removes something at each destination.
	PlannedCalls() []string
}

// A Destination is a region in an account that has the AMI when it is published.
type Destination struct {
	Region string
	Cloud  *Cloud // the account
}

// everywhere returns the AMI and its copies.
func (a *AMI) everywhere() []AMICopy {
	return append([]AMICopy{{a.Region, a.Account, a.ImageID, a.Snapshots, a.cloud}}, a.Copies...)
}

// publish calls do for the AMI and each copy, or those in regions, one after the
// other. An error does not stop the others.
func (a *AMI) publish(regions []string, do func(place AMICopy) error) error {
	var errs []error
	for _, name := range regions {
		if !slices.ContainsFunc(a.everywhere(), func(p AMICopy) bool { return p.Region == name }) {
			errs = append(errs, &CopyError{Region: name, Err: errors.New("AMI not found")})
		}
	}
	for _, place := range a.everywhere() {
		if len(regions) > 0 && !slices.Contains(regions, place.Region) {
			continue
		}
		if err := do(place); err != nil {
			errs = append(errs, &CopyError{Region: place.Region, Account: place.Account, Err: err})
		}
	}
	return errors.Join(errs...)
}

// destinationsIn returns the destinations in the regions, or all if there are no
// regions. It reports regions that have none.
func destinationsIn(regions []string, all []Destination, field string) ([]Destination, error) {
	if len(regions) == 0 {
		return all, nil
	}
	var missing []string
	for _, name := range regions {
		if !slices.ContainsFunc(all, func(d Destination) bool { return d.Region == name }) {
			missing = append(missing, name)
		}
	}
	var err error
	if len(missing) > 0 {
		err = bake.Invalid(field, "AMI is not copied to %s", strings.Join(missing, ", "))
	}
	return slices.DeleteFunc(slices.Clone(all), func(d Destination) bool { return !slices.Contains(regions, d.Region) }), err
}

// destinations returns where the AMI exists when it is published.
func (b Builder) destinations() []Destination {
	all := b.allDestinations()
	if b.Distribute.OnlyCopies {
		all = all[1:]
	}
	return all
}

// allDestinations returns the region and account of the bake and of each copy.
func (b Builder) allDestinations() []Destination {
	all := make([]Destination, 1, 1+len(b.Distribute.Copies))
	all[0] = Destination{b.place(), b.Cloud}
	for _, c := range b.Distribute.Copies {
		all = append(all, Destination{c.Region, b.cloudOf(c)})
	}
	return all
}

// publishesTo returns the destinations in which a publisher publishes.
func (b Builder) publishesTo(p bake.Publisher) []Destination {
	all := b.destinations()
	if regional, ok := bake.As[RegionalPublisher](p); ok {
		all, _ = regional.Destinations(all) // Validate reports the error
	}
	return all
}

// validatePublishers reports publishers that need the AMI where it is not.
func (b Builder) validatePublishers(img *bake.Image) []error {
	if b.Cloud == nil {
		return nil
	}
	var errs []error
	for _, p := range img.Publishers {
		if regional, ok := bake.As[RegionalPublisher](p); ok {
			if _, err := regional.Destinations(b.destinations()); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// token returns a client token that identifies the request made of parts.
func token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:16])
}

// say reports what a publisher did.
func say(ctx context.Context, format string, args ...any) {
	bake.RunFromContext(ctx).Say(format, args...)
}
