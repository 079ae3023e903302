package ec2test

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// instanceRefresh is an instance refresh of a group. While it is active, the group
// launches its target; when it succeeds, the group takes over the desired
// configuration.
type instanceRefresh struct {
	id       string
	seq      uint64
	started  time.Time
	ended    time.Time
	status   string
	reason   string
	desired  *desiredConfiguration
	prefs    refreshPreferences
	strategy string

	target   scalingLaunch           // what it launches now
	before   scalingLaunch           // the group's configuration when it started
	old      map[*scalingMember]bool // to be replaced
	launched map[*scalingMember]bool // while it was active
	total    int                     // instances to replace
	replaced int                     // of them, by healthy and warm instances
	extra    int                     // instances above the desired capacity

	progress   time.Time // of the latest replacement, or the end of a checkpoint
	checkpoint int       // checkpoints passed
	waitsTo    time.Time // end of the delay of a checkpoint
	bakesTo    time.Time // end of the bake time
	back       *rollback
}

type rollback struct {
	reason  string
	started time.Time
	percent int // complete when it started
	left    int // instances to update when it started
}

type desiredConfiguration struct {
	LaunchTemplate       *templateRef
	MixedInstancesPolicy *mixedPolicy
}

type refreshPreferences struct {
	MinHealthyPercentage      *int
	MaxHealthyPercentage      *int
	InstanceWarmup            *int
	CheckpointPercentages     []int
	CheckpointDelay           *int
	SkipMatching              *bool
	AutoRollback              *bool
	ScaleInProtectedInstances string `ec2:"ScaleInProtectedInstances,oneof=Refresh|Ignore|Wait"`
	StandbyInstances          string `ec2:"StandbyInstances,oneof=Terminate|Ignore|Wait"`
	BakeTime                  *int
	AlarmSpecification        *alarmSpecification
}

type alarmSpecification struct {
	Alarms []string
}

// The statuses of a refresh.
const (
	refreshPending    = "Pending"
	refreshInProgress = "InProgress"
	refreshBaking     = "Baking"
	refreshSuccessful = "Successful"
	refreshFailed     = "Failed"
	refreshCancelling = "Cancelling"
	refreshCancelled  = "Cancelled"
	refreshRollback   = "RollbackInProgress"
	refreshRolledBack = "RollbackSuccessful"
	rollbackFailed    = "RollbackFailed"
)

// activeRefresh returns the group's refresh in progress, or nil.
func (g *scalingGroup) activeRefresh() *instanceRefresh {
	if n := len(g.refreshes); n > 0 && g.refreshes[n-1].ended.IsZero() {
		return g.refreshes[n-1]
	}
	return nil
}

type startRefreshInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
	DesiredConfiguration *desiredConfiguration
	Preferences          refreshPreferences
	Strategy             string `ec2:"Strategy,oneof=Rolling|ReplaceRootVolume"`
}

type refreshIDOutput struct {
	ID string `xml:"InstanceRefreshId"`
}

func (c *call) startRefresh(in *startRefreshInput) (*refreshIDOutput, *ec2query.Error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if g.activeRefresh() != nil {
		return nil, ec2query.Errorf("InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
	}
	if err := in.Preferences.check(); err != nil {
		return nil, err
	}
	seq := c.server.nextSeq()
	r := &instanceRefresh{
		id: newID("", seq), seq: seq, started: c.now, progress: c.now, status: refreshPending,
		desired: in.DesiredConfiguration, prefs: in.Preferences, strategy: cmp.Or(in.Strategy, "Rolling"),
		target: g.set.launch(), before: g.set.launch(), launched: make(map[*scalingMember]bool),
	}
	if want := in.DesiredConfiguration; want != nil {
		if (want.LaunchTemplate == nil) == (want.MixedInstancesPolicy == nil) {
			return nil, validationErrorf("A desired configuration must have either a launch template or a mixed instances policy.")
		}
		if err := c.checkLaunch(want.LaunchTemplate, want.MixedInstancesPolicy); err != nil {
			return nil, err
		}
		r.target = scalingLaunch{template: want.LaunchTemplate, mixed: want.MixedInstancesPolicy}
	}
	if truthOf(in.Preferences.AutoRollback) {
		if err := r.reversible(c); err != nil {
			return nil, validationErrorf("%s", err.Message)
		}
	}
	if g.suspended["InstanceRefresh"] {
		return nil, validationErrorf("The InstanceRefresh process of Auto Scaling group %s is suspended.", g.name)
	}
	if err := r.choose(c, g, truthOf(in.Preferences.SkipMatching)); err != nil {
		return nil, validationErrorf("%s", err.Message)
	}
	g.refreshes = append(g.refreshes, r)
	c.keepGroup(g)
	return &refreshIDOutput{r.id}, nil
}

// check validates the preferences.
func (p *refreshPreferences) check() *ec2query.Error {
	const mostBake = 172800
	lowest, highest := intOr(p.MinHealthyPercentage, 90), intOr(p.MaxHealthyPercentage, 100)
	switch {
	case lowest < 0 || lowest > 100:
		return validationErrorf("MinHealthyPercentage must be between 0 and 100.")
	case highest < 100 || highest > 200:
		return validationErrorf("MaxHealthyPercentage must be between 100 and 200.")
	case p.MaxHealthyPercentage != nil && p.MinHealthyPercentage == nil:
		return validationErrorf("You must specify MinHealthyPercentage when you specify MaxHealthyPercentage.")
	case highest-lowest > 100:
		return validationErrorf("The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100.")
	case p.CheckpointDelay != nil && len(p.CheckpointPercentages) == 0:
		return validationErrorf("You must specify CheckpointPercentages when you specify CheckpointDelay.")
	case intOr(p.BakeTime, 0) < 0 || intOr(p.BakeTime, 0) > mostBake:
		return validationErrorf("BakeTime must be between 0 and %d.", mostBake)
	}
	last := 0
	for _, percent := range p.CheckpointPercentages {
		if percent <= last || percent > 100 {
			return validationErrorf("CheckpointPercentages must be unique and in ascending order, between 1 and 100.")
		}
		last = percent
	}
	return nil
}

// reversible reports why the refresh cannot be rolled back.
func (r *instanceRefresh) reversible(c *call) *ec2query.Error {
	switch {
	case r.desired == nil:
		return ec2query.Errorf("IrreversibleInstanceRefresh", "The instance refresh cannot be rolled back because it has no desired configuration.")
	case r.before.floats(c):
		return ec2query.Errorf("IrreversibleInstanceRefresh", "The instance refresh cannot be rolled back because the Auto Scaling group uses the $Latest or $Default version of a launch template, or one with a Systems Manager parameter instead of an AMI ID.")
	}
	return nil
}

// choose marks the members to replace: all, or those not launched with the target.
func (r *instanceRefresh) choose(c *call, g *scalingGroup, skipMatching bool) *ec2query.Error {
	_, with, err := c.launchOptions(r.target)
	if err != nil {
		return err
	}
	r.old = make(map[*scalingMember]bool)
	for _, m := range g.members {
		if m.ends || skipMatching && slices.Contains(with, m.with) {
			continue
		}
		r.old[m] = true
	}
	r.total, r.replaced = len(r.old), 0
	return nil
}

// warmup returns how long an instance of the refresh must be in service.
func (r *instanceRefresh) warmup(g *scalingGroup) time.Duration {
	seconds := intOr(r.prefs.InstanceWarmup, intOr(g.set.DefaultInstanceWarmup, intOr(g.set.HealthCheckGracePeriod, 0)))
	return time.Duration(seconds) * time.Second
}

type cancelRefreshInput struct {
	AutoScalingGroupName          string `ec2:"AutoScalingGroupName,required"`
	WaitForTransitioningInstances *bool
}

func (c *call) cancelRefresh(in *cancelRefreshInput) (*refreshIDOutput, *ec2query.Error) {
	g, r, err := c.cancelable(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	r.status, r.reason, r.extra = refreshCancelling, "Cancelled due to user request.", 0
	if in.WaitForTransitioningInstances != nil && !*in.WaitForTransitioningInstances {
		r.end(c, refreshCancelled)
	}
	c.keepGroup(g)
	return &refreshIDOutput{r.id}, nil
}

// cancelable returns a group with an active refresh that is not being canceled.
func (c *call) cancelable(group string) (*scalingGroup, *instanceRefresh, *ec2query.Error) {
	g, err := c.scalingGroup(group)
	if err != nil {
		return nil, nil, err
	}
	r := g.activeRefresh()
	if r == nil || r.status == refreshCancelling {
		return nil, nil, ec2query.Errorf("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group %s", g.name)
	}
	return g, r, nil
}

type scalingGroupNameInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
}

func (c *call) rollBackRefresh(in *scalingGroupNameInput) (*refreshIDOutput, *ec2query.Error) {
	g, r, err := c.cancelable(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if r.status == refreshRollback {
		return nil, ec2query.Errorf("ActiveInstanceRefreshNotFound", "The Instance Refresh of Auto Scaling group %s is already being rolled back", g.name)
	}
	if err := r.reversible(c); err != nil {
		return nil, err
	}
	if err := c.beginRollback(g, r, "Rollback was initiated manually by the user."); err != nil {
		return nil, err
	}
	c.keepGroup(g)
	return &refreshIDOutput{r.id}, nil
}

type describeRefreshesInput struct {
	AutoScalingGroupName string   `ec2:"AutoScalingGroupName,required"`
	InstanceRefreshIDs   []string `ec2:"InstanceRefreshIds"`
	recordsParams
}

type describeRefreshesOutput struct {
	Refreshes ec2query.Members[refreshXML] `xml:"InstanceRefreshes"`
	Next      string                       `xml:"NextToken,omitempty"`
}

func (c *call) describeRefreshes(in *describeRefreshesInput) (*describeRefreshesOutput, *ec2query.Error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	// The newest comes first.
	var found []*instanceRefresh
	for _, r := range slices.Backward(g.refreshes) {
		if len(in.InstanceRefreshIDs) == 0 || slices.Contains(in.InstanceRefreshIDs, r.id) {
			found = append(found, r)
		}
	}
	items, next, err := page(c, found, in.page(), recordsLimits(), func(r *instanceRefresh) uint64 { return math.MaxUint64 - r.seq })
	return &describeRefreshesOutput{ec2query.MapMembers(items, func(r *instanceRefresh) refreshXML { return r.xml(g) }), next}, err
}

// remaining returns how many members are still to be replaced.
func (r *instanceRefresh) remaining() int {
	return max(0, r.total-r.replaced)
}

// percent returns how much of the refresh is complete; a rollback reduces it to zero.
func (r *instanceRefresh) percent() int {
	done := 100
	if r.total > 0 {
		done = min(100, 100*r.replaced/r.total)
	}
	switch {
	case r.back != nil:
		return r.back.percent * (100 - done) / 100
	case r.status == refreshPending:
		return 0
	case done == 100 && r.total == 0 && r.status == refreshInProgress:
		return 0
	}
	return done
}

// setMembers replaces the set of members by those for which keep returns true.
func setMembers(set map[*scalingMember]bool, keep func(*scalingMember) bool) map[*scalingMember]bool {
	out := maps.Clone(set)
	maps.DeleteFunc(out, func(m *scalingMember, _ bool) bool { return !keep(m) })
	return out
}
