package ec2test

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// instanceRefresh is an instance refresh of a group. It is in progress for
// Latency.Refresh; then the group takes over its desired configuration.
type instanceRefresh struct {
	id         string
	seq        uint64
	started    time.Time
	doneAt     time.Time
	canceledAt time.Time
	desired    *desiredConfiguration
	prefs      refreshPreferences
	strategy   string
	adopted    bool
}

type desiredConfiguration struct {
	LaunchTemplate       *templateRef
	MixedInstancesPolicy *mixedPolicy
}

type refreshPreferences struct {
	MinHealthyPercentage *int
	MaxHealthyPercentage *int
	InstanceWarmup       *int
	SkipMatching         *bool
	AutoRollback         *bool
}

func (r *instanceRefresh) status(now time.Time) string {
	switch {
	case !r.canceledAt.IsZero():
		return "Cancelled"
	case now.Before(r.doneAt):
		return "InProgress"
	}
	return "Successful"
}

// activeRefresh returns the group's refresh in progress, or nil.
func (g *scalingGroup) activeRefresh(now time.Time) *instanceRefresh {
	for _, r := range g.refreshes {
		if r.status(now) == "InProgress" {
			return r
		}
	}
	return nil
}

// applyRefreshes sets the group's configuration to that of its latest
// successful refresh.
func (g *scalingGroup) applyRefreshes(now time.Time) {
	for _, r := range g.refreshes {
		if r.adopted || r.desired == nil || r.status(now) != "Successful" {
			continue
		}
		r.adopted = true
		g.set.LaunchConfigurationName = ""
		g.set.LaunchTemplate, g.set.MixedInstancesPolicy = r.desired.LaunchTemplate, r.desired.MixedInstancesPolicy
	}
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
	if g.activeRefresh(c.now) != nil {
		return nil, ec2query.Errorf("InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
	}
	if want := in.DesiredConfiguration; want != nil {
		if (want.LaunchTemplate == nil) == (want.MixedInstancesPolicy == nil) {
			return nil, validationErrorf("A desired configuration must have either a launch template or a mixed instances policy.")
		}
		if err := c.checkLaunch(want.LaunchTemplate, want.MixedInstancesPolicy); err != nil {
			return nil, err
		}
	}
	seq := c.server.nextSeq()
	r := &instanceRefresh{
		id: newID("", seq), seq: seq, started: c.now, doneAt: c.now.Add(c.server.opts.Latency.Refresh),
		desired: in.DesiredConfiguration, prefs: in.Preferences, strategy: cmp.Or(in.Strategy, "Rolling"),
	}
	g.refreshes = append(g.refreshes, r)
	return &refreshIDOutput{r.id}, nil
}

type scalingGroupNameInput struct {
	AutoScalingGroupName string `ec2:"AutoScalingGroupName,required"`
}

func (c *call) cancelRefresh(in *scalingGroupNameInput) (*refreshIDOutput, *ec2query.Error) {
	g, err := c.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	r := g.activeRefresh(c.now)
	if r == nil {
		return nil, ec2query.Errorf("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group %s", g.name)
	}
	r.canceledAt = c.now
	return &refreshIDOutput{r.id}, nil
}

type refreshXML struct {
	ID       string                `xml:"InstanceRefreshId"`
	Group    string                `xml:"AutoScalingGroupName"`
	Status   string                `xml:"Status"`
	Strategy string                `xml:"Strategy"`
	Started  string                `xml:"StartTime"`
	Ended    string                `xml:"EndTime,omitempty"`
	Percent  int                   `xml:"PercentageComplete"`
	Left     int                   `xml:"InstancesToUpdate"`
	Desired  *desiredXML           `xml:"DesiredConfiguration,omitempty"`
	Prefs    refreshPreferencesXML `xml:"Preferences"`
}

type desiredXML struct {
	Template *templateRefXML `xml:"LaunchTemplate,omitempty"`
	Mixed    *mixedPolicyXML `xml:"MixedInstancesPolicy,omitempty"`
}

type refreshPreferencesXML struct {
	Min      *int  `xml:"MinHealthyPercentage,omitempty"`
	Max      *int  `xml:"MaxHealthyPercentage,omitempty"`
	Warmup   *int  `xml:"InstanceWarmup,omitempty"`
	Skip     *bool `xml:"SkipMatching,omitempty"`
	Rollback *bool `xml:"AutoRollback,omitempty"`
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
	return &describeRefreshesOutput{ec2query.MapMembers(items, func(r *instanceRefresh) refreshXML { return c.refreshXML(g, r) }), next}, err
}

func (c *call) refreshXML(g *scalingGroup, r *instanceRefresh) refreshXML {
	out := refreshXML{
		ID: r.id, Group: g.name, Status: r.status(c.now), Strategy: r.strategy, Started: ec2query.FormatTime(r.started),
		Prefs: refreshPreferencesXML{r.prefs.MinHealthyPercentage, r.prefs.MaxHealthyPercentage, r.prefs.InstanceWarmup, r.prefs.SkipMatching, r.prefs.AutoRollback},
	}
	if r.desired != nil {
		out.Desired = &desiredXML{r.desired.LaunchTemplate.xml(), r.desired.MixedInstancesPolicy.xml()}
	}
	switch out.Status {
	case "Cancelled":
		out.Ended = ec2query.FormatTime(r.canceledAt)
	case "Successful":
		out.Ended, out.Percent = ec2query.FormatTime(r.doneAt), 100
	}
	return out
}
