package amicleanup_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// night plans and applies once, and returns the outcomes.
func night(t testing.TB, c *amicleanup.Cleaner) *amicleanup.Result {
	t.Helper()
	plan, err := c.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// lifecycleCleaner returns a cleaner with a lifecycle, and its clock.
func lifecycleCleaner(f *fake, keep ...amicleanup.Rule) (*amicleanup.Cleaner, *stepped) {
	clock := &stepped{now: after(48)}
	f.now = clock.Now
	c := cleaner(f, keep...)
	c.Clock, c.Parallel = clock, 1
	c.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: 7 * day, DisableFor: 14 * day}
	return c, clock
}

func TestLifecycle(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.shares["ami-web0"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	c, clock := lifecycleCleaner(f, amicleanup.Newest(1))
	var got []string
	for n := range 30 {
		for _, o := range outcomes(night(t, c)) {
			got = append(got, fmt.Sprintf("night %d: %s", n, o))
		}
		clock.advance(day)
	}
	want := []string{
		"night 0: ami-web0 deprecated", "night 7: ami-web0 disabled",
		"night 21: ami-web0 removed", "night 21: snap-web0 removed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// An image that a rule keeps again returns as it was, from every step.
func TestLifecycleRestores(t *testing.T) {
	for _, nights := range []int{1, 8} {
		f := newFake()
		f.series("web", 2)
		f.set("ami-web0", func(img *ec2types.Image) {
			img.DeprecationTime = aws.String("2029-01-01T00:00:00.000Z") // as public images have one
			img.Public = aws.Bool(true)
		})
		f.shares["ami-web0"] = []ec2types.LaunchPermission{
			{Group: ec2types.PermissionGroupAll}, {UserId: aws.String("444455556666")},
			{OrganizationArn: aws.String("arn:aws:organizations::111122223333:organization/o-example")},
			{OrganizationalUnitArn: aws.String("arn:aws:organizations::111122223333:ou/o-example/ou-1")},
		}
		before, shares := f.images["ami-web0"], slices.Clone(f.shares["ami-web0"])
		c, clock := lifecycleCleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
		for range nights {
			night(t, c)
			clock.advance(day)
		}
		if state := f.images["ami-web0"].State; (nights == 8) != (state == ec2types.ImageStateDisabled) {
			t.Fatalf("after %d nights it is %s", nights, state)
		}
		used(f, "ami-web0", "i-1", ec2types.InstanceStateNameRunning)
		if got := outcomes(night(t, c)); !cmp.Equal(got, []string{"ami-web0 restored"}) {
			t.Errorf("after %d nights: %v", nights, got)
		}
		if diff := cmp.Diff(before, f.images["ami-web0"], cmp.Exporter(exportAll), sameTags()); diff != "" {
			t.Errorf("after %d nights it comes back (-before +now):\n%s", nights, diff)
		}
		if nights == 8 && !sameShares(shares, f.shares["ami-web0"]) {
			t.Errorf("shared with %v, before %v", f.shares["ami-web0"], shares)
		}
		if got := outcomes(night(t, c)); len(got) > 0 {
			t.Errorf("the night after: %v", got)
		}
	}
}

// Images that are kept only because something is unknown, or because they must not be
// touched, stay at their step.
func TestLifecycleLeavesBlockedImages(t *testing.T) {
	for name, trouble := range map[string]func(*fake, *amicleanup.Cleaner){
		"not known": func(f *fake, _ *amicleanup.Cleaner) {
			f.fail = func(action, _ string) error {
				if action == "DescribeInstances" {
					return apiError("RequestLimitExceeded")
				}
				return nil
			}
		},
		"protected": func(f *fake, _ *amicleanup.Cleaner) {
			f.set("ami-web0", func(img *ec2types.Image) { img.DeregistrationProtection = aws.String("enabled-without-cooldown") })
		},
		"no rules": func(_ *fake, c *amicleanup.Cleaner) { c.Policy.Keep = nil },
	} {
		f := newFake()
		f.series("web", 2)
		c, clock := lifecycleCleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
		night(t, c)
		clock.advance(8 * day)
		trouble(f, c)
		plan, err := c.Plan(t.Context())
		if err != nil && !errors.Is(err, amicleanup.ErrUsageUnknown) {
			t.Fatal(err)
		}
		if result, err := c.Apply(t.Context(), plan); err != nil || len(outcomes(result)) > 0 {
			t.Errorf("%s: %v, %v", name, outcomes(result), err)
		}
	}
}

func sameShares(a, b []ec2types.LaunchPermission) bool {
	text := func(all []ec2types.LaunchPermission) []string {
		var out []string
		for _, p := range all {
			out = append(out, fmt.Sprint(p.Group, aws.ToString(p.UserId), aws.ToString(p.OrganizationArn), aws.ToString(p.OrganizationalUnitArn)))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(text(a), text(b))
}

// sameTags treats nil and an empty list as equal.
func sameTags() cmp.Option {
	return cmp.Comparer(func(a, b []ec2types.Tag) bool {
		text := func(tags []ec2types.Tag) map[string]string {
			all := map[string]string{}
			for _, t := range tags {
				all[*t.Key] = *t.Value
			}
			return all
		}
		return maps.Equal(text(a), text(b))
	})
}

// A run that is interrupted between saving the permissions and disabling, or after
// enabling, loses no permission.
func TestLifecycleInterrupted(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.shares["ami-web0"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	c, _ := lifecycleCleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
	c.Policy.Lifecycle.DeprecateFor = 0
	failing := func(which string) {
		f.fail = func(action, _ string) error {
			if action == which {
				return apiError("InternalError")
			}
			return nil
		}
	}
	try := func() {
		plan := mustPlan(t, c)
		if _, err := c.Apply(t.Context(), plan); (err == nil) != (f.fail == nil) {
			t.Fatal(err)
		}
	}
	failing("DisableImage")
	try()
	if len(f.shares["ami-web0"]) != 1 || f.images["ami-web0"].State != ec2types.ImageStateAvailable {
		t.Fatal("the image was disabled, want an error before")
	}
	f.fail = nil
	try() // disabled
	used(f, "ami-web0", "i-1", ec2types.InstanceStateNameRunning)
	failing("ModifyImageAttribute")
	try() // enabled, not shared
	f.instances = nil
	f.fail = nil
	f.shares["ami-web0"] = []ec2types.LaunchPermission{{UserId: aws.String("777788889999")}} // by someone else
	try()                                                                                    // disabled again
	used(f, "ami-web0", "i-1", ec2types.InstanceStateNameRunning)
	try() // restored
	if got := f.shares["ami-web0"]; len(got) != 2 || f.images["ami-web0"].State != ec2types.ImageStateAvailable {
		t.Errorf("shared with %d after all, want 2; the calls: %s", len(got), strings.Join(f.changes(), "\n"))
	}
}

// An image whose permissions do not fit in tags stays.
func TestLifecycleManyPermissions(t *testing.T) {
	for n, want := range map[int]string{
		19: "ami-web0 disabled", 20: "ami-web0 disabled", 19 * 45: "ami-web0 disabled", 1000: "ami-web0 skipped",
	} {
		f := newFake()
		f.series("web", 2)
		for i := range n {
			f.shares["ami-web0"] = append(f.shares["ami-web0"], ec2types.LaunchPermission{UserId: aws.String(fmt.Sprintf("%012d", i))})
		}
		c, _ := lifecycleCleaner(f, amicleanup.Newest(1))
		c.Policy.Lifecycle.DeprecateFor = 0
		result := night(t, c)
		if got := outcomes(result); !cmp.Equal(got, []string{want}) {
			t.Errorf("shared with %d: %v, want %s", n, got, want)
		}
		for _, tag := range f.images["ami-web0"].Tags {
			if len(*tag.Value) > 256 {
				t.Errorf("shared with %d: tag %s has %d bytes", n, *tag.Key, len(*tag.Value))
			}
		}
		undone, err := c.Undo(t.Context(), result)
		if err != nil || len(f.shares["ami-web0"]) != n {
			t.Errorf("undone: %v, %v, shared with %d, want %d", outcomes(undone), err, len(f.shares["ami-web0"]), n)
		}
	}
}

// Images that were disabled by others also wait; failed images go at once.
func TestLifecycleDisabledAndFailedImages(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	for id, state := range map[string]ec2types.ImageState{"ami-web0": ec2types.ImageStateDisabled, "ami-web1": ec2types.ImageStateFailed} {
		f.set(id, func(img *ec2types.Image) { img.State = state })
	}
	c, clock := lifecycleCleaner(f, amicleanup.Newest(1))
	if got := outcomes(night(t, c)); !cmp.Equal(got, []string{"ami-web0 disabled", "ami-web1 removed", "snap-web1 removed"}) {
		t.Errorf("the first night: %v", got)
	}
	clock.advance(13 * day)
	if got := outcomes(night(t, c)); len(got) > 0 {
		t.Errorf("13 days later: %v", got)
	}
	clock.advance(day)
	if got := outcomes(night(t, c)); !cmp.Equal(got, []string{"ami-web0 removed", "snap-web0 removed"}) {
		t.Errorf("14 days later: %v", got)
	}
}

// Restored images stay disabled or deprecated if others had done it, and begin anew if
// others took a step back.
func TestLifecycleKeepsChangesOfOthers(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	f.set("ami-web0", func(i *ec2types.Image) { i.State = ec2types.ImageStateDisabled })
	f.set("ami-web1", func(i *ec2types.Image) { i.DeprecationTime = aws.String("2023-11-15T00:00:00.000Z") })
	c, clock := lifecycleCleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
	before := maps.Clone(f.images)
	same := func(when string, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if diff := cmp.Diff(before[id], f.images[id], cmp.Exporter(exportAll), sameTags()); diff != "" {
				t.Errorf("%s: %s (-before +now):\n%s", when, id, diff)
			}
		}
	}
	first := night(t, c)
	if n := first.Count(amicleanup.Deprecated) + first.Count(amicleanup.Disabled); n != 3 {
		t.Fatalf("the first night: %v", outcomes(first))
	}
	if _, err := c.Undo(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	same("undone", "ami-web0", "ami-web1", "ami-web2")
	night(t, c)
	for _, id := range []string{"ami-web0", "ami-web1"} {
		used(f, id, "i-"+id, ec2types.InstanceStateNameRunning)
	}
	f.set("ami-web2", func(i *ec2types.Image) { i.DeprecationTime = nil })
	clock.advance(7 * day)
	if got := outcomes(night(t, c)); !cmp.Equal(got, []string{"ami-web0 restored", "ami-web1 restored", "ami-web2 deprecated"}) {
		t.Errorf("a week later: %v", got)
	}
	same("restored", "ami-web0", "ami-web1")
}

// TestLifecycleSteps lets random worlds go through random lifecycles: an image takes
// at most one step per night and stays at it as long as it must.
func TestLifecycleSteps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt)
		lifecycle := drawLifecycle(rt)
		w.cleaner.Policy.Lifecycle = lifecycle
		since := map[string]time.Time{}
		for range 12 {
			before := w.images()
			plan := drawPlan(rt, w)
			result, err := w.cleaner.Apply(rt.Context(), plan)
			if err != nil {
				rt.Fatal(err)
			}
			now := w.images()
			for _, img := range result.Images {
				was := before[img.ID]
				on := tagOf(was, amicleanup.TagRetired)
				least, launchable := time.Duration(0), was.State == ec2types.ImageStateAvailable || was.State == ec2types.ImageStateDisabled
				if strings.HasPrefix(on, "deprecated") {
					least = lifecycle.DeprecateFor
				} else if strings.HasPrefix(on, "disabled") {
					least = lifecycle.DisableFor
				}
				if img.Outcome == amicleanup.Skipped || img.Outcome == amicleanup.Restored {
					continue
				}
				if at, ok := since[img.ID]; ok && w.clock.Now().Sub(at) < least {
					rt.Fatalf("%s is %s after %v, on %q", img.ID, img.Outcome, w.clock.Now().Sub(at), on)
				}
				if img.Outcome == amicleanup.Removed && launchable && lifecycle.DisableFor > 0 && was.State != ec2types.ImageStateDisabled && tagOf(was, "bakestone:expires") == "" {
					rt.Fatalf("%s was %s and is removed", img.ID, was.State)
				}
				if img.Outcome == amicleanup.Disabled && now[img.ID].State != ec2types.ImageStateDisabled {
					rt.Fatalf("%s is %s", img.ID, now[img.ID].State)
				}
				since[img.ID] = w.clock.Now()
			}
			w.clock.advance(day)
		}
	})
}

// TestUndoRestoresEverything takes back a night's changes and finds the world as it was.
func TestUndoRestoresEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for _, f := range w.regions {
			f.binOn = true
		}
		w.cleaner.Policy.Lifecycle = drawLifecycle(t)
		for range rapid.IntRange(0, 4).Draw(t, "nights") {
			if _, err := w.cleaner.Apply(t.Context(), drawPlan(t, w)); err != nil {
				t.Fatal(err)
			}
			w.clock.advance(day)
		}
		before := w.images()
		shares := map[string][]ec2types.LaunchPermission{}
		for _, f := range w.regions {
			maps.Copy(shares, f.shares)
		}
		plan := drawPlan(t, w)
		for i := range plan.Targets { // a restored image cannot be taken back
			plan.Targets[i].Items = slices.DeleteFunc(plan.Targets[i].Items, func(item amicleanup.Item) bool { return item.Action == amicleanup.Restore })
		}
		result, err := w.cleaner.Apply(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // twice is as good as once
			if _, err := w.cleaner.Undo(t.Context(), result); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before, w.images(), cmp.Exporter(exportAll), sameTags()); diff != "" {
			t.Fatalf("images (-before +after):\n%s", diff)
		}
		for id := range before {
			for _, f := range w.regions {
				if _, here := f.images[id]; here && !sameShares(shares[id], f.shares[id]) {
					t.Fatalf("%s is shared with %v, before %v", id, f.shares[id], shares[id])
				}
			}
		}
	})
}
