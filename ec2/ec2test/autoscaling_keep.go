package ec2test

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// launchPause is how long a group waits after a launch that failed, and after an
// instance that was unhealthy before it was warm.
const launchPause = time.Minute

// maintainGroups brings the Auto Scaling groups up to now: each thing happens at
// the time at which it was due.
func (c *call) maintainGroups() {
	for g := range c.scalingGroups.all() {
		sub := &call{region: c.region, action: c.action, account: g.owner, now: c.now}
		sub.keepGroup(g)
		c.deferred = append(c.deferred, sub.deferred...)
	}
}

// keepGroup does what has become due in a group since the last call, in order of
// time, and then what is due now.
func (c *call) keepGroup(g *scalingGroup) {
	now := c.now
	for !g.due.IsZero() && g.due.Before(now) {
		c.now = g.due
		c.turnGroup(g)
	}
	c.now = now
	c.turnGroup(g)
}

// turnGroup does what a group has to do at the time of the call, and sets when
// something happens next.
func (c *call) turnGroup(g *scalingGroup) {
	for changed := true; changed; {
		g.due = time.Time{}
		changed = c.watchMembers(g)
		if r := g.activeRefresh(); r != nil && c.turnRefresh(g, r) {
			changed = true
		}
		if c.fillGroup(g) {
			changed = true
		}
	}
	if !g.due.IsZero() && !g.due.After(c.now) {
		g.due = c.now.Add(time.Second)
	}
}

// wake notes that something happens at a time.
func (g *scalingGroup) wake(at time.Time) {
	if g.due.IsZero() || at.Before(g.due) {
		g.due = at
	}
}

// desired returns the group's desired capacity.
func (g *scalingGroup) desired() int { return intOr(g.set.DesiredCapacity, *g.set.MinSize) }

// watchMembers follows the instances, and terminates unhealthy ones.
func (c *call) watchMembers(g *scalingGroup) (changed bool) {
	g.members = slices.DeleteFunc(g.members, func(m *scalingMember) bool {
		if m.ends && m.instance.phase.code(c.now) == terminated {
			changed = true
			return true
		}
		return false
	})
	for _, m := range g.members {
		if at := m.instance.phase.at; at.After(c.now) {
			g.wake(at)
		}
		if m.ends {
			continue
		}
		if m.state == memberPending && m.instance.phase.code(c.now) == running {
			m.state, m.inService, changed = memberInService, c.now, true
		}
		if m.state == memberStandby || g.suspended["HealthCheck"] {
			continue
		}
		if why := c.sick(g, m); why != "" && !g.suspended["ReplaceUnhealthy"] {
			if r := g.activeRefresh(); r != nil && r.launched[m] && c.now.Before(m.inService.Add(r.warmup(g))) || m.state == memberPending {
				g.pausedTo = c.now.Add(launchPause)
			}
			m.unhealthy = why
			c.endMember(g, m, fmt.Sprintf("an instance was taken out of service in response to: %s", why))
			changed = true
		}
	}
	return changed
}

// living returns the members that count towards the group's capacity.
func (g *scalingGroup) living() []*scalingMember {
	return slices.DeleteFunc(slices.Clone(g.members), func(m *scalingMember) bool { return m.ends || m.state == memberStandby })
}

// fillGroup launches what is missing of the capacity, and terminates what exceeds
// it.
func (c *call) fillGroup(g *scalingGroup) (changed bool) {
	want, launch := g.desired(), g.set.launch()
	r := g.activeRefresh()
	if r != nil {
		launch = r.target
		want += r.extra
	}
	living := g.living()
	for n := len(living); n < want && !g.suspended["Launch"]; n++ {
		if c.now.Before(g.pausedTo) {
			g.wake(g.pausedTo)
			break
		}
		if err := c.addMember(g, launch); err != nil {
			g.pausedTo = c.now.Add(launchPause)
			g.wake(g.pausedTo)
			g.record(c, "Launching a new EC2 instance", "Failed", err.Code+": "+err.Message)
			break
		}
		if r != nil {
			r.launched[g.members[len(g.members)-1]] = true
		}
		changed = true
	}
	// A refresh terminates what it has replaced itself.
	for n := len(living); n > want && r == nil && !g.suspended["Terminate"]; n-- {
		free := slices.DeleteFunc(g.living(), func(m *scalingMember) bool { return m.protected })
		if len(free) == 0 {
			break
		}
		oldest := slices.MinFunc(free, func(a, b *scalingMember) int {
			return cmp.Or(a.instance.launched.Compare(b.instance.launched), cmp.Compare(a.instance.seq, b.instance.seq))
		})
		c.endMember(g, oldest, "the group has more instances than its desired capacity")
		changed = true
	}
	return changed
}

// scalingActivity is an entry of a group's history.
type scalingActivity struct {
	seq           uint64
	at            time.Time
	text          string
	status, cause string
}

// mostActivities limits the history of a group.
const mostActivities = 500

func (g *scalingGroup) record(c *call, text, status, cause string) {
	g.activities = append(g.activities, &scalingActivity{c.server.nextSeq(), c.now, text, status, cause})
	g.activities = g.activities[max(0, len(g.activities)-mostActivities):]
}

type describeActivitiesInput struct {
	AutoScalingGroupName string
	recordsParams
}

type activityXML struct {
	ID       string `xml:"ActivityId"`
	Group    string `xml:"AutoScalingGroupName"`
	Text     string `xml:"Description"`
	Cause    string `xml:"Cause"`
	Started  string `xml:"StartTime"`
	Ended    string `xml:"EndTime"`
	Status   string `xml:"StatusCode"`
	Message  string `xml:"StatusMessage,omitempty"`
	Progress int    `xml:"Progress"`
}

type describeActivitiesOutput struct {
	Activities ec2query.Members[activityXML] `xml:"Activities"`
	Next       string                        `xml:"NextToken,omitempty"`
}

// describeActivities lists what groups did, the newest first.
func (c *call) describeActivities(in *describeActivitiesInput) (*describeActivitiesOutput, *ec2query.Error) {
	type placed struct {
		group string
		*scalingActivity
	}
	var newest []placed
	add := func(g *scalingGroup) {
		for _, a := range g.activities {
			newest = append(newest, placed{g.name, a})
		}
	}
	if in.AutoScalingGroupName != "" {
		g, err := c.scalingGroup(in.AutoScalingGroupName)
		if err != nil {
			return nil, err
		}
		add(g)
	} else {
		for g := range c.scalingGroups.all() {
			if c.owns(&g.base) {
				add(g)
			}
		}
	}
	slices.SortFunc(newest, func(a, b placed) int { return cmp.Compare(b.seq, a.seq) })
	items, next, err := page(c, newest, in.page(), recordsLimits(), func(p placed) uint64 { return ^p.seq })
	return &describeActivitiesOutput{ec2query.MapMembers(items, func(a placed) activityXML {
		out := activityXML{
			ID: newID("", a.seq), Group: a.group, Text: a.text, Started: ec2query.FormatTime(a.at), Ended: ec2query.FormatTime(a.at),
			Status: a.status, Progress: 100, Cause: "At " + a.at.UTC().Format("2006-01-02T15:04:05Z") + " " + cmp.Or(a.cause, "the group's capacity changed") + ".",
		}
		if a.status == "Failed" {
			out.Message = a.cause
		}
		return out
	}), next}, err
}
