package ec2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// An InstanceRefresh is a [bake.Publisher] that gives the AMI to Auto Scaling groups
// and replaces their instances, by instance refreshes of AWS: a few groups first, then
// the others.
//
//	ec2.InstanceRefresh{Waves: []ec2.Wave{
//		{Groups: []string{"web-canary"}, Checks: []ec2.GroupCheck{ec2.HTTPCheck{Path: "/health", For: 10 * time.Minute}}},
//		{Tags: map[string]string{"service": "web"}},
//	}}
//
// For each group it adds a version with the AMI to the launch template that the group
// uses, and starts a refresh to that version, by number. The group itself changes only
// when its refresh succeeds, so until then what scales out later is the old AMI. A
// group that runs the AMI already is left alone, and a refresh to the same AMI that
// another process has started is joined.
//
// # If it fails
//
// A refresh fails if its instances do not launch or are unhealthy for an hour, or if an
// alarm goes off. AWS then rolls the group back, if it can, and this publisher does
// otherwise. If a refresh or a check fails, the groups of all waves so far are rolled
// back as well, and no other group is begun: the fleet then runs the AMI it ran before.
// The error is a [*RolloutError], which tells what happened to each group. If the bake
// is canceled, or the step's time ends ([bake.Options].StepTimeout, two hours by
// default), the roll back is started but not awaited.
//
// If the process dies, the refresh goes on, and the process that resumes the build
// follows it. An AMI that was taken back from a group is not rolled out again by the
// same build.
//
// # What to roll back to
//
// The description of each new version tells which version it replaced in its group.
// [InstanceRefresh.RollBack] puts that one back with one call, [LastGood] lists them,
// and the source GroupHistory of package amicleanup/inuse protects their AMIs.
type InstanceRefresh struct {
	// Waves are the groups to refresh. Those of a wave are refreshed in parallel, in
	// all regions and accounts that have the AMI; a wave begins when the one before
	// is complete and all its Checks have passed. A group that several waves select
	// belongs to the first of them. At least one is required.
	Waves []Wave

	// Preferences are those of the refreshes.
	Preferences RefreshPreferences

	// RefuseOthers makes it an error if another refresh of a group is in progress,
	// to another AMI. By default its end is awaited.
	RefuseOthers bool

	// NoRollBack leaves the groups as they are if something fails, with instances
	// of both AMIs.
	NoRollBack bool

	// Again also rolls out an AMI that was taken back from a group before.
	Again bool

	// Regions restricts the regions. Empty means all that have the AMI.
	Regions []string
}

// A Wave is a number of Auto Scaling groups that are refreshed at the same time.
type Wave struct {
	// Groups are the names of groups, which must exist.
	Groups []string

	// Tags select groups that have all these tags. Each region must have one.
	Tags map[string]string

	// Checks must pass for each group before the next wave begins. They see the
	// instances that serve.
	Checks []GroupCheck
}

// RefreshPreferences are the preferences of instance refreshes. The zero value
// launches before it terminates, one instance in ten at a time, and replaces all that
// do not run the AMI.
type RefreshPreferences struct {
	// MinHealthy is the percentage of a group's capacity that must stay in service,
	// from 1. Zero means 100, so that a group of one instance keeps serving.
	MinHealthy int

	// MaxHealthy is the percentage up to which a group may grow meanwhile, from 100
	// to 200. Zero means 110, but always at least one instance more if MinHealthy is
	// 100. At most 100 above MinHealthy.
	MaxHealthy int

	// Warmup is how long an instance must be in service before it counts. Zero means
	// the group's DefaultInstanceWarmup, or else its health check's grace period.
	Warmup time.Duration

	// Checkpoints are percentages at which the refresh pauses for CheckpointDelay,
	// ascending up to 100. A zero delay means an hour.
	Checkpoints     []int
	CheckpointDelay time.Duration

	// BakeTime is how long a refresh goes on after the last replacement, during
	// which alarms still end it. At most 48 hours.
	BakeTime time.Duration

	// Alarms are names of CloudWatch alarms that end a refresh.
	Alarms []string

	// Protected says what becomes of instances that are protected from scale in, and
	// Standby of those in the state Standby. If unset, such instances are reported
	// before the bake.
	Protected ProtectedInstances
	Standby   StandbyInstances
}

// ProtectedInstances says what becomes of instances that are protected from scale in.
type ProtectedInstances string

// The choices of RefreshPreferences.Protected.
const (
	RefreshProtected ProtectedInstances = "Refresh" // replace them
	IgnoreProtected  ProtectedInstances = "Ignore"  // keep them, with the AMI they have
	WaitForProtected ProtectedInstances = "Wait"    // fail unless the protection ends within an hour
)

// StandbyInstances says what becomes of instances in the state Standby.
type StandbyInstances string

// The choices of RefreshPreferences.Standby.
const (
	TerminateStandby StandbyInstances = "Terminate" // terminate them
	IgnoreStandby    StandbyInstances = "Ignore"    // keep them, with the AMI they have
	WaitForStandby   StandbyInstances = "Wait"      // fail unless they return within an hour
)

const (
	defaultMinHealthy = 100
	defaultMaxHealthy = 110
	mostHealthy       = 200
	mostBakeTime      = 48 * time.Hour
)

var (
	_ bake.Validator     = InstanceRefresh{}
	_ PolicyPublisher    = InstanceRefresh{}
	_ RegionalPublisher  = InstanceRefresh{}
	_ PreflightPublisher = InstanceRefresh{}
	_ PlannedPublisher   = InstanceRefresh{}
	_ DetailedPublisher  = InstanceRefresh{}
)

// String returns "instance refresh of " and the groups, by wave: "instance refresh of
// web-canary, then service=web".
func (p InstanceRefresh) String() string {
	waves := make([]string, 0, len(p.Waves))
	for _, w := range p.Waves {
		waves = append(waves, w.String())
	}
	return "instance refresh of " + strings.Join(waves, ", then ")
}

// String returns the names of the groups and the tags.
func (w Wave) String() string {
	parts := slices.Clone(w.Groups)
	for _, key := range slices.Sorted(maps.Keys(w.Tags)) {
		parts = append(parts, key+"="+w.Tags[key])
	}
	return strings.Join(parts, " and ")
}

// Validate reports waves without groups and preferences that AWS does not accept.
func (p InstanceRefresh) Validate() error {
	var errs []error
	if len(p.Waves) == 0 {
		errs = append(errs, bake.Invalid("InstanceRefresh.Waves", "is required"))
	}
	seen := map[string]bool{}
	for i, w := range p.Waves {
		field := fmt.Sprintf("InstanceRefresh.Waves[%d]", i)
		if len(w.Groups) == 0 && len(w.Tags) == 0 {
			errs = append(errs, bake.Invalid(field, "needs Groups or Tags"))
		}
		for _, name := range w.Groups {
			switch {
			case strings.TrimSpace(name) == "":
				errs = append(errs, bake.Invalid(field+".Groups", "has an empty name"))
			case seen[name]:
				errs = append(errs, bake.Invalid(field+".Groups", "group %q is named twice", name))
			}
			seen[name] = true
		}
		for j, c := range w.Checks {
			if err := bake.ValidateValue(c); err != nil {
				errs = append(errs, bake.Invalid(fmt.Sprintf("%s.Checks[%d]", field, j), "%w", err))
			}
		}
	}
	return errors.Join(append(errs, p.Preferences.validate())...)
}

func (p RefreshPreferences) validate() error {
	const prefix = "InstanceRefresh.Preferences."
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid(prefix+field, format, args...))
	}
	lowest, highest := p.healthy()
	switch {
	case lowest < 1 || lowest > defaultMinHealthy:
		invalid("MinHealthy", "invalid percentage %d: want 1 to 100", p.MinHealthy)
	case highest < defaultMinHealthy || highest > mostHealthy:
		invalid("MaxHealthy", "invalid percentage %d: want 100 to 200", p.MaxHealthy)
	case highest-lowest > defaultMinHealthy:
		invalid("MaxHealthy", "%d is more than 100 above MinHealthy", p.MaxHealthy)
	}
	for field, d := range map[string]time.Duration{"Warmup": p.Warmup, "CheckpointDelay": p.CheckpointDelay, "BakeTime": p.BakeTime} {
		if d < 0 || d%time.Second != 0 {
			invalid(field, "%v is not a number of seconds from 0", d)
		}
	}
	if p.BakeTime > mostBakeTime {
		invalid("BakeTime", "%v is more than 48 hours", p.BakeTime)
	}
	last := 0
	for _, c := range p.Checkpoints {
		if c <= last || c > defaultMinHealthy {
			invalid("Checkpoints", "percentages must ascend, from 1 to 100")
			break
		}
		last = c
	}
	if n := len(p.Checkpoints); n > 0 && last != defaultMinHealthy {
		invalid("Checkpoints", "must end with 100, or the group keeps instances of both AMIs")
	}
	if p.CheckpointDelay > 0 && len(p.Checkpoints) == 0 {
		invalid("CheckpointDelay", "needs Checkpoints")
	}
	if !slices.Contains([]ProtectedInstances{"", RefreshProtected, IgnoreProtected, WaitForProtected}, p.Protected) {
		invalid("Protected", "unknown value %q", p.Protected)
	}
	if !slices.Contains([]StandbyInstances{"", TerminateStandby, IgnoreStandby, WaitForStandby}, p.Standby) {
		invalid("Standby", "unknown value %q", p.Standby)
	}
	return errors.Join(errs...)
}

// healthy returns the percentages with their defaults.
func (p RefreshPreferences) healthy() (lowest, highest int) {
	lowest, highest = p.MinHealthy, p.MaxHealthy
	if lowest == 0 {
		lowest = defaultMinHealthy
	}
	if highest == 0 {
		highest = min(defaultMaxHealthy, lowest+defaultMinHealthy)
	}
	return lowest, highest
}

// Destinations returns the destinations in Regions.
func (p InstanceRefresh) Destinations(all []Destination) ([]Destination, error) {
	return destinationsIn(p.Regions, all, "InstanceRefresh.Regions")
}

// Publish refreshes the groups, wave by wave.
func (p InstanceRefresh) Publish(ctx context.Context, a bake.Artifact) error {
	ami, err := AMIOf(a)
	if err != nil {
		return err
	}
	var at []refreshPlace
	for _, place := range ami.everywhere() {
		if len(p.Regions) == 0 || slices.Contains(p.Regions, place.Region) {
			at = append(at, refreshPlace{place.cloud.region(place.Region), destinationName(place.Account, place.Region), place.ImageID})
		}
	}
	waves, err := p.findGroups(ctx, at)
	if err != nil {
		return err
	}
	r := &rollout{InstanceRefresh: p, name: ami.Name, build: ami.Build, waves: waves}
	return r.run(ctx)
}
