package amicleanup_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2"
)

// amicleanup reads the tags that ec2 sets, without importing it.
func TestTagsOfEC2(t *testing.T) {
	img := amicleanup.Image{Tags: map[string]string{ec2.TagBuild: "b1", ec2.TagImage: "web", ec2.TagTimestamp: "1700000000"}}
	build, _ := amicleanup.SameBuild().Of(&img)
	family, _ := amicleanup.ByDefinition().Of(&img)
	stamp, err := amicleanup.BakeTime(&img)
	if build != "b1" || family != "web" || !stamp.Equal(after(0)) || err != nil {
		t.Errorf("build %q, family %q, stamp %s, %v", build, family, stamp, err)
	}
	expired := img
	expired.State, img.State = "available", "available"
	expired.Tags = map[string]string{ec2.TagExpires: "2020-01-01T00:00:00Z"}
	if !img.Usable() || expired.Usable() {
		t.Error("an image of a build that has not ended is usable")
	}
	layer := amicleanup.Image{ID: "ami-2", Name: "app 1700000000", State: "available", Tags: map[string]string{ec2.TagSource: "ami-000"}}
	plan := evaluate(t, after(96), append(daily(3), layer), amicleanup.Newest(1), amicleanup.ParentOfKept())
	if got := why(plan, "ami-000"); got != "is what a kept image was made from" {
		t.Errorf("the base is kept because it %q", got)
	}
}

// two regions with five builds of web, one a day, as copies of each other; the
// first two also have an arm image.
func twoRegions() (home, far *fake, c *amicleanup.Cleaner) {
	home, far = newFake(), newFake()
	home.series("web", 5)
	for _, id := range []string{"ami-web0", "ami-web1", "ami-web2", "ami-web3", "ami-web4"} {
		home.set(id, func(img *ec2types.Image) { img.Tags = tags("bakestone:build", "b-"+id) })
		far.add("ami-copy"+id[len(id)-1:], *home.images[id].Name, func(i *ec2types.Image) {
			// Without the tags: CopyImage takes them along only when told to.
			i.SourceImageId, i.SourceImageRegion = aws.String(id), aws.String("eu-west-1")
		})
	}
	c = cleaner(home, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances()))
	c.Targets = append(c.Targets, target("us-east-1", far))
	c.Policy.Release = amicleanup.SameBuild()
	c.Parallel = 1
	return home, far, c
}

func TestReleaseStaysTogether(t *testing.T) {
	home, far, c := twoRegions()
	home.add("ami-arm", "web-arm 1700000000", func(i *ec2types.Image) {
		i.Architecture, i.Tags = ec2types.ArchitectureValuesArm64, tags("bakestone:build", "b-ami-web0")
	})
	used(far, "ami-copy1", "i-1", ec2types.InstanceStateNameRunning)
	plan := mustPlan(t, c)
	// Of build 0 the arm image is the newest of its group; of build 1 a copy is
	// in use.
	if diff := cmp.Diff([]string{"ami-copy2", "ami-copy3", "ami-web2", "ami-web3"}, removals(plan)); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	for id, want := range map[string]string{
		"ami-web1": "is of one release with a kept image", "ami-copy0": "is of one release with a kept image",
		"ami-copy1": "is in use",
	} {
		if got := why(plan, id); got != want {
			t.Errorf("%s is kept because it %q, want %q", id, got, want)
		}
	}
	// Since the plan, a copy of build 2 is tagged: then its source also stays.
	far.set("ami-copy2", func(img *ec2types.Image) { img.Tags = tags("keep", "1") })
	result, err := c.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ami-web2 skipped", "ami-web3 removed", "snap-web3 removed",
		"ami-copy2 skipped", "ami-copy3 removed", "snap-copy3 removed",
	}
	if diff := cmp.Diff(want, outcomes(result)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got := result.Images[0].Detail; got != "is of one release with a kept image (image ami-copy2)" {
		t.Errorf("detail %q", got)
	}
}

func TestReleaseWithFailedTarget(t *testing.T) {
	home, far, c := twoRegions()
	fail := func(string, string) error { return apiError("OptInRequired") }
	far.fail = fail
	plan, err := c.Plan(t.Context())
	if err == nil || plan.Removals() != 0 {
		t.Errorf("planned without a region: %v, %v", removals(plan), err)
	}
	if got := why(plan, "ami-web0"); got != "may be related to an image in us-east-1, which was not read" {
		t.Errorf("kept because it %q", got)
	}
	far.fail = nil
	plan = mustPlan(t, c)
	far.fail = fail
	if result, err := c.Apply(t.Context(), plan); err == nil || len(home.changes()) > 0 {
		t.Errorf("applied without a region: %v, %v", outcomes(result), err)
	}
}

// The images of a release take each step together.
func TestReleaseLifecycle(t *testing.T) {
	home, far, c := twoRegions()
	clock := &stepped{now: after(48)}
	home.now, far.now, c.Clock = clock.Now, clock.Now, clock
	c.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: 2 * day}
	delete(far.images, "ami-copy0")
	night(t, c)
	clock.advance(day)
	far.add("ami-copy0", "web 1700000000", func(i *ec2types.Image) { // copied in the meantime
		i.SourceImageId, i.SourceImageRegion = aws.String("ami-web0"), aws.String("eu-west-1")
	})
	night(t, c)
	clock.advance(day)
	plan := mustPlan(t, c)
	if got := why(plan, "ami-web0"); got != "waits for the other images of its release" {
		t.Errorf("waits because it %q", got)
	}
	if _, err := c.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	clock.advance(day)
	night(t, c)
	if _, there := home.images["ami-web0"]; there || len(far.images) != 1 {
		t.Errorf("left: %d and %d images", len(home.images), len(far.images))
	}
}

func TestParentOfKept(t *testing.T) {
	home := newFake()
	home.series("base", 4)
	home.series("app", 2)
	layer := func(id, source string) {
		home.set(id, func(img *ec2types.Image) {
			img.SourceImageId, img.SourceInstanceId = aws.String(source), aws.String("i-1")
		})
	}
	layer("ami-app1", "ami-base1") // kept
	layer("ami-app0", "ami-base2") // goes
	layer("ami-base1", "ami-base0")
	home.add("ami-hand", "made by hand", func(i *ec2types.Image) { // not under the policy, so it stays
		i.SourceImageId, i.SourceInstanceId = aws.String("ami-app0"), aws.String("i-1")
	})
	c := cleaner(home, amicleanup.Newest(1), amicleanup.ParentOfKept())
	if got := removals(mustPlan(t, c)); len(got) > 0 {
		t.Errorf("removals %v, want none: %s", got, "app0 is the base of one made by hand")
	}
	delete(home.images, "ami-hand")
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-app0", "ami-base2"}) {
		t.Errorf("removals %v", got)
	}
	// A copy does not need its source.
	layer("ami-app1", "ami-base3")
	home.set("ami-app1", func(img *ec2types.Image) {
		img.SourceImageId, img.SourceInstanceId, img.SourceImageRegion = aws.String("ami-app0"), nil, aws.String("eu-west-1")
	})
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-app0", "ami-base0", "ami-base1", "ami-base2"}) {
		t.Errorf("with a copy: removals %v", got)
	}
}

// A base that stays for a blocked layer is also blocked.
func TestParentOfBlockedImage(t *testing.T) {
	now := after(100 * 24)
	images := daily(3)
	images[0].LastLaunched = after(0)
	images[1].Source, images[1].SourceInstance = "ami-000", "i-1"
	plan := evaluate(t, now, images, amicleanup.LaunchedWithin(day), amicleanup.ParentOfKept())
	r := plan.Targets[0].Items[2].Reasons
	if len(r) != 1 || !r[0].Blocked || r[0].Text != "is what a kept image was made from" || r[0].Rule != "ParentOfKept()" {
		t.Errorf("reasons %+v", r)
	}
}

// A base goes after its layers, even if it is older and the limit is one removal per
// run.
func TestParentGoesAfterLayers(t *testing.T) {
	f := newFake()
	f.series("base", 3)
	f.add("ami-app0", "app 1700100000", func(i *ec2types.Image) {
		i.SourceImageId, i.SourceInstanceId = aws.String("ami-base0"), aws.String("i-1")
	})
	f.add("ami-app1", "app 1700200000", nil)
	c := cleaner(f, amicleanup.Newest(1), amicleanup.ParentOfKept())
	c.Policy.Limits.Removals = 1
	var order []string
	for range 4 {
		for _, img := range night(t, c).Images {
			order = append(order, img.ID)
		}
	}
	if diff := cmp.Diff([]string{"ami-base1", "ami-app0", "ami-base0"}, order); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name   string
		limits amicleanup.Limits
		want   []string
		why    string // of ami-web3, or the newest that could go
	}{
		{"none", amicleanup.Limits{}, []string{"ami-web0", "ami-web1", "ami-web2", "ami-web3"}, ""},
		{"removals", amicleanup.Limits{Removals: 3}, []string{"ami-web0", "ami-web1", "ami-web2"}, "waits for a later run: this one is limited to 3 removals"},
		{"fraction", amicleanup.Limits{Fraction: 0.8}, []string{"ami-web0", "ami-web1", "ami-web2", "ami-web3"}, ""},
		{"too many", amicleanup.Limits{Fraction: 0.75}, nil, "is one of 4 to go of 5 in eu-west-1, which is more than the limit of 75 %"},
		{"left", amicleanup.Limits{MinLeft: 3}, []string{"ami-web0", "ami-web1"}, "is one of the 3 usable images that must be left"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.series("web", 5)
			c := cleaner(f, amicleanup.Newest(1))
			c.Policy.Limits = tt.limits
			plan := mustPlan(t, c)
			if diff := cmp.Diff(tt.want, removals(plan)); diff != "" {
				t.Errorf("removals (-want +got):\n%s", diff)
			}
			if got := why(plan, "ami-web3"); got != tt.why {
				t.Errorf("web3 is kept because it %q, want %q", got, tt.why)
			}
		})
	}
	c := cleaner(newFake())
	c.Policy.Limits = amicleanup.Limits{Removals: -1, Fraction: 2, MinLeft: -1, Recoverable: -1}
	c.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: -1, DisableFor: -1}
	c.Policy.PlanAge, c.Parallel = -1, -1
	err := c.Validate()
	for _, field := range []string{
		"Limits.Removals", "Limits.Fraction", "Limits.MinLeft", "Limits.Recoverable", "Lifecycle.DeprecateFor", "Lifecycle.DisableFor",
		"Policy.PlanAge", "Cleaner.Parallel",
	} {
		if err == nil || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

// A group whose newest image cannot be launched is left alone.
func TestNewestNotUsable(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	f.set("ami-web3", func(img *ec2types.Image) { img.State = ec2types.ImageStateFailed })
	c := cleaner(f, amicleanup.Newest(1))
	plan := mustPlan(t, c)
	if got := why(plan, "ami-web0"); plan.Removals() > 0 || got != "is older than ami-web3, the newest, which is failed" {
		t.Errorf("removals %v, kept because it %q", removals(plan), got)
	}
	c.Policy.Limits.AllowUnusableNewest = true
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-web0", "ami-web1"}) {
		t.Errorf("removals %v", got)
	}
}

// Apply follows its own policy, and refuses another account and an expired plan.
func TestApplyOtherPolicyAndAccount(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	clock := &stepped{now: after(48)}
	c := cleaner(f, amicleanup.Newest(1))
	c.Clock = clock
	c.Policy.PlanAge = 2 * day
	plan := mustPlan(t, c)

	other := *c
	other.Policy.Keep = []amicleanup.Rule{amicleanup.Newest(2)}
	if result, err := other.Apply(t.Context(), plan); err != nil || result.Images[1].Detail != "is one of the 2 newest" || len(f.changes()) != 1 {
		t.Errorf("by another policy: %v, %v", result, err)
	}
	f.add("ami-web0", "web 1700000000", nil)
	strangers := newFake()
	strangers.add("ami-x", "theirs", func(i *ec2types.Image) { i.OwnerId = aws.String("444455556666") })
	other = *c
	other.Targets = []amicleanup.Target{target("eu-west-1", strangers)}
	if _, err := other.Apply(t.Context(), plan); !errors.Is(err, amicleanup.ErrOtherAccount) || len(strangers.changes()) > 0 {
		t.Errorf("in another account: %v, %v", err, strangers.changes())
	}
	clock.advance(2 * day)
	if _, err := c.Apply(t.Context(), plan); !errors.Is(err, amicleanup.ErrExpired) {
		t.Errorf("two days later: %v", err)
	}
	if len(f.changes()) > 1 {
		t.Errorf("changes: %v", f.changes())
	}
}

// ParentWithin keeps so many generations above an image that is kept otherwise.
func TestParentWithin(t *testing.T) {
	for generations, want := range map[int][]string{
		1: {"ami-base0", "ami-base1", "ami-base2"}, 2: {"ami-base0", "ami-base1"}, 4: nil, amicleanup.AllGenerations: nil,
	} {
		f := newFake()
		f.series("base", 5)
		for i := range 4 {
			f.set(fmt.Sprint("ami-base", i+1), func(img *ec2types.Image) {
				img.SourceImageId, img.SourceInstanceId = aws.String(fmt.Sprint("ami-base", i)), aws.String("i-1")
			})
		}
		c := cleaner(f, amicleanup.Newest(1), amicleanup.ParentWithin(generations))
		clock := &stepped{now: after(48)}
		c.Clock = clock
		plan := mustPlan(t, c)
		if got := removals(plan); !cmp.Equal(got, want) {
			t.Errorf("ParentWithin(%d): removals %v, want %v", generations, got, want)
		}
		clock.now = clock.now.Add(time.Hour) // so that references are read again
		if result, err := c.Apply(t.Context(), plan); err != nil || result.Count(amicleanup.Removed) != len(want) {
			t.Errorf("ParentWithin(%d): Apply: %+v, %v", generations, result.Images, err)
		}
	}
	if err := amicleanup.ParentWithin(0).Validate(); err == nil {
		t.Error("ParentWithin(0): no error")
	}
}

// However images are related, each is visited a bounded number of times.
func TestEvaluationIsLinear(t *testing.T) {
	for name, relate := range map[string]func(i int, img *amicleanup.Image){
		"a chain of parents": func(i int, img *amicleanup.Image) { img.Source = fmt.Sprintf("ami-%017x", i-1) },
		"one parent of all":  func(_ int, img *amicleanup.Image) { img.Source = fmt.Sprintf("ami-%017x", 0) },
		"one release":        func(_ int, img *amicleanup.Image) { img.Tags["commit"] = "1" },
		"releases in a chain": func(i int, img *amicleanup.Image) {
			img.Source, img.Tags["commit"] = fmt.Sprintf("ami-%017x", max(i-7, 0)), fmt.Sprint(i/3)
		},
		"children before parents":  func(i int, img *amicleanup.Image) { img.Source = fmt.Sprintf("ami-%017x", i+1) },
		"images without relations": func(int, *amicleanup.Image) {},
	} {
		for _, limit := range []int{0, 100} {
			for _, remove := range [][]amicleanup.Match{nil, {amicleanup.Abandoned("*")}} {
				work := func(n int) int {
					images := manyImages(n)
					for i := range images {
						if images[i].SourceInstance = "i-1"; i > 0 {
							relate(i, &images[i])
						}
					}
					policy := amicleanup.Policy{
						Select: amicleanup.Select{Name: "{group} {unix}"}, Release: amicleanup.ByTag("commit"), Remove: remove,
						Keep: []amicleanup.Rule{amicleanup.Newest(1), amicleanup.ParentOfKept()}, Limits: amicleanup.Limits{Removals: limit},
					}
					return policy.EvaluationWork(after(2*n), where, images...)
				}
				if n := 2_000; work(n) > 3*n {
					t.Errorf("%s, limit %d, %d matches: %d visits for %d images", name, limit, len(remove), work(n), n)
				}
			}
		}
	}
}
