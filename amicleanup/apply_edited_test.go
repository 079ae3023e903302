package amicleanup_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
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
	everyField(t, data)
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

// everyField edits some values anywhere in data, keeping their types: texts become
// other texts of the plan, numbers and lists change.
func everyField(t *rapid.T, data map[string]any) {
	texts, times := []string{""}, []string{"0001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"}
	walk(data, "", func(_ string, value any, _ func(any)) {
		if text, is := value.(string); !is {
			return
		} else if _, err := time.Parse(time.RFC3339, text); err == nil {
			times = append(times, text)
		} else {
			texts = append(texts, text)
		}
	})
	walk(data, "", func(path string, value any, set func(any)) {
		if path == "/version" || rapid.IntRange(0, 30).Draw(t, path) > 0 {
			return
		}
		switch value := value.(type) {
		case string:
			if _, err := time.Parse(time.RFC3339, value); err == nil {
				set(rapid.SampledFrom(times).Draw(t, "time"))
			} else {
				set(rapid.SampledFrom(texts).Draw(t, "text"))
			}
		case float64:
			set(rapid.IntRange(0, 9).Draw(t, "number"))
		case bool:
			set(!value)
		}
	})
}

// walk calls do for each value in data that is not an object or a list, with its
// path, without the positions in lists, and a func that replaces it.
func walk(data any, path string, do func(path string, value any, set func(any))) {
	switch data := data.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(data)) {
			switch data[key].(type) {
			case map[string]any, []any:
				walk(data[key], path+"/"+key, do)
			default:
				do(path+"/"+key, data[key], func(to any) { data[key] = to })
			}
		}
	case []any:
		for i := range data {
			switch data[i].(type) {
			case map[string]any, []any:
				walk(data[i], path, do)
			default:
				do(path, data[i], func(to any) { data[i] = to })
			}
		}
	}
}

// Each field of a stored plan is edited, alone and with all actions: nothing goes
// that the policy keeps.
func TestEditedPlanFields(t *testing.T) {
	setup := func() (*fake, *amicleanup.Cleaner) {
		f := newFake()
		f.series("web", 7)
		f.set("ami-web0", func(i *ec2types.Image) { i.Tags = tags("legal-hold", "yes", "team", "a") })
		f.shares["ami-web1"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
		used(f, "ami-web2", "i-1", ec2types.InstanceStateNameRunning)
		f.orphan("snap-a", nil)
		f.orphan("snap-b", func(s *ec2types.Snapshot) { s.StartTime = aws.Time(after(10 * 24)) })
		c := cleaner(f, amicleanup.NewestUsable(2), amicleanup.Marked(), amicleanup.Shared(), amicleanup.ParentOfKept(), amicleanup.InUse(inuse.Instances()))
		c.Clock, c.Policy.Snapshots = &stepped{now: after(10 * 24)}, &amicleanup.SnapshotPolicy{}
		return f, c
	}
	allowed := []string{
		"DeregisterImage ami-web3", "DeregisterImage ami-web4", "DeleteSnapshot snap-a", "DeleteSnapshot snap-web3", "DeleteSnapshot snap-web4",
	}
	f, c := setup()
	text, err := json.Marshal(mustPlan(t, c))
	if err != nil || len(f.changes()) > 0 {
		t.Fatal(err)
	}
	parsed := func(all bool) (data map[string]any) {
		if err := json.Unmarshal(text, &data); err != nil {
			t.Fatal(err)
		}
		walk(data, "", func(path string, _ any, set func(any)) {
			if all && strings.HasSuffix(path, "/action") {
				set("remove")
			}
		})
		return data
	}
	others := map[string][]any{} // values of each field
	walk(parsed(false), "", func(path string, value any, _ func(any)) {
		for _, other := range []any{value, value == false, "", nil, 0, 99, "remove", "available", "2999-01-01T00:00:00Z", "ami-web0", "snap-b"} {
			if !slices.Contains(others[path], other) {
				others[path] = append(others[path], other)
			}
		}
	})
	edits, applied := 0, 0
	for path, values := range others {
		for _, value := range values {
			for _, all := range []bool{false, true} {
				data := parsed(all)
				walk(data, "", func(at string, _ any, set func(any)) {
					if at == path {
						set(value)
					}
				})
				edited, err := json.Marshal(data)
				if err != nil {
					t.Fatal(err)
				}
				edits++
				plan := new(amicleanup.Plan)
				if json.Unmarshal(edited, plan) != nil {
					continue // of another type
				}
				applied++
				f, c := setup()
				_, _ = c.Apply(t.Context(), plan) // an edited plan may be refused
				for _, change := range f.changes() {
					if !slices.Contains(allowed, change) {
						t.Errorf("%s = %v (all actions: %v): %s", path, value, all, change)
					}
				}
			}
		}
	}
	if applied < edits/4 || len(others) < 25 {
		t.Errorf("%d edits of %d fields, of which %d were applied", edits, len(others), applied)
	}
}
