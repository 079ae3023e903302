package amicleanup_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// Traps of removing images. trap_inuse_test.go has those of images in use,
// trap_reading_test.go those of reading.

// An image that only a person knows to be needed.
func TestTrapDoNotCleanTag(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	for id, list := range map[string][]ec2types.Tag{"ami-web0": tags("DoNotDelete", ""), "ami-web1": tags("DoNotDelete2", "yes")} {
		f.set(id, func(img *ec2types.Image) { img.Tags = list })
	}
	c := cleaner(f, amicleanup.Newest(1), amicleanup.Tagged("DoNotDelete", "*"))
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-web1", "ami-web2"}) {
		t.Errorf("removals %v", got)
	}
}

// Right after a bake nothing uses the new image; after a rollback it is not
// even the newest.
func TestTrapJustBuilt(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	f.templates = []ec2types.LaunchTemplateVersion{template("ami-web3")}
	c := cleaner(f, amicleanup.InUse(inuse.LaunchTemplates()))
	if err := amicleanup.AfterBake(*c).Publish(t.Context(), artifact{"eu-west-1": "ami-web1"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DeregisterImage ami-web0", "DeregisterImage ami-web2"}, slices.Sorted(slices.Values(f.changes()))); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// A failed build must not retire the image that it would have replaced.
func TestTrapFailedBuild(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	fails := bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return apiError("planted") }}
	img := &bake.Image{
		Name: "web", Builder: baketest.NewBuilder(nil), Checks: []bake.Check{fails},
		Publishers: []bake.Publisher{amicleanup.AfterBake(*cleaner(f, amicleanup.Newest(1)))},
	}
	if _, err := bake.Bake(t.Context(), nil, img); err == nil {
		t.Fatal("no error")
	}
	if len(f.calls) > 0 {
		t.Errorf("calls: %v", f.calls)
	}
}

// Images that others launch, in accounts that are not targets.
func TestTrapPublishedImages(t *testing.T) {
	f := newFake()
	f.series("web", 5)
	f.set("ami-web0", func(img *ec2types.Image) { img.Public = aws.Bool(true) })
	for id, p := range map[string]ec2types.LaunchPermission{
		"ami-web1": {UserId: aws.String("444455556666")},
		"ami-web2": {OrganizationArn: aws.String("arn:aws:organizations::111122223333:organization/o-example")},
	} {
		f.shares[id] = []ec2types.LaunchPermission{p}
	}
	c := cleaner(f, amicleanup.Newest(1), amicleanup.Public(), amicleanup.Shared())
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-web3"}) {
		t.Errorf("removals %v", got)
	}
}

// Disabling ends all sharing, and enabling does not bring it back.
func TestTrapDisablingDropsSharing(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.shares["ami-web0"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	c, _ := lifecycleCleaner(f, amicleanup.Newest(1))
	c.Policy.Lifecycle.DeprecateFor = 0
	night(t, c)
	if len(f.shares["ami-web0"]) != 0 {
		t.Fatal("the fake keeps the permissions of a disabled image")
	}
	c.Policy.Keep = []amicleanup.Rule{amicleanup.Newest(1), amicleanup.Shared()} // shared again counts as shared still
	if got := outcomes(night(t, c)); !cmp.Equal(got, []string{"ami-web0 restored"}) || len(f.shares["ami-web0"]) != 1 {
		t.Errorf("%v, shared with %v", got, f.shares["ami-web0"])
	}
}

// A mistaken policy removes everything.
func TestTrapMistakenPolicy(t *testing.T) {
	f := newFake()
	for i := range 50 {
		f.series(fmt.Sprintf("g%02d", i), 3)
	}
	c := cleaner(f, amicleanup.IDs("ami-none"))
	c.Policy.Limits.Fraction = 0.05
	if got := removals(mustPlan(t, c)); len(got) > 0 {
		t.Errorf("%d removals", len(got))
	}
	c.Policy.Limits = amicleanup.Limits{}
	if got := removals(mustPlan(t, c)); len(got) != 100 { // the newest of each group stays whatever the policy says
		t.Errorf("%d removals, want 100", len(got))
	}
}

// An unused template keeps an image forever: the plan names it, and reports templates
// whose image is gone.
func TestTrapStaleReferences(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	f.templates = []ec2types.LaunchTemplateVersion{template("ami-web0"), template("ami-2018")}
	s := &service.Service{Cleaner: cleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.LaunchTemplates()))}
	run := s.Once(t.Context())
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	item := run.Plan.Targets[0].Items[2]
	if item.Image.ID != "ami-web0" || !cmp.Equal(item.Reasons[0].Evidence, []string{"launch template lt-1 version 3"}) {
		t.Errorf("item %+v", item)
	}
	if pins := run.Plan.Targets[0].Stale; len(pins) != 1 || pins[0].ImageID != "ami-2018" || pins[0].Why != "is gone" {
		t.Errorf("stale references %+v, want ami-2018", pins)
	}
}

// A copy has its own creation date, so the order differs by region, and copies of
// removed images are forgotten.
func TestTrapRegionCopies(t *testing.T) {
	_, far, c := twoRegions()
	for i := range 5 { // copied in the opposite order
		far.set(fmt.Sprint("ami-copy", i), func(img *ec2types.Image) {
			img.CreationDate = aws.String(after(1000 - i).Format("2006-01-02T15:04:05.000Z"))
		})
	}
	want := []string{"ami-copy0", "ami-copy1", "ami-copy2", "ami-copy3", "ami-web0", "ami-web1", "ami-web2", "ami-web3"}
	if diff := cmp.Diff(want, removals(mustPlan(t, c))); diff != "" {
		t.Errorf("by the timestamp in the name (-want +got):\n%s", diff)
	}
	c.Policy.Timestamp = amicleanup.CreationDate // then the newest copy is of the oldest build, and both stay
	if got := removals(mustPlan(t, c)); slices.Contains(got, "ami-copy0") || slices.Contains(got, "ami-web0") {
		t.Errorf("by the creation date: removals %v", got)
	}
}

// An image may have many snapshots, and all of them cost.
func TestTrapFirstSnapshotOnly(t *testing.T) {
	for _, oldAPI := range []bool{false, true} {
		f := newFake()
		f.oldAPI = oldAPI
		f.series("web", 2)
		f.add("ami-web0", "web 1700000000", func(i *ec2types.Image) {
			for n := range 3 {
				i.BlockDeviceMappings = append(i.BlockDeviceMappings, ec2types.BlockDeviceMapping{
					Ebs: &ec2types.EbsBlockDevice{SnapshotId: aws.String(fmt.Sprint("snap-data", n))},
				})
			}
		})
		night(t, cleaner(f, amicleanup.Newest(1)))
		if len(f.snapshots) != 1 {
			t.Errorf("old API %v: snapshots left: %v", oldAPI, f.snapshots)
		}
	}
}

// A snapshot cannot be deleted before its image is gone; trying leaves an image
// that cannot be launched, or both.
func TestTrapSnapshotBeforeImage(t *testing.T) {
	f := newFake()
	f.oldAPI = true
	f.series("web", 2)
	night(t, cleaner(f, amicleanup.Newest(1)))
	if diff := cmp.Diff([]string{"DeregisterImage ami-web0", "DeleteSnapshot snap-web0"}, f.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// Two images may have one snapshot: then it goes with the last of them.
func TestTrapSharedBaseSnapshot(t *testing.T) {
	for _, oldAPI := range []bool{false, true} {
		f := newFake()
		f.oldAPI = oldAPI
		f.series("web", 3)
		for _, id := range []string{"ami-web1", "ami-web2"} {
			f.set(id, func(img *ec2types.Image) { img.BlockDeviceMappings = f.images["ami-web0"].BlockDeviceMappings })
		}
		delete(f.snapshots, "snap-web1")
		delete(f.snapshots, "snap-web2")
		if result := night(t, cleaner(f, amicleanup.Newest(1))); len(f.snapshots) != 1 || len(f.images) != 1 {
			t.Errorf("old API %v: %v, left %v", oldAPI, outcomes(result), f.snapshots)
		}
	}
}

// Snapshots of a disabled image, or of one that a tool's defaults skip, look orphaned.
func TestTrapSnapshotsOfDisabledImages(t *testing.T) {
	f := newFake()
	f.add("ami-x", "web 1700000000", func(i *ec2types.Image) { i.State = ec2types.ImageStateDisabled })
	f.orphan("snap-x", nil)
	if _, plan := orphanPlan(t, f, &amicleanup.SnapshotPolicy{}); plan.Removals() > 0 {
		t.Errorf("removals: %+v", plan.Targets)
	}
}

// The snapshot of a running CreateImage exists before its image shows it.
func TestTrapSnapshotOfRunningCreateImage(t *testing.T) {
	const image = "ami-0123456789abcdef0"
	f := newFake()
	f.add(image, "web 1700000000", func(i *ec2types.Image) { i.State, i.BlockDeviceMappings = ec2types.ImageStatePending, nil })
	f.orphan("snap-slow", func(s *ec2types.Snapshot) { s.Description = aws.String("Created by CreateImage(i-1) for " + image) })
	f.orphan("snap-new", func(s *ec2types.Snapshot) { s.StartTime = aws.Time(after(10*24 - 1)) })
	if _, plan := orphanPlan(t, f, &amicleanup.SnapshotPolicy{}); plan.Removals() > 0 {
		t.Errorf("removals: %+v", verdicts(plan))
	}
}

// One image that cannot be removed must not keep the others.
func TestTrapFirstError(t *testing.T) {
	f := newFake()
	f.series("web", 5)
	f.fail = func(action, id string) error {
		if action == "DeregisterImage" && id == "ami-web0" {
			return apiError("AuthFailure") // as for an image of AWS Backup
		}
		return nil
	}
	c := cleaner(f, amicleanup.Newest(1))
	result, err := c.Apply(t.Context(), mustPlan(t, c))
	if err == nil || result.Count(amicleanup.Removed) != 3 || result.Count(amicleanup.Failed) != 1 {
		t.Errorf("%v, %v", outcomes(result), err)
	}
}

// A snapshot that cannot be deleted must not keep the others.
func TestTrapFirstSnapshotError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.oldAPI = true
		f.series("web", 5)
		f.snapshots["snap-web0"] = 1000 // in use for ever
		f.fail = func(action, id string) error {
			if action == "DeleteSnapshot" && id == "snap-web1" {
				return apiError("InternalError")
			}
			return nil
		}
		c := cleaner(f, amicleanup.Newest(1))
		result, err := c.Apply(t.Context(), mustPlan(t, c))
		if err == nil || result.Count(amicleanup.Removed) != 4 || len(result.SnapshotsLeft()) != 2 {
			t.Errorf("%v, %v, left %v", outcomes(result), err, result.SnapshotsLeft())
		}
	})
}

// Two cleaners over the same images, such as two builds that end at once.
func TestTrapTwoCleanersAtOnce(t *testing.T) {
	f := newFake()
	f.series("web", 20)
	c := cleaner(f, amicleanup.Newest(2))
	plans := []*amicleanup.Plan{mustPlan(t, c), mustPlan(t, c)}
	results, errs := make([]*amicleanup.Result, 2), make([]error, 2)
	done := make(chan bool)
	for i := range plans {
		go func() {
			results[i], errs[i] = c.Apply(t.Context(), plans[i])
			done <- true
		}()
	}
	<-done
	<-done
	for i := range plans {
		if n := results[i].Count(amicleanup.Removed) + results[i].Count(amicleanup.Gone); errs[i] != nil || n != 18 {
			t.Errorf("cleaner %d: %v, %v", i, outcomes(results[i]), errs[i])
		}
	}
	if len(f.images) != 2 || len(f.snapshots) != 2 {
		t.Errorf("left %d images, %d snapshots", len(f.images), len(f.snapshots))
	}
}

// A list whose pages never end is an error, not a hang.
func TestTrapEndlessPages(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	c := cleaner(f, amicleanup.Newest(1))
	c.Targets[0] = target("eu-west-1", loop{f})
	if plan, err := c.Plan(t.Context()); err == nil || plan.Removals() > 0 || !strings.Contains(err.Error(), "do not end") {
		t.Errorf("removals %v, error %v", removals(plan), err)
	}
}
