package ec2

import (
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Distribution configures what happens to an AMI after its checks: where it is
// copied, who may use it, and for how long. The zero value keeps it where it was
// baked, for its own account.
//
// Copies are made concurrently and independently. If some still fail after all
// attempts, the build fails with a [*DistributionError], but the AMI and the other
// copies are promoted and are in the result; nothing is left of the failed ones. If
// the build fails for another reason or is canceled, everything is removed.
type Distribution struct {
	// Copies are the additional destinations of the AMI; see CopyTo. The region of
	// the bake may be among them.
	Copies []Copy

	// OnlyCopies removes the AMI from where it was baked when all copies exist.
	// The result's AMI is then the first copy.
	OnlyCopies bool

	// LaunchPermissions grant permission to launch the AMI, at every destination.
	LaunchPermissions Permissions

	// SnapshotPermissions grant permission to create volumes from the snapshots,
	// at every destination. EC2 does not support organizations here. Launching
	// the AMI does not need it.
	SnapshotPermissions Permissions

	// DeprecateAfter is the time from promotion to the AMI's deprecation,
	// DeprecateAt the deprecation time itself. Only one can be set; zero means
	// never. EC2 accepts up to ten years and rounds to minutes.
	DeprecateAfter time.Duration
	DeprecateAt    time.Time

	// Protection enables deregistration protection at every destination, as the
	// last step. AMI.Destroy disables it.
	Protection Protection

	// AllOrNothing removes the AMI and all its copies if one destination fails.
	AllOrNothing bool

	// Parallel limits how many destinations are processed concurrently. Zero
	// means 20.
	Parallel int

	// Attempts limits how often each destination is tried. Zero means three. If AWS
	// refuses all that are left for good, they are not tried again.
	Attempts int

	// Timeout limits the copying to all destinations in each attempt. A copy that
	// takes longer continues in the next attempt. Zero means two hours.
	Timeout time.Duration
}

// A Copy is a destination for a copy of an AMI. The call that makes the copy also
// sets the AMI's tags.
type Copy struct {
	// Region is the destination region. It is required. If it is the region of the
	// bake and Cloud its account, no copy is made: the AMI is already there.
	Region string

	// Cloud is the destination account, which copies the AMI with its own
	// permissions: see Cloud.Assume. While it copies, it may launch the AMI and
	// read its snapshots. If they are encrypted, the key's policy must allow that
	// account to use the key; the AWS managed key for EBS cannot be shared, so
	// AMIs encrypted with it cannot be copied to other accounts. If nil, it is
	// the Builder's account. In the region of the bake, it must be another
	// account.
	Cloud *Cloud

	// Encrypted encrypts the copy. The zero value leaves it as the AMI is, or as
	// the account demands. Copies of encrypted AMIs are always encrypted.
	Encrypted Setting

	// KMSKey is the id, alias ("alias/images") or ARN of a key in the copy's
	// region to encrypt with. Empty means the account's default key, if the copy
	// is encrypted.
	KMSKey string

	index int // in the caller's Distribution.Copies; see withoutHome
}

// CopyTo returns a Copy for each of the regions, encrypted if the AMI is.
func CopyTo(regions ...string) []Copy {
	copies := make([]Copy, 0, len(regions))
	for _, name := range regions {
		copies = append(copies, Copy{Region: name})
	}
	return copies
}

// A Protection is a state of deregistration protection.
type Protection int

// The protection states. With a cooldown the AMI stays protected, even against
// AMI.Destroy, for a day after protection is disabled.
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

// deprecation returns the AMI's deprecation time; zero means never.
func (d Distribution) deprecation(now time.Time) time.Time {
	if d.DeprecateAfter > 0 {
		return now.Add(d.DeprecateAfter)
	}
	return d.DeprecateAt
}

// place returns the region of the bake; empty if it is not set.
func (b Builder) place() string {
	if b.Region == "" && b.Cloud != nil {
		return b.Cloud.Region()
	}
	return b.Region
}

// isHome reports whether a copy would be where the AMI is baked.
func (b Builder) isHome(c Copy) bool { return c.Region == b.place() && b.cloudOf(c) == b.Cloud }

// withoutHome returns the copies that are made, with their index among all of them.
func (b Builder) withoutHome() []Copy {
	others := make([]Copy, 0, len(b.Distribute.Copies))
	for i, c := range b.Distribute.Copies {
		if b.isHome(c) {
			continue
		}
		if c.index == 0 { // not set before
			c.index = i
		}
		others = append(others, c)
	}
	return others
}

func (b Builder) validateDistribution() []error {
	d := b.Distribute
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Distribute."+field, format, args...))
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
			invalid(field+".Region", "is required")
		case zoneName.MatchString(c.Region):
			invalid(field+".Region", "%s is an Availability Zone, want a region", c.Region)
		case seen[place]:
			invalid(field, "copy in %s is given twice", c.Region)
		case b.isHome(c) && (c.Encrypted != Inherit || c.KMSKey != ""):
			invalid(field, "the AMI is baked in %s and not copied there: set Encrypted and KMSKey in Builder.BlockDevices", c.Region)
		}
		if c.KMSKey != "" && c.Encrypted == Disabled {
			invalid(field+".KMSKey", "cannot be set when Encrypted is Disabled")
		}
		seen[place] = true
	}
	switch others := b.withoutHome(); {
	case !d.OnlyCopies:
	case len(others) == 0:
		invalid("OnlyCopies", "needs Copies in other regions or accounts")
	case len(others) < len(d.Copies):
		invalid("OnlyCopies", "would remove the AMI in %s, which Copies names", b.place())
	}
	errs = append(errs, d.LaunchPermissions.validate("Builder.Distribute.LaunchPermissions")...)
	errs = append(errs, d.SnapshotPermissions.validate("Builder.Distribute.SnapshotPermissions")...)
	if len(d.SnapshotPermissions.Organizations)+len(d.SnapshotPermissions.OrganizationalUnits) > 0 {
		invalid("SnapshotPermissions", "snapshots cannot be shared with organizations")
	}
	switch {
	case d.DeprecateAfter != 0 && !d.DeprecateAt.IsZero():
		invalid("DeprecateAt", "cannot be set together with DeprecateAfter")
	case d.DeprecateAfter < 0 || d.DeprecateAfter > longestLife:
		invalid("DeprecateAfter", "%v is not between 0 and ten years", d.DeprecateAfter)
	case !d.DeprecateAt.IsZero() && b.Cloud != nil && d.DeprecateAt.Before(b.Cloud.options.Clock.Now()):
		invalid("DeprecateAt", "%s is in the past", d.DeprecateAt.Format(time.RFC3339))
	}
	if d.Protection < Unprotected || d.Protection > ProtectedWithCooldown {
		invalid("Protection", "unknown value %d", d.Protection)
	}
	if d.Parallel < 0 || d.Attempts < 0 || d.Timeout < 0 {
		invalid("Parallel", "Parallel, Attempts and Timeout must not be negative")
	}
	return errs
}
