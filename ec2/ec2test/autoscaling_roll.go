package ec2test

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// refreshPatience is how long a refresh goes on without replacing anything: while
// instances fail to launch or are unhealthy, and while others are protected or in
// standby.
const refreshPatience = time.Hour

// turnRefresh does the next part of a refresh.
func (c *call) turnRefresh(g *scalingGroup, r *instanceRefresh) (changed bool) {
	switch r.status {
	case refreshCancelling:
		if !slices.ContainsFunc(g.members, func(m *scalingMember) bool { return r.launched[m] && m.state == memberPending && !m.ends }) {
			r.end(c, refreshCancelled)
			return true
		}
		return false
	case refreshPending:
		r.status, changed = refreshInProgress, true
	}
	if name := r.firing(c); name != "" && r.back == nil {
		c.failRefresh(g, r, "Alarm(s) ["+name+"] went into the ALARM state.")
		return true
	}
	r.count(c, g)
	if r.status == refreshBaking {
		return r.bake(c, g) || changed
	}
	if c.replace(g, r) {
		changed = true
	}
	if r.ended.IsZero() && !changed {
		changed = r.finish(c, g)
	}
	return changed
}

// firing returns the names of the refresh's alarms that are in the ALARM state.
func (r *instanceRefresh) firing(c *call) string {
	var names []string
	if r.prefs.AlarmSpecification != nil {
		for _, name := range r.prefs.AlarmSpecification.Alarms {
			if c.server.isAlarmed(c.name, name, c.now) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// isWarm reports whether a member that the refresh launched counts as a replacement.
func (c *call) isWarm(g *scalingGroup, r *instanceRefresh, m *scalingMember) bool {
	if m.state != memberInService || m.ends {
		return false
	}
	if at := m.inService.Add(r.warmup(g)); r.launched[m] && at.After(c.now) {
		g.wake(at)
		return false
	}
	return true
}

// count updates how many members are replaced.
func (r *instanceRefresh) count(c *call, g *scalingGroup) {
	r.old = setMembers(r.old, func(m *scalingMember) bool { return !m.ends })
	warm := 0
	for m := range r.launched {
		if c.isWarm(g, r, m) && !r.old[m] {
			warm++
		}
	}
	done := r.total - len(r.old)
	if !c.isSettled(g, r) { // those that went need no replacement where there were too many
		done = min(warm, done)
	}
	if done > r.replaced {
		r.replaced, r.progress = done, c.now
	}
}

// isSettled reports whether the group has all its instances, and they are warm.
func (c *call) isSettled(g *scalingGroup, r *instanceRefresh) bool {
	living := g.living()
	return len(living) >= g.desired() && !slices.ContainsFunc(living, func(m *scalingMember) bool { return !c.isWarm(g, r, m) })
}

// limit returns how many members may be replaced before the next checkpoint.
func (r *instanceRefresh) limit() int {
	if r.back != nil || r.checkpoint >= len(r.prefs.CheckpointPercentages) {
		if n := len(r.prefs.CheckpointPercentages); n > 0 && r.back == nil {
			return (r.total*r.prefs.CheckpointPercentages[n-1] + 99) / 100
		}
		return r.total
	}
	return (r.total*r.prefs.CheckpointPercentages[r.checkpoint] + 99) / 100
}

// replace terminates old members and sets how many to launch before others are
// terminated, within the healthy percentages.
func (c *call) replace(g *scalingGroup, r *instanceRefresh) (changed bool) {
	if !r.passCheckpoint(c, g) {
		return false
	}
	left := r.limit() - (r.total - len(r.old)) // how many more may go
	var ready []*scalingMember
	for _, m := range g.members {
		if r.old[m] && !r.skips(m) {
			ready = append(ready, m)
		}
	}
	// The longest running comes first, and in front of it what does not serve.
	serves := func(m *scalingMember) int {
		if m.state == memberInService {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(ready, func(a, b *scalingMember) int {
		return cmp.Or(cmp.Compare(serves(a), serves(b)), cmp.Compare(a.instance.seq, b.instance.seq))
	})
	desired := g.desired()
	lowest := (desired*intOr(r.prefs.MinHealthyPercentage, 90) + 99) / 100
	highest := desired * intOr(r.prefs.MaxHealthyPercentage, 100) / 100
	launchesFirst := r.prefs.MaxHealthyPercentage != nil && lowest >= desired
	if launchesFirst {
		highest = max(highest, desired+1)
	}
	before := r.extra
	r.extra = max(0, min(highest-desired, left, len(ready)))
	changed = r.extra > before
	healthy, coming := 0, 0
	for _, m := range g.living() {
		switch {
		case c.isWarm(g, r, m):
			healthy++
		case r.launched[m]:
			coming++
		}
	}
	missing := len(g.living()) < desired
	for _, m := range ready {
		if left <= 0 || g.suspended["Terminate"] {
			break
		}
		enough := healthy-1 >= lowest
		// Without surplus capacity at least one goes at a time.
		oneAtATime := !launchesFirst && r.extra == 0 && coming == 0 && !missing && healthy >= desired && lowest >= desired
		if m.state == memberInService && !enough && !oneAtATime {
			break
		}
		if m.state == memberInService {
			healthy--
		}
		c.endMember(g, m, "it is replaced by instance refresh "+r.id)
		delete(r.old, m)
		left--
		changed = true
		if oneAtATime {
			break
		}
	}
	if changed {
		r.extra = max(0, min(highest-desired, left, len(ready)))
	}
	return changed
}

// skips reports whether the preferences leave a member alone, for good or for now.
func (r *instanceRefresh) skips(m *scalingMember) bool {
	if m.state == memberStandby {
		return r.prefs.StandbyInstances != "Terminate"
	}
	return m.protected && r.prefs.ScaleInProtectedInstances != "Refresh"
}

// passCheckpoint reports whether the refresh may go on: it stops at each checkpoint
// for the delay.
func (r *instanceRefresh) passCheckpoint(c *call, g *scalingGroup) bool {
	const defaultDelay = 3600
	if r.back != nil || r.checkpoint >= len(r.prefs.CheckpointPercentages) {
		return true
	}
	if r.replaced < r.limit() {
		return true
	}
	if r.waitsTo.IsZero() {
		r.waitsTo = c.now.Add(time.Duration(intOr(r.prefs.CheckpointDelay, defaultDelay)) * time.Second)
	}
	if c.now.Before(r.waitsTo) {
		r.reason = "Reached a checkpoint; waiting."
		g.wake(r.waitsTo)
		return false
	}
	r.checkpoint++
	r.progress, r.waitsTo, r.reason = c.now, time.Time{}, ""
	return r.passCheckpoint(c, g)
}

// finish ends the refresh when all is replaced, or when nothing has been for too
// long.
func (r *instanceRefresh) finish(c *call, g *scalingGroup) (changed bool) {
	if !r.waitsTo.IsZero() {
		return false
	}
	waits, ignored := 0, 0
	for m := range r.old {
		switch how := cmp.Or(r.prefs.ScaleInProtectedInstances, "Wait"); {
		case m.state == memberStandby && cmp.Or(r.prefs.StandbyInstances, "Wait") == "Ignore", m.state != memberStandby && m.protected && how == "Ignore":
			ignored++
		case r.skips(m):
			waits++
		}
	}
	last := r.limit()
	done := r.replaced >= min(last, r.total-ignored) && len(r.old) <= r.total-min(last, r.total-ignored)
	settled := c.isSettled(g, r)
	if done && settled && r.checkpoint >= len(r.prefs.CheckpointPercentages) || r.back != nil && done && settled {
		if earliest := r.started.Add(c.server.opts.Latency.Refresh); c.now.Before(earliest) {
			g.wake(earliest)
			return false
		}
		r.extra = 0
		if bake := intOr(r.prefs.BakeTime, 0); bake > 0 && r.back == nil {
			r.status, r.bakesTo = refreshBaking, c.now.Add(time.Duration(bake)*time.Second)
			g.wake(r.bakesTo)
			return true
		}
		r.succeed(c, g)
		return true
	}
	if deadline := r.progress.Add(refreshPatience + r.warmup(g)); c.now.Before(deadline) {
		g.wake(deadline)
		return false
	}
	why := "Instances failed to launch or were unhealthy for too long; see the scaling activities."
	if waits > 0 {
		why = "Waited too long for instances that are protected from scale in or in Standby."
	}
	c.failRefresh(g, r, why)
	return true
}

// bake waits for the end of the bake time.
func (r *instanceRefresh) bake(c *call, g *scalingGroup) (changed bool) {
	if c.now.Before(r.bakesTo) {
		g.wake(r.bakesTo)
		return false
	}
	r.succeed(c, g)
	return true
}

// succeed ends the refresh, or its rollback. A refresh with a desired configuration
// changes that of the group.
func (r *instanceRefresh) succeed(c *call, g *scalingGroup) {
	if r.back != nil {
		r.end(c, refreshRolledBack)
		return
	}
	if r.desired != nil {
		g.set.use(r.target)
	}
	r.end(c, refreshSuccessful)
}

func (r *instanceRefresh) end(c *call, status string) {
	r.status, r.ended, r.extra = status, c.now, 0
}

// failRefresh rolls the refresh back, if it is to, or ends it.
func (c *call) failRefresh(g *scalingGroup, r *instanceRefresh, why string) {
	r.reason = why
	switch {
	case r.back != nil:
		r.end(c, rollbackFailed)
	case truthOf(r.prefs.AutoRollback):
		if err := c.beginRollback(g, r, why); err != nil {
			r.reason += " " + err.Message
			r.end(c, refreshFailed)
		}
	default:
		r.end(c, refreshFailed)
	}
}

// beginRollback begins to replace what the refresh has launched.
func (c *call) beginRollback(g *scalingGroup, r *instanceRefresh, why string) *ec2query.Error {
	back := &rollback{reason: why, started: c.now, percent: r.percent(), left: r.remaining()}
	r.target, r.extra = r.before, 0
	if err := r.choose(c, g, true); err != nil {
		return err
	}
	r.back, r.status, r.reason, r.progress, r.waitsTo = back, refreshRollback, why, c.now, time.Time{}
	r.launched = make(map[*scalingMember]bool)
	g.pausedTo = c.now
	return nil
}
