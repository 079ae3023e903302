package amicleanup_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
)

func TestVersionOrder(t *testing.T) {
	ordered := []string{"1.2.0-rc1", "1.2.0-rc2", "1.2.0-rc10", "1.2.0", "v1.2.1", "1.10", "1.10.0", "2-beta", "2.0.0+build5"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := amicleanup.CompareVersions(a, b); got != want {
				t.Errorf("CompareVersions(%s, %s) = %d, want %d", a, b, got, want)
			}
		}
	}
	f := newFake()
	for i, version := range []string{"1.9.0", "1.10.0", "1.2.0", "1.10.0-rc1"} { // in the order of their creation
		f.add("ami-"+version, "web "+version, func(img *ec2types.Image) {
			img.CreationDate = aws.String(after(i).Format("2006-01-02T15:04:05.000Z"))
		})
	}
	c := cleaner(f, amicleanup.NewestUsable(2))
	c.Policy.Select.Name = "{group} {version}"
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-1.2.0", "ami-1.9.0"}) {
		t.Errorf("removals %v", got)
	}
	c.Policy.Select.Name, c.Policy.Version = "{group} *", amicleanup.NewKey("suffix", func(img *amicleanup.Image) (string, bool) {
		return img.Name[len("web "):], img.Name != "web 1.2.0"
	})
	c.Policy.Keep = []amicleanup.Rule{amicleanup.Newest(1)}
	plan := mustPlan(t, c)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-1.10.0-rc1", "ami-1.9.0"}) || why(plan, "ami-1.2.0") != "has no version" {
		t.Errorf("removals %v, %q", got, why(plan, "ami-1.2.0"))
	}
}

func TestNewestPer(t *testing.T) {
	images := daily(8)
	for i := range images {
		images[i].Tags = map[string]string{"kernel": fmt.Sprint("6.", i%3)}
	}
	delete(images[0].Tags, "kernel")
	plan := evaluate(t, after(300), images, amicleanup.NewestPer(1, amicleanup.ByTag("kernel")))
	if got := kept(plan); !cmp.Equal(got, []string{"000", "005", "006", "007"}) {
		t.Errorf("kept %v", got)
	}
	if got := why(plan, "ami-005"); got != "is the newest usable of 6.2" {
		t.Errorf("kept because it %q", got)
	}
}

func TestPerClass(t *testing.T) {
	now := after(400 * 24)
	images := daily(400)
	for i := range images {
		images[i].Tags = map[string]string{"env": []string{"dev", "staging", "prod", "lab"}[i%4]}
	}
	plan := evaluate(t, now, images, amicleanup.PerClass("env", map[string][]amicleanup.Rule{
		"dev":     {amicleanup.YoungerThan(5 * amicleanup.Day)},
		"staging": {amicleanup.YoungerThan(10 * amicleanup.Day)},
		"prod":    {amicleanup.NewestUsable(3)},
	}))
	byClass := map[string]int{}
	for _, item := range plan.Targets[0].Items {
		if item.Action == amicleanup.Keep {
			byClass[item.Image.Tags["env"]]++
		}
	}
	if want := (map[string]int{"dev": 1, "staging": 2, "prod": 3, "lab": 100}); !cmp.Equal(byClass, want) {
		t.Errorf("kept %v, want %v", byClass, want)
	}
	empty := amicleanup.PerClass("env", map[string][]amicleanup.Rule{"dev": {amicleanup.YoungerThan(0)}, "prod": nil})
	if err := empty.Validate(); err == nil {
		t.Error("Validate: no error")
	}
}

// A lifecycle may end before anything is removed.
func TestLifecycleEnds(t *testing.T) {
	for _, end := range []amicleanup.Action{amicleanup.Deprecate, amicleanup.Disable} {
		f := newFake()
		f.series("web", 3)
		f.add("ami-failed", "web 1600000000", func(i *ec2types.Image) { i.State = ec2types.ImageStateFailed })
		f.set("ami-web1", func(i *ec2types.Image) {
			i.SourceImageId, i.SourceInstanceId = aws.String("ami-web0"), aws.String("i-1")
		})
		c, clock := lifecycleCleaner(f, amicleanup.Newest(1), amicleanup.ParentOfKept())
		c.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: day, DisableFor: day, End: end}
		for range 6 {
			night(t, c)
			clock.advance(2 * day)
		}
		plan := mustPlan(t, c)
		if len(f.images) != 4 || plan.Count(amicleanup.Keep) != 4 || why(plan, "ami-web0") != "is at the last step of the lifecycle" {
			t.Errorf("end %s: %d images left, web0 %q", end, len(f.images), why(plan, "ami-web0"))
		}
		want := ec2types.ImageStateAvailable
		if end == amicleanup.Disable {
			want = ec2types.ImageStateDisabled
		}
		if got := f.images["ami-web0"]; got.State != want || got.DeprecationTime == nil {
			t.Errorf("end %s: %s, deprecated %v", end, got.State, got.DeprecationTime)
		}
		c.Policy.Keep = append(c.Policy.Keep, amicleanup.IDs("ami-web0"))
		if r := night(t, c); r.Count(amicleanup.Restored) != 1 {
			t.Errorf("end %s: %v, want restored", end, outcomes(r))
		}
	}
}

// Every step has its limit.
func TestLimitsOfSteps(t *testing.T) {
	f := newFake()
	f.series("web", 10)
	c, clock := lifecycleCleaner(f, amicleanup.Newest(1))
	c.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: day, DisableFor: day}
	c.Policy.Limits = amicleanup.Limits{Removals: 1, Disables: 2, Deprecations: 3}
	var got [][3]int
	for range 5 {
		r := night(t, c)
		got = append(got, [3]int{r.Count(amicleanup.Deprecated), r.Count(amicleanup.Disabled), r.Count(amicleanup.Removed)})
		clock.advance(2 * day)
	}
	if diff := cmp.Diff([][3]int{{3, 0, 0}, {3, 2, 0}, {3, 2, 1}, {0, 2, 1}, {0, 2, 1}}, got); diff != "" {
		t.Errorf("deprecated, disabled, removed (-want +got):\n%s", diff)
	}
}

// Protection is lifted in one run, and the image is removed in a later one.
func TestLiftProtection(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	for _, id := range []string{"ami-web0", "ami-web1"} {
		f.set(id, func(i *ec2types.Image) { i.DeregistrationProtection = aws.String("enabled-with-cooldown") })
	}
	c, clock := lifecycleCleaner(f, amicleanup.Newest(1), amicleanup.IDs("ami-web1"))
	c.Policy.Lifecycle = amicleanup.Lifecycle{}
	if plan := mustPlan(t, c); plan.Removals() != 0 || why(plan, "ami-web0") != "is protected from deregistration" {
		t.Errorf("without LiftProtection: removals %v", removals(plan))
	}
	c.Policy.LiftProtection = true
	var all []string
	for range 4 {
		all = append(all, outcomes(night(t, c))...)
		clock.advance(13 * 60 * 60 * 1e9)
		if clock.Now().After(after(2*24 + 24)) {
			f.set("ami-web0", func(i *ec2types.Image) { i.DeregistrationProtection = aws.String("disabled") })
		}
	}
	if diff := cmp.Diff([]string{"ami-web0 unprotected", "ami-web0 removed", "snap-web0 removed"}, all[:3]); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got := *f.images["ami-web1"].DeregistrationProtection; got != "enabled-with-cooldown" {
		t.Errorf("a kept image is %s", got)
	}
}

func TestSelectFoldCase(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	for _, id := range []string{"ami-web0", "ami-web1", "ami-web2"} {
		f.set(id, func(i *ec2types.Image) { i.Tags = tags("Env", "DEV") })
	}
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Select.Tags = map[string]string{"Env": "dev"}
	if _, err := c.Plan(t.Context()); err == nil {
		t.Error("Plan with another case: no error")
	}
	c.Policy.Select.FoldCase = true
	if got := removals(mustPlan(t, c)); len(got) != 2 {
		t.Errorf("removals %v", got)
	}
}
