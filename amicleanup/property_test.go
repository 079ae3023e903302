package amicleanup_test

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/amicleanup"
)

// randomWorld makes images of a few groups, of all sorts, some of equal age.
func randomWorld(r *rand.Rand) *fake {
	f := newFake()
	f.pageSize = 1 + r.Intn(10)
	f.oldAPI = r.Intn(2) == 0
	states := []ec2types.ImageState{
		ec2types.ImageStateAvailable, ec2types.ImageStateAvailable, ec2types.ImageStateAvailable,
		ec2types.ImageStatePending, ec2types.ImageStateDisabled, ec2types.ImageStateFailed,
	}
	for i := range r.Intn(40) {
		name := fmt.Sprintf("%s %d", []string{"a", "b", "a b"}[r.Intn(3)], 1700000000+r.Intn(20))
		if r.Intn(10) == 0 {
			name = "a 12"
		}
		f.add(fmt.Sprintf("ami-%02d", i), name, func(img *ec2types.Image) {
			img.State = states[r.Intn(len(states))]
			if r.Intn(3) == 0 {
				img.Architecture = ec2types.ArchitectureValuesArm64
			}
			if r.Intn(10) == 0 {
				img.DeregistrationProtection = aws.String("enabled-without-cooldown")
			}
			if r.Intn(5) == 0 && i > 0 {
				shared := fmt.Sprintf("snap-%02d", r.Intn(i))
				img.BlockDeviceMappings[0].Ebs.SnapshotId = aws.String(shared)
			}
		})
		if r.Intn(8) == 0 {
			used(f, fmt.Sprintf("ami-%02d", i), fmt.Sprintf("i-%02d", i), ec2types.InstanceStateNameRunning)
		}
	}
	return f
}

func randomKeepers(r *rand.Rand) []amicleanup.Keeper {
	all := []amicleanup.Keeper{
		amicleanup.Newest(1 + r.Intn(4)), amicleanup.YoungerThan(time.Duration(1+r.Intn(20)) * time.Second),
		amicleanup.InUse(amicleanup.Instances()), amicleanup.IDs("ami-03", "ami-07"),
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:r.Intn(len(all)+1)]
}

func TestProperties(t *testing.T) {
	for seed := range int64(400) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewSource(seed)) //nolint:gosec // the same at every run
			f := randomWorld(r)
			keepers := randomKeepers(r)
			c := cleaner(f, keepers...)
			inv, err := amicleanup.Read(t.Context(), c.Targets, &c.Policy, nil)
			if err != nil {
				t.Fatal(err)
			}
			inv.Time = time.Unix(1700000020, 0)
			plan, err := c.Policy.Evaluate(inv)
			if err != nil {
				t.Fatal(err)
			}
			before := len(f.images)
			if n := len(plan.Targets[0].Items) + plan.Targets[0].Unselected; n != before {
				t.Errorf("seed %d: %d images in the plan, %d there", seed, n, before)
			}
			checkKept(t, seed, plan, keepers)
			first := removals(plan)

			trouble := r.Intn(3)
			f.fail = func(action, _ string) error {
				if trouble > 0 && action == "DeregisterImage" {
					trouble--
					return apiError("RequestLimitExceeded")
				}
				return nil
			}
			failures := min(trouble, len(first))
			result, err := c.Apply(t.Context(), plan)
			if (err != nil) != (failures > 0) || result.Count(amicleanup.Failed) != failures ||
				result.Count(amicleanup.Removed) != len(first)-failures {
				t.Errorf("seed %d: %d to remove, %d failures: %v, %v", seed, len(first), failures, outcomes(result), err)
			}
			f.fail = nil
			if len(f.images) != before-len(first)+failures {
				t.Errorf("seed %d: %d images left of %d after %d removals", seed, len(f.images), before, len(first)-failures)
			}
			for id := range f.images {
				for _, s := range snapshotsOf(f.images[id]) {
					if _, ok := f.snapshots[s]; !ok {
						t.Errorf("seed %d: %s of %s is lost", seed, s, id)
					}
				}
			}
			if _, err := c.Apply(t.Context(), plan); err != nil {
				t.Errorf("seed %d: again: %v", seed, err)
			}
			left := len(f.images)
			if left != before-len(first) {
				t.Errorf("seed %d: %d images left of %d, after all %d removals", seed, left, before, len(first))
			}
			calls := len(f.changes())
			third, err := c.Apply(t.Context(), plan)
			if err != nil || len(f.images) != left || third.Count(amicleanup.Gone) != len(first) {
				t.Errorf("seed %d: the third time: %v, %v", seed, outcomes(third), err)
			}
			if slices.ContainsFunc(f.changes()[calls:], func(c string) bool { return c[:3] == "Der" }) {
				t.Errorf("seed %d: the third time changed %v", seed, f.changes()[calls:])
			}
			for s := range f.snapshots {
				if !f.shared(s) && !slices.Contains(orphansOfWorld(plan), s) {
					t.Errorf("seed %d: %s is left behind", seed, s)
				}
			}
		})
	}
}

// orphansOfWorld are the snapshots that belonged to no image to begin with.
func orphansOfWorld(plan *amicleanup.Plan) []string {
	var owned []string
	for _, item := range plan.Targets[0].Items {
		owned = append(owned, item.Image.Snapshots...)
	}
	var orphans []string
	for i := range 40 {
		if s := fmt.Sprintf("snap-%02d", i); !slices.Contains(owned, s) {
			orphans = append(orphans, s)
		}
	}
	return orphans
}

// checkKept checks a plan against the rules, told in another way.
func checkKept(t *testing.T, seed int64, plan *amicleanup.Plan, keepers []amicleanup.Keeper) {
	t.Helper()
	type key struct{ group, arch string }
	groups := map[key]*amicleanup.Group{}
	removed := map[string]bool{}
	for _, item := range plan.Targets[0].Items {
		if item.Action == amicleanup.Deregister {
			removed[item.Image.ID] = true
			if item.Image.Protection != "" || item.Image.State == "pending" || item.Stamp.IsZero() {
				t.Errorf("seed %d: removes %+v", seed, item)
			}
		}
		if item.Stamp.IsZero() {
			continue
		}
		k := key{item.Group, item.Image.Architecture}
		if groups[k] == nil {
			groups[k] = &amicleanup.Group{Key: k.group, Architecture: k.arch, Now: time.Unix(1700000020, 0)}
		}
		groups[k].Images = append(groups[k].Images, amicleanup.Stamped{Image: item.Image, Stamp: item.Stamp})
	}
	if len(keepers) == 0 && len(removed) > 0 {
		t.Errorf("seed %d: no keepers, and yet %v is removed", seed, removed)
	}
	for k, g := range groups {
		newest, usable := "", ""
		var at, usableAt time.Time
		for _, img := range g.Images {
			if !img.Stamp.Before(at) && (img.Stamp.After(at) || img.ID > newest) {
				newest, at = img.ID, img.Stamp
			}
			if img.State == "available" && !img.Stamp.Before(usableAt) && (img.Stamp.After(usableAt) || img.ID > usable) {
				usable, usableAt = img.ID, img.Stamp
			}
		}
		if removed[newest] || removed[usable] {
			t.Errorf("seed %d: group %v: the newest, %s or %s, is removed", seed, k, newest, usable)
		}
		for _, keeper := range keepers {
			for _, r := range keeper.Keep(g) {
				if removed[r.ImageID] && !r.Blocked {
					t.Errorf("seed %d: %s is removed though it %s", seed, r.ImageID, r.Text)
				}
			}
		}
	}
}
