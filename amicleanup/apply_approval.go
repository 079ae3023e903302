package amicleanup

import "maps"

// An approval is the part of a stored plan that Apply believes: which action may
// be done to which image or snapshot, in which state. It can only hold back.
type approval struct {
	items     map[string]*Item // by target and image id
	waiting   map[string]bool  // images that wait, for others of their release or for their time
	snapshots map[string]*SnapshotItem
}

func approve(p *Plan) *approval {
	a := &approval{items: map[string]*Item{}, waiting: map[string]bool{}, snapshots: map[string]*SnapshotItem{}}
	for i := range p.Targets {
		t := &p.Targets[i]
		for j := range t.Items {
			if item := &t.Items[j]; item.Action == Restore || item.Action.steps() > 0 {
				a.items[approvalKey(t, item.Image.ID)] = item
			} else if item.Action == Wait {
				a.waiting[approvalKey(t, item.Image.ID)] = true
			}
		}
		for j := range t.Snapshots {
			if item := &t.Snapshots[j]; item.Action == Remove {
				a.snapshots[approvalKey(t, item.Snapshot.ID)] = item
			}
		}
	}
	return a
}

func approvalKey(t *TargetPlan, id string) string { return place(t.Account, t.Region) + "\x00" + id }

// approves returns the action that is approved for an item; empty means none.
func (a *approval) approves(t *TargetPlan, item *Item) Action {
	if stored := a.items[approvalKey(t, item.Image.ID)]; stored != nil {
		return stored.Action
	}
	return ""
}

// restrict keeps an image that was not approved, or that is no longer as it was
// when it was approved. These reasons come before those that follow from other
// images, so releases and parents take them into account.
func (a *approval) restrict(t *TargetPlan, item *Item) {
	stored := a.items[approvalKey(t, item.Image.ID)]
	var text string
	switch {
	case stored == nil && (item.wanted() || a.waiting[approvalKey(t, item.Image.ID)]):
	case stored == nil:
		text, item.unapproved = "is not to be changed by the plan", true
	case stored.Action == Restore:
		text = restoreDrift(stored.Image, item.Image)
	case item.wanted() || doneBefore(stored, item.Image):
	default:
		was := *stored.Image
		if stageOf(item.Image).action == stored.Action {
			// An earlier run was interrupted after its first call, which tags.
			was.Tags = withOwnTags(was.Tags, item.Image.Tags)
		}
		text = was.drift(item.Image)
	}
	if text != "" {
		item.because(Reason{Rule: byPlan, Text: text, Blocked: true, passive: true})
	}
}

// restoreDrift describes why an image is no longer to be restored, or returns "".
func restoreDrift(was, now *Image) string {
	switch {
	case was.Tags[TagRetired] != now.Tags[TagRetired]:
		return "has taken another step of the lifecycle"
	case was.State == available && now.State == disabled:
		return "is disabled now" // and what was saved of it may not show yet
	default:
		return "" // an image that was only enabled is restored further
	}
}

// doneBefore reports whether an earlier run has done to the image what the plan
// says.
func doneBefore(stored *Item, now *Image) bool {
	if stored.Image.Tags[TagRetired] == now.Tags[TagRetired] {
		return stored.Action == Unprotect && stored.Image.protected() && (!now.protected() || now.coolingDown())
	}
	on := stageOf(now).action
	switch stored.Action {
	case Deprecate:
		return on == Deprecate && !now.Deprecated.IsZero()
	case Disable:
		return on == Disable && now.State == disabled
	case Restore:
		return on == "" && now.State == available
	default:
		return false
	}
}

// withOwnTags returns tags, with those of this package as they are in from.
func withOwnTags(tags, from map[string]string) map[string]string {
	own := func(key, _ string) bool { return key == TagRetired || isSharedTag(key) }
	all := map[string]string{}
	maps.Copy(all, from)
	maps.DeleteFunc(all, func(key, value string) bool { return !own(key, value) })
	for key, value := range tags {
		if !own(key, value) {
			all[key] = value
		}
	}
	return all
}

// restrictSnapshot keeps a snapshot that was not approved or has changed since. A
// nil approval approves everything.
func (a *approval) restrictSnapshot(t *TargetPlan, item *SnapshotItem) {
	if a == nil {
		return
	}
	stored := a.snapshots[approvalKey(t, item.Snapshot.ID)]
	if stored == nil {
		item.Action, item.Reason = Keep, "is not to be removed by the plan"
		return
	}
	if why := stored.Snapshot.drift(&item.Snapshot); why != "" {
		item.Action, item.Reason = Keep, why
	}
}
