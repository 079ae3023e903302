package amicleanup_test

import (
	"cmp"
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
)

func drawPlan(t *rapid.T, w *world) *amicleanup.Plan {
	plan, err := w.cleaner.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestNeverRemovesKeptImages checks plans of random worlds against a second, plain
// implementation of the rules.
func TestNeverRemovesKeptImages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.cleaner.Policy.Lifecycle = drawLifecycle(t)
		plan := drawPlan(t, w)
		going := acts(plan)
		if n := len(going); len(w.cleaner.Policy.Keep) == 0 && n > 0 {
			t.Fatalf("Plan without rules: %d images go, want none", n)
		}
		before := len(w.images())
		for _, target := range plan.Targets {
			before -= len(target.Items) + target.Unselected
		}
		if before != 0 {
			t.Fatalf("%d images are not in the plan", before)
		}
		for region, f := range w.regions {
			for _, group := range groupsOf(f) {
				w.checkGroup(t, f, group, going)
			}
			for id, img := range f.images {
				if _, goes := going[id]; !goes && w.parents && going[aws.ToString(img.SourceImageId)].Image != nil {
					t.Fatalf("%s: %s goes, and %s was made from it", region, *img.SourceImageId, id)
				}
			}
		}
		w.checkReleases(t, plan)
		w.checkLimits(t, plan)
	})
}

// groupsOf returns the images with a readable name by group and architecture, the
// newest first.
func groupsOf(f *fake) map[string][]ec2types.Image {
	groups := map[string][]ec2types.Image{}
	for _, img := range f.images {
		cut := strings.LastIndexByte(*img.Name, ' ')
		if len(*img.Name)-cut < 9 {
			continue
		}
		key := (*img.Name)[:cut] + "/" + string(img.Architecture)
		groups[key] = append(groups[key], img)
	}
	for _, g := range groups {
		slices.SortFunc(g, func(a, b ec2types.Image) int {
			return cmp.Or(-cmp.Compare(*a.Name, *b.Name), -cmp.Compare(*a.ImageId, *b.ImageId)) // timestamps are of equal length
		})
	}
	return groups
}

func stampOf(img ec2types.Image) time.Time {
	fields := strings.Fields(*img.Name)
	seconds := int64(0)
	for _, c := range fields[len(fields)-1] {
		seconds = seconds*10 + int64(c-'0')
	}
	return time.Unix(seconds, 0)
}

func usable(img ec2types.Image) bool {
	return img.State == ec2types.ImageStateAvailable && tagOf(img, "bakestone:expires") == ""
}

func (w *world) checkGroup(t *rapid.T, f *fake, group []ec2types.Image, going map[string]amicleanup.Item) {
	finished, usables := 0, 0
	for _, img := range group {
		id := *img.ImageId
		_, goes := going[id]
		open := tagOf(img, "bakestone:expires")
		if open == "" {
			finished++
		}
		if usable(img) {
			usables++
		}
		isUsed := slices.ContainsFunc(f.instances, func(i ec2types.Instance) bool { return *i.ImageId == id })
		for rule, broken := range map[string]bool{
			"the newest":           open == "" && finished == 1,
			"the newest usable":    usable(img) && usables <= max(1, w.cleaner.Policy.Limits.MinLeft, w.newestUsable),
			"one of the newest":    open == "" && finished <= w.newest,
			"young":                w.clock.now.Sub(stampOf(img)) < w.younger,
			"in use":               w.inUse && isUsed,
			"tagged":               w.tagged && tagOf(img, "keep") != "",
			"shared":               w.shared && len(f.shares[id]) > 0,
			"named":                slices.Contains(w.ids, id),
			"protected":            img.DeregistrationProtection != nil,
			"pending":              img.State == ec2types.ImageStatePending,
			"of a build that runs": open > w.clock.now.Format(time.RFC3339),
		} {
			if goes && broken {
				t.Fatalf("%s is %s and goes: %+v", id, rule, going[id])
			}
		}
	}
}

func (w *world) checkReleases(t *rapid.T, plan *amicleanup.Plan) {
	actions := map[string]map[amicleanup.Action]bool{}
	for _, target := range plan.Targets {
		for _, item := range target.Items {
			if item.Release != "" {
				if actions[item.Release] == nil {
					actions[item.Release] = map[amicleanup.Action]bool{}
				}
				actions[item.Release][item.Action] = true
			}
		}
	}
	for release, does := range actions {
		delete(does, amicleanup.Wait)
		if len(does) > 1 {
			t.Fatalf("release %s: %v at once", release, does)
		}
	}
}

func (w *world) checkLimits(t *rapid.T, plan *amicleanup.Plan) {
	limits := w.cleaner.Policy.Limits
	removed, disabled := 0, 0
	for _, target := range plan.Targets {
		n := target.Count(amicleanup.Disable) + target.Count(amicleanup.Remove)
		if limits.Fraction > 0 && float64(n) > limits.Fraction*float64(len(target.Items)) {
			t.Fatalf("%d of %d go, more than %v", n, len(target.Items), limits.Fraction)
		}
		removed += target.Count(amicleanup.Remove)
		disabled += target.Count(amicleanup.Disable)
	}
	if limits.Removals > 0 && removed > limits.Removals {
		t.Fatalf("%d are removed, more than %d", removed, limits.Removals)
	}
	if limits.Disables > 0 && disabled > limits.Disables {
		t.Fatalf("%d are disabled, more than %d", disabled, limits.Disables)
	}
}

// TestApplyDoesWhatPlanSays applies a plan with random faults, then without
// any, and then once more.
func TestApplyDoesWhatPlanSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.cleaner.Policy.Lifecycle = drawLifecycle(t)
		plan := drawPlan(t, w)
		before, going := w.images(), acts(plan)

		faulty := rapid.SliceOfN(rapid.Bool(), 1, 7).Draw(t, "faults")
		for _, f := range w.regions {
			calls := 0
			f.fail = func(action, _ string) error {
				calls++
				if faulty[calls%len(faulty)] && faultsComeTo(action) {
					return apiError("InternalError")
				}
				return nil
			}
		}
		w.cleaner.Parallel = 1 // the faults are counted
		first, _ := w.cleaner.Apply(t.Context(), plan)
		for _, img := range first.Images {
			if _, planned := going[img.ID]; !planned {
				t.Fatalf("%s was not to be changed: %+v", img.ID, img)
			}
		}
		for _, f := range w.regions {
			f.fail = nil
		}
		second, err := w.cleaner.Apply(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		after := w.images()
		for id, img := range before {
			item, goes := going[id]
			now, there := after[id]
			switch {
			case !goes && !gocmp.Equal(img, now, gocmp.Exporter(exportAll)):
				t.Fatalf("%s was changed and was not to be", id)
			case item.Action == amicleanup.Remove && there,
				item.Action == amicleanup.Disable && now.State != ec2types.ImageStateDisabled,
				item.Action == amicleanup.Deprecate && now.DeprecationTime == nil:
				t.Fatalf("%s: %s was not done: %s, then %s", id, item.Action, details(first, id), details(second, id))
			}
		}
		w.checkSnapshots(t, before, first.SnapshotsLeft())

		since := w.sinceNow()
		again, err := w.cleaner.Apply(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range since() {
			// A snapshot that may have been left behind is deleted again.
			if !strings.HasPrefix(call, "DeleteSnapshot ") {
				t.Fatalf("third Apply called %s", call)
			}
		}
		if n := again.Count(amicleanup.Gone) + again.Count(amicleanup.AlreadyDone); n != len(going) {
			t.Fatalf("third Apply: %v", outcomes(again))
		}
		if !gocmp.Equal(after, w.images(), gocmp.Exporter(exportAll)) {
			t.Fatal("third Apply changed something")
		}
	})
}

// details returns what became of an image.
func details(r *amicleanup.Result, id string) string {
	for _, img := range r.Images {
		if img.ID == id {
			return string(img.Outcome) + ": " + img.Detail
		}
	}
	return "not there"
}

func faultsComeTo(action string) bool {
	return slices.Contains([]string{"DeregisterImage", "DisableImage", "CreateTags", "EnableImageDeprecation", "DeleteSnapshot"}, action)
}

// checkSnapshots looks for snapshots that are lost, or left behind and not
// reported.
func (w *world) checkSnapshots(t *rapid.T, before map[string]ec2types.Image, reported []string) {
	for region, f := range w.regions {
		for id, img := range f.images {
			for _, s := range snapshotsOf(img) {
				if _, ok := f.snapshots[s]; !ok {
					t.Fatalf("%s: %s of %s is lost", region, s, id)
				}
			}
		}
		for s := range f.snapshots {
			had := slices.ContainsFunc(slices.Collect(maps.Values(before)), func(img ec2types.Image) bool {
				return slices.Contains(snapshotsOf(img), s)
			})
			if had && !f.shared(s) && !slices.Contains(reported, s) {
				t.Fatalf("%s: %s is left behind", region, s)
			}
		}
	}
}

// TestApplySkipsChangedImages changes images between plan and apply: those that are
// used, tagged, protected or launched now must stay.
func TestApplySkipsChangedImages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.cleaner.Policy.Lifecycle = drawLifecycle(t)
		plan := drawPlan(t, w)
		going := acts(plan)
		touched := map[string]string{}
		for region, f := range w.regions {
			for _, id := range slices.Sorted(maps.Keys(f.images)) {
				how := rapid.SampledFrom([]string{"", "", "used", "tagged", "protected", "launched"}).Draw(t, region+" "+id)
				if how == "used" && !w.inUse {
					continue // no rule asks
				}
				touched[id] = how
				img := f.images[id]
				switch how {
				case "used":
					used(f, id, "i-new", ec2types.InstanceStateNamePending)
				case "tagged":
					img.Tags = append(slices.Clone(img.Tags), ec2types.Tag{Key: aws.String("new"), Value: aws.String("1")})
				case "protected":
					img.DeregistrationProtection = aws.String("enabled-with-cooldown")
				case "launched":
					img.LastLaunchedTime = aws.String("2030-01-01T00:00:00Z")
				}
				f.images[id] = img
			}
		}
		before := w.images()
		result, err := w.cleaner.Apply(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		after := w.images()
		for id, how := range touched {
			if how != "" && !gocmp.Equal(before[id], after[id], gocmp.Exporter(exportAll)) {
				t.Fatalf("%s is %s now, and was changed: %v", id, how, outcomes(result))
			}
		}
		// A release stays together.
		for _, item := range going {
			for _, other := range going {
				if item.Release != "" && item.Release == other.Release && touched[item.Image.ID] != "" &&
					!gocmp.Equal(before[other.Image.ID], after[other.Image.ID], gocmp.Exporter(exportAll)) {
					t.Fatalf("%s was changed, and %s of its release is %s now", other.Image.ID, item.Image.ID, touched[item.Image.ID])
				}
			}
		}
	})
}
