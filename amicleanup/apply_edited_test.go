package amicleanup_test

import (
	"encoding/json"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bakestone-go/bakestone/amicleanup"
)

// TestEditedPlanProperty edits a stored plan at random: whatever it says,
// Apply does nothing that the policy would not do, and no more than its limits.
func TestEditedPlanProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.cleaner.Policy.Lifecycle = drawLifecycle(t)
		for _, f := range w.regions {
			if rapid.Bool().Draw(t, "orphan") {
				f.orphan("snap-orphan", nil)
			}
		}
		if rapid.Bool().Draw(t, "snapshots") {
			w.cleaner.Policy.Snapshots = &amicleanup.SnapshotPolicy{}
		}
		limits := w.cleaner.Policy.Limits
		w.cleaner.Policy.Limits.Removals, w.cleaner.Policy.Limits.Disables, w.cleaner.Policy.Limits.Fraction = 0, 0, 0
		allowed := acts(drawPlan(t, w))
		w.cleaner.Policy.Limits = limits
		plan := turned(t, drawPlan(t, w))

		before := w.images()
		result, err := w.cleaner.Apply(t.Context(), plan)
		if result == nil {
			return // refused: expired, or of another version
		}
		if err != nil {
			t.Logf("Apply: %v", err)
		}
		after := w.images()
		removed, disabled := 0, 0
		for id, img := range before {
			now, there := after[id]
			if there && gocmp.Equal(img, now, gocmp.Exporter(exportAll)) {
				continue
			}
			item, ok := allowed[id]
			switch {
			case !ok:
				t.Fatalf("%s was changed; the policy keeps it: %v", id, outcomes(result))
			case !there && item.Action != amicleanup.Remove:
				t.Fatalf("%s was removed; the policy says %s", id, item.Action)
			case !there:
				removed++
			case now.State != img.State:
				disabled++
			}
		}
		if limits.Removals > 0 && removed > limits.Removals || limits.Disables > 0 && disabled > limits.Disables {
			t.Fatalf("%d removed and %d disabled; the limits are %+v", removed, disabled, limits)
		}
		for region, f := range w.regions {
			if _, left := f.snapshots["snap-orphan"]; !left && f.facts["snap-orphan"].Tags != nil && w.cleaner.Policy.Snapshots == nil {
				t.Fatalf("%s: a snapshot was removed; the policy does not look at snapshots", region)
			}
			for id, img := range f.images {
				for _, s := range snapshotsOf(img) {
					if _, ok := f.snapshots[s]; !ok {
						t.Fatalf("%s: %s of %s is lost", region, s, id)
					}
				}
			}
		}
	})
}

// turned edits the JSON of a plan at random.
func turned(t *rapid.T, plan *amicleanup.Plan) *amicleanup.Plan {
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]any
	if err := json.Unmarshal(text, &data); err != nil {
		t.Fatal(err)
	}
	actions := []any{"keep", "wait", "restore", "deprecate", "disable", "unprotect", "remove", "remove", "remove", "deregister", ""}
	targets, _ := data["targets"].([]any)
	for _, target := range targets {
		target, _ := target.(map[string]any)
		items, _ := target["items"].([]any)
		for _, item := range items {
			item, _ := item.(map[string]any)
			if rapid.Bool().Draw(t, "action") {
				item["action"] = rapid.SampledFrom(actions).Draw(t, "to")
			}
			if rapid.Bool().Draw(t, "reasons") {
				delete(item, "reasons")
			}
			for _, key := range []string{"release", "group", "match"} {
				if rapid.IntRange(0, 5).Draw(t, key) == 0 {
					item[key] = rapid.SampledFrom([]any{"", "a", "b"}).Draw(t, key)
				}
			}
			img, _ := item["image"].(map[string]any)
			switch rapid.IntRange(0, 9).Draw(t, "image") {
			case 0:
				other, _ := items[rapid.IntRange(0, len(items)-1).Draw(t, "other")].(map[string]any)
				item["image"] = other["image"] // twice, or under another reason
			case 1:
				img["snapshots"] = []any{"snap-orphan", "snap-eu-01"}
			case 2:
				img["state"] = "available"
			case 3:
				img["shares"] = map[string]any{}
			case 4:
				img["tags"] = map[string]any{}
			}
		}
		switch rapid.IntRange(0, 9).Draw(t, "target") {
		case 0:
			target["owner"] = "444455556666"
		case 1:
			target["region"] = "us-east-1"
		case 2:
			target["items"] = items[:len(items)/2]
		case 3:
			target["items"] = append(slices.Clone(items), items...)
		case 4:
			target["snapshots"] = []any{map[string]any{"action": "remove", "snapshot": map[string]any{"id": "snap-orphan", "state": "completed"}}}
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "dates") == 0 {
		data["made"], data["expires"] = "2023-11-14T22:13:20Z", "2999-01-01T00:00:00Z"
	}
	if text, err = json.Marshal(data); err != nil {
		t.Fatal(err)
	}
	stored := new(amicleanup.Plan)
	if err := json.Unmarshal(text, stored); err != nil {
		t.Fatal(err)
	}
	return stored
}
