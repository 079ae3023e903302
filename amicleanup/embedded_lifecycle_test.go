package amicleanup_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// onBubble runs a test against an embedded EC2 on synctest's time.
func onBubble(t *testing.T, test func(w *estate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(&ec2test.Options{Regions: []string{where}})
		defer server.Close()
		w := &estate{Server: server, t: t, ec2: awsec2.NewFromConfig(server.Config(where))}
		vendor, err := w.ec2.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{Owners: []string{"amazon"}})
		if err != nil || len(vendor.Images) == 0 {
			t.Fatalf("no image to start from: %v", err)
		}
		builder := launch(t, w.ec2, *vendor.Images[0].ImageId)
		for _, name := range []string{"web 1700000000", "web 1700003600"} {
			w.ids = append(w.ids, createImage(t, w.ec2, builder, name))
			time.Sleep(time.Hour)
		}
		w.cleaner = &amicleanup.Cleaner{
			Targets: []amicleanup.Target{amicleanup.Connect(server.Config(where), &amicleanup.ConnectOptions{NoCallLimits: true})},
			Policy: amicleanup.Policy{
				Select: amicleanup.Select{Name: "{group} {unix}"},
				Keep:   []amicleanup.Rule{amicleanup.NewestUsable(1), amicleanup.Tagged("keep", "*")},
			},
		}
		test(w)
	})
}

// look reads an image with its launch permissions.
func (w *estate) look(id string) (img ec2types.Image, accounts []string) {
	w.t.Helper()
	out, err := w.ec2.DescribeImages(w.t.Context(), &awsec2.DescribeImagesInput{
		Owners: []string{"self"}, IncludeDisabled: aws.Bool(true), Filters: []ec2types.Filter{{Name: aws.String("image-id"), Values: []string{id}}},
	})
	if err != nil || len(out.Images) != 1 {
		w.t.Fatalf("%s: %d images, %v", id, len(out.Images), err)
	}
	shares, err := w.ec2.DescribeImageAttribute(w.t.Context(), &awsec2.DescribeImageAttributeInput{ImageId: &id, Attribute: ec2types.ImageAttributeNameLaunchPermission})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range shares.LaunchPermissions {
		accounts = append(accounts, aws.ToString(p.UserId))
	}
	return out.Images[0], accounts
}

// share shares an image with the neighbour.
func (w *estate) share(id string) {
	w.t.Helper()
	if _, err := w.ec2.ModifyImageAttribute(w.t.Context(), &awsec2.ModifyImageAttributeInput{
		ImageId: &id, LaunchPermission: &ec2types.LaunchPermissionModifications{Add: []ec2types.LaunchPermission{{UserId: aws.String(neighbour)}}},
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestLifecycleOnEmbeddedEC2(t *testing.T) {
	onBubble(t, func(w *estate) {
		t := w.t
		old := w.ids[0]
		w.share(old)
		before, _ := w.look(old)
		w.cleaner.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: 7 * day, DisableFor: 14 * day}

		if got := outcomes(night(t, w.cleaner)); !cmp.Equal(got, []string{old + " deprecated"}) {
			t.Fatalf("the first night: %v", got)
		}
		time.Sleep(7 * day)
		disabled := night(t, w.cleaner)
		img, accounts := w.look(old)
		if img.State != ec2types.ImageStateDisabled || len(accounts) > 0 || tagOf(img, amicleanup.TagShared+"0") != neighbour {
			t.Fatalf("after a week: %s, shared with %v, %v", img.State, accounts, outcomes(disabled))
		}
		// One step back, and down again.
		if _, err := w.cleaner.Undo(t.Context(), disabled); err != nil {
			t.Fatal(err)
		}
		img, accounts = w.look(old)
		if img.State != ec2types.ImageStateAvailable || !slices.Equal(accounts, []string{neighbour}) || img.DeprecationTime == nil {
			t.Fatalf("undone: %s, shared with %v, deprecated %v", img.State, accounts, img.DeprecationTime)
		}
		night(t, w.cleaner)
		// An instance uses it again.
		if _, err := w.ec2.CreateTags(t.Context(), &awsec2.CreateTagsInput{Resources: []string{old}, Tags: tags("keep", "me")}); err != nil {
			t.Fatal(err)
		}
		if got := outcomes(night(t, w.cleaner)); !cmp.Equal(got, []string{old + " restored"}) {
			t.Fatalf("wanted again: %v", got)
		}
		img, accounts = w.look(old)
		before.Tags = tags("keep", "me")
		if diff := cmp.Diff(before, img, cmp.Exporter(exportAll)); diff != "" || !slices.Equal(accounts, []string{neighbour}) {
			t.Errorf("restored, shared with %v (-before +now):\n%s", accounts, diff)
		}
		w.cleaner.Policy.Keep = w.cleaner.Policy.Keep[:1]
		night(t, w.cleaner)
		time.Sleep(7 * day)
		night(t, w.cleaner)
		time.Sleep(14 * day)
		last := night(t, w.cleaner)
		if len(last.Images) != 1 || last.Images[0].Outcome != amicleanup.Removed || last.Images[0].Snapshots[0].Outcome != amicleanup.Removed {
			t.Errorf("three weeks later: %v", outcomes(last))
		}
	})
}

// Undo restores images from the Recycle Bin; images that it would not keep stay.
func TestRecycleBinOnEmbeddedEC2(t *testing.T) {
	onBubble(t, func(w *estate) {
		t := w.t
		old := w.ids[0]
		w.share(old)
		before, _ := w.look(old)
		rules := rbin.NewFromConfig(w.Config(where))
		retain := func(kind rbintypes.ResourceType, days int32, tags ...rbintypes.ResourceTag) {
			if _, err := rules.CreateRule(t.Context(), &rbin.CreateRuleInput{
				ResourceType: kind, ResourceTags: tags,
				RetentionPeriod: &rbintypes.RetentionPeriod{RetentionPeriodUnit: "DAYS", RetentionPeriodValue: &days},
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.cleaner.Policy.Limits.Recoverable = 7 * day
		want := func(reason string) {
			t.Helper()
			plan := mustPlan(t, w.cleaner)
			if got := why(plan, old); got != reason || plan.Removals() != 0 {
				t.Errorf("%d removals; it stays because it %q, want %q", plan.Removals(), got, reason)
			}
		}
		want("would not be recoverable: the Recycle Bin keeps it for 0s, want 7 days")
		retain(rbintypes.ResourceTypeEc2Image, 30, rbintypes.ResourceTag{ResourceTagKey: aws.String("other")})
		retain(rbintypes.ResourceTypeEc2Image, 3)
		time.Sleep(time.Hour)
		want("would not be recoverable: the Recycle Bin keeps it for 3 days, want 7 days")
		retain(rbintypes.ResourceTypeEc2Image, 14)
		retain(rbintypes.ResourceTypeEbsSnapshot, 13)
		retain(rbintypes.ResourceTypeEbsSnapshot, 60, rbintypes.ResourceTag{ResourceTagKey: aws.String("Name")})
		time.Sleep(time.Hour)
		want("would not be recoverable: the Recycle Bin keeps its snapshots for 13 days, the image for 14 days")
		retain(rbintypes.ResourceTypeEbsSnapshot, 14)
		time.Sleep(time.Hour)

		removed := night(t, w.cleaner)
		if removed.Count(amicleanup.Removed) != 1 {
			t.Fatalf("removed: %v", outcomes(removed))
		}
		time.Sleep(13 * day)
		undone, err := w.cleaner.Undo(t.Context(), removed)
		if err != nil || undone.Count(amicleanup.Restored) != 1 {
			t.Fatalf("Undo: %v, %v", outcomes(undone), err)
		}
		time.Sleep(time.Minute)
		img, accounts := w.look(old)
		if diff := cmp.Diff(before, img, cmp.Exporter(exportAll)); diff != "" || !slices.Equal(accounts, []string{neighbour}) {
			t.Errorf("restored, shared with %v (-before +now):\n%s", accounts, diff)
		}
		removed = night(t, w.cleaner)
		time.Sleep(15 * day)
		undone, err = w.cleaner.Undo(t.Context(), removed)
		if err != nil || undone.Count(amicleanup.Gone) != 1 {
			t.Errorf("after its time in the Recycle Bin: %v, %v", outcomes(undone), err)
		}
	})
}

// Snapshots that a tool forgot when it deregistered their image.
func TestOrphansOnEmbeddedEC2(t *testing.T) {
	onBubble(t, func(w *estate) {
		t := w.t
		snapshots := map[string]string{}
		for _, id := range w.ids {
			img, _ := w.look(id)
			snapshots[id] = snapshotsOf(img)[0]
		}
		if _, err := w.ec2.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &w.ids[0]}); err != nil {
			t.Fatal(err)
		}
		w.cleaner.Policy = amicleanup.Policy{Snapshots: &amicleanup.SnapshotPolicy{Described: true}}
		orphans := func() map[string]string { return verdicts(mustPlan(t, w.cleaner)) }
		if diff := cmp.Diff(map[string]string{snapshots[w.ids[0]]: "is younger than 1 day"}, orphans()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		time.Sleep(2 * day)
		if _, err := w.ec2.DisableImage(t.Context(), &awsec2.DisableImageInput{ImageId: &w.ids[1]}); err != nil {
			t.Fatal(err)
		}
		days := int32(1)
		if _, err := w.ec2.LockSnapshot(t.Context(), &awsec2.LockSnapshotInput{
			SnapshotId: aws.String(snapshots[w.ids[0]]), LockMode: ec2types.LockModeGovernance, LockDuration: &days,
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{snapshots[w.ids[0]]: "is locked: governance"}, orphans()); diff != "" {
			t.Errorf("locked (-want +got):\n%s", diff)
		}
		time.Sleep(2 * day)
		result, err := w.cleaner.Apply(t.Context(), mustPlan(t, w.cleaner))
		if err != nil || result.CountSnapshots(amicleanup.Removed) != 1 || result.Snapshots[0].ID != snapshots[w.ids[0]] {
			t.Errorf("Apply: %+v, %v", result, err)
		}
		_, left := ownImages(t, w.ec2)
		delete(snapshots, w.ids[0])
		if diff := cmp.Diff(slices.Sorted(maps.Values(snapshots)), left); diff != "" {
			t.Errorf("snapshots left (-want +got):\n%s", diff)
		}
	})
}

// One run restores an image that another is about to disable, and neither sees the
// other's tags yet. Finally the image is as it was.
func TestCompetingRunsWithLags(t *testing.T) {
	withLags(t, func(w *lagging) {
		old := w.ids[0]
		w.share(old)
		before, _ := w.look(old)
		w.cleaner.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: 7 * day, DisableFor: 14 * day}
		w.cleaner.Policy.Keep = append(w.cleaner.Policy.Keep, amicleanup.IDs(w.ids[1]))
		night(w.t, w.cleaner)
		time.Sleep(7 * day)
		wanting := *w.cleaner
		wanting.Policy.Keep = append(slices.Clone(w.cleaner.Policy.Keep), amicleanup.IDs(old))
		disable, restore := mustPlan(w.t, w.cleaner), mustPlan(w.t, &wanting)
		if disable.Count(amicleanup.Disable) != 1 || restore.Count(amicleanup.Restore) != 1 {
			w.t.Fatalf("plans %+v, %+v", disable, restore)
		}
		result, err := w.cleaner.Apply(w.t.Context(), disable)
		do(w.estate, result, err)
		result, err = wanting.Apply(w.t.Context(), restore)
		do(w.estate, result, err)
		for range 3 {
			night(w.t, &wanting)
			time.Sleep(w.lag / 2)
		}
		time.Sleep(w.lag)
		img, accounts := w.look(old)
		if diff := cmp.Diff(before, img, cmp.Exporter(exportAll)); diff != "" || !slices.Equal(accounts, []string{neighbour}) {
			w.t.Errorf("restored, shared with %v (-before +now):\n%s", accounts, diff)
		}
	})
}
