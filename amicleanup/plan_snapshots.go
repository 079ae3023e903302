package amicleanup

import (
	"cmp"
	"fmt"
	"slices"
)

// attaches returns why a snapshot must stay by what the sources of the policy know,
// or "".
func (u *usage) attaches(snapshot string) string {
	if refs := u.references[snapshot]; len(refs) > 0 {
		return "is attached by " + refs[0].By
	}
	for _, c := range u.coverage {
		if c.Error != "" {
			return fmt.Sprintf("may be attached: %s could not be read", c.Source)
		}
	}
	return ""
}

// planSnapshots decides about the snapshots that belong to no image.
func (e *evaluation) planSnapshots() {
	p := e.policy.Snapshots
	if p == nil {
		return
	}
	var going []*SnapshotItem
	for i := range e.inv.targets {
		t, out := &e.inv.targets[i], &e.plan.Targets[i]
		for j := range t.snapshots {
			s := &t.snapshots[j]
			switch {
			case !p.selects(s):
			case len(s.Images) > 0:
				out.SnapshotsUsed++
			default:
				item := SnapshotItem{Snapshot: *s, Action: Keep, Reason: p.why(t, s, e.inv.time)}
				if item.Reason == "" {
					item.Reason = e.usage[out.Region].attaches(s.ID)
				}
				if item.Reason == "" {
					item.Action = Remove
					e.approved.restrictSnapshot(out, &item)
				}
				out.Snapshots = append(out.Snapshots, item)
			}
		}
		slices.SortFunc(out.Snapshots, func(a, b SnapshotItem) int {
			return cmp.Or(a.Snapshot.Started.Compare(b.Snapshot.Started), cmp.Compare(a.Snapshot.ID, b.Snapshot.ID))
		})
		for j := range out.Snapshots {
			if out.Snapshots[j].Action == Remove {
				going = append(going, &out.Snapshots[j])
			}
		}
	}
	limit := e.policy.Limits.Snapshots
	if limit == 0 || len(going) <= limit {
		return
	}
	slices.SortStableFunc(going, func(a, b *SnapshotItem) int { return a.Snapshot.Started.Compare(b.Snapshot.Started) })
	for _, item := range going[limit:] {
		item.Action = Keep
		item.Reason = fmt.Sprintf("waits for a later run: this one is limited to %s", counted(limit, "snapshot"))
	}
}
