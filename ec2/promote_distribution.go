package ec2

import (
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Distribution is what happens with an AMI once its checks have passed: where
// it is copied to, who may use it, and for how long. The zero value leaves it
// where it was baked, for its own account.
//
// Copies are made all at once and do not depend on each other. When some fail
// after all attempts, the build fails with a [*DistributionError], but the AMI
// and the copies that succeeded stay, are ready for use, and are in the result;
// of those that failed nothing is left. If the build fails or is cancelled in
// any other way, everything is removed.
type Distribution struct {
	// Copies are further places for the AMI; see To.
	Copies []Copy

	// OnlyCopies removes the AMI from where it was baked when all copies have
	// been made; the first of them is then the one that the result names.
	OnlyCopies bool

	// LaunchPermissions are who may launch the AMI, in every place.
	LaunchPermissions Permissions

	// SnapshotPermissions are who may make volumes of its snapshots, in every
	// place. EC2 knows no organizations here. Launching needs none of this.
	SnapshotPermissions Permissions

	// DeprecateAfter is the time from promotion until EC2 shows the AMI as
	// deprecated, and DeprecateAt that moment itself. Only one can be set; zero
	// is never. EC2 takes up to ten years and rounds to minutes.
	DeprecateAfter time.Duration
	DeprecateAt    time.Time

	// Protection guards the AMI against being deregistered, in every place. It
	// is switched on last. AMI.Destroy lifts it.
	Protection Protection

	// AllOrNothing removes the AMI with all its copies when one place fails.
	AllOrNothing bool

	// Parallel is how many places are worked on at once. Zero is 20.
	Parallel int

	// Attempts is how often what failed is tried, places that are done not
	// again. Zero is three times.
	Attempts int

	// Timeout bounds the copying of each attempt, to all places together. Zero is
	// two hours. A copy that takes longer goes on in the next attempt.
	Timeout time.Duration
}

// A Copy is one place for a copy of an AMI. Its tags are those of the AMI, and
// are set in the call that makes the copy.
type Copy struct {
	// Region is where. It is required.
	Region string

	// Cloud is the account that gets the copy, and fetches it with its own
	// rights: see Cloud.Assume. For as long as that takes it may use the AMI and
	// read its snapshots. If they are encrypted, the policy of their key must let
	// that account use it; the key that AWS made for EBS cannot be shared, so what
	// it encrypts cannot be copied either. Nil is the account of the bake; any
	// other must be another account in the same region.
	Cloud *Cloud

	// Encrypted says whether the copy is. The zero value is what the AMI is, or
	// the account demands. What is encrypted stays so.
	Encrypted Setting

	// KMSKey encrypts the copy: id, alias ("alias/images") or ARN of a key of
	// the copy's region. Empty is, if it is encrypted, the account's default key.
	KMSKey string
}

// To is a copy in each of the regions, as encrypted as the AMI itself.
func CopyTo(regions ...string) []Copy {
	copies := make([]Copy, 0, len(regions))
	for _, name := range regions {
		copies = append(copies, Copy{Region: name})
	}
	return copies
}

// Protection is whether an AMI is protected against being deregistered:
// Unprotected, Protected or ProtectedWithCooldown.
type Protection int

// The kinds of protection. With a cooldown the AMI stays protected for a day
// after the protection was switched off, also against Destroy.
const (
	Unprotected Protection = iota
	Protected
	ProtectedWithCooldown
)

const (
	defaultPlaces   = 20
	defaultAttempts = 3
	defaultCopying  = 2 * time.Hour
	longestLife     = 10 * 365 * 24 * time.Hour
)

func (d Distribution) retry() bake.Retry {
	const pause = 5 * time.Second
	attempts := d.Attempts
	switch {
	case len(d.Copies) == 0:
		attempts = 1
	case attempts == 0:
		attempts = defaultAttempts
	}
	return bake.Retry{Attempts: attempts, Delay: pause}
}

func (d Distribution) timeout() time.Duration {
	if d.Timeout == 0 {
		return defaultCopying
	}
	return d.Timeout
}

// deprecation is when the AMI is to be deprecated; the zero time is never.
func (d Distribution) deprecation(now time.Time) time.Time {
	if d.DeprecateAfter > 0 {
		return now.Add(d.DeprecateAfter)
	}
	return d.DeprecateAt
}

func (b Builder) validateDistribution() []error {
	d := b.Distribute
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Distribute."+field, format, args...))
	}
	home := b.Region
	if home == "" && b.Cloud != nil {
		home = b.Cloud.Region()
	}
	seen := map[Copy]bool{}
	for i, c := range d.Copies {
		field := fmt.Sprintf("Copies[%d]", i)
		cloud := c.Cloud
		if cloud == b.Cloud {
			cloud = nil
		}
		place := Copy{Region: c.Region, Cloud: cloud}
		switch {
		case c.Region == "":
			wrong(field+".Region", "is required")
		case c.Region == home && cloud == nil:
			wrong(field+".Region", "%s is where the AMI is baked", home)
		case seen[place]:
			wrong(field, "a copy in %s is given twice", c.Region)
		}
		if c.KMSKey != "" && c.Encrypted == Disabled {
			wrong(field+".KMSKey", "is set although Encrypted is Disabled")
		}
		seen[place] = true
	}
	if d.OnlyCopies && len(d.Copies) == 0 {
		wrong("OnlyCopies", "there are no Copies")
	}
	errs = append(errs, d.LaunchPermissions.validate("Builder.Distribute.LaunchPermissions")...)
	errs = append(errs, d.SnapshotPermissions.validate("Builder.Distribute.SnapshotPermissions")...)
	if len(d.SnapshotPermissions.Organizations)+len(d.SnapshotPermissions.OrganizationalUnits) > 0 {
		wrong("SnapshotPermissions", "EC2 shares snapshots with accounts or everyone, not with organizations")
	}
	switch {
	case d.DeprecateAfter != 0 && !d.DeprecateAt.IsZero():
		wrong("DeprecateAt", "cannot be set together with DeprecateAfter")
	case d.DeprecateAfter < 0 || d.DeprecateAfter > longestLife:
		wrong("DeprecateAfter", "%v is not within 0 and ten years", d.DeprecateAfter)
	case !d.DeprecateAt.IsZero() && b.Cloud != nil && d.DeprecateAt.Before(b.Cloud.options.Clock.Now()):
		wrong("DeprecateAt", "%s has passed", d.DeprecateAt.Format(time.RFC3339))
	}
	if d.Protection < Unprotected || d.Protection > ProtectedWithCooldown {
		wrong("Protection", "%d is none of the choices", d.Protection)
	}
	if d.Parallel < 0 || d.Attempts < 0 || d.Timeout < 0 {
		wrong("Parallel", "neither Parallel nor Attempts nor Timeout may be negative")
	}
	return errs
}
