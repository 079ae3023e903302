package amicleanup_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// lagging is an estate that shows new resources and tags late and unevenly.
type lagging struct {
	*estate

	lag     time.Duration
	builder string // an instance
}

// withLags runs a test under several lags, with three settled images "web STAMP".
func withLags(t *testing.T, test func(w *lagging)) {
	t.Helper()
	for _, tt := range []struct {
		lag  time.Duration
		seed uint64
	}{
		{300 * time.Millisecond, 0}, {9 * time.Second, 0}, {20 * time.Second, 0},
		{2 * time.Second, 1}, {9 * time.Second, 2}, {9 * time.Second, 3}, {20 * time.Second, 4},
	} {
		t.Run(fmt.Sprint(tt.lag, " seed ", tt.seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := ec2test.New(&ec2test.Options{
					Regions: []string{where}, Consistency: tt.lag, ConsistencySeed: tt.seed,
					Latency: ec2test.Latency{Call: 20 * time.Millisecond},
				})
				defer server.Close()
				cfg := server.Config(where)
				w := &lagging{lag: tt.lag, estate: &estate{Server: server, t: t, ec2: awsec2.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg)}}
				w.builder = launch(t, w.ec2, w.image("base"))
				time.Sleep(tt.lag)
				for i := range 3 {
					w.ids = append(w.ids, w.bake(fmt.Sprintf("web %d", after(i).Unix())))
				}
				time.Sleep(tt.lag)
				w.cleaner = &amicleanup.Cleaner{
					Targets: []amicleanup.Target{w.target("")},
					Policy: amicleanup.Policy{
						Select: amicleanup.Select{Name: "{group} {unix}"},
						Keep:   []amicleanup.Rule{amicleanup.NewestUsable(1), amicleanup.Tagged("keep", "*")},
					},
				}
				test(w)
			})
		})
	}
}

func (w *lagging) bake(name string, tagged ...string) string {
	w.t.Helper()
	in := &awsec2.CreateImageInput{InstanceId: &w.builder, Name: &name, NoReboot: aws.Bool(true)}
	if len(tagged) > 0 {
		for _, kind := range []ec2types.ResourceType{ec2types.ResourceTypeImage, ec2types.ResourceTypeSnapshot} {
			in.TagSpecifications = append(in.TagSpecifications, ec2types.TagSpecification{ResourceType: kind, Tags: tags(tagged...)})
		}
	}
	out, err := w.ec2.CreateImage(w.t.Context(), in)
	return *do(w.estate, out, err).ImageId
}

func (w *lagging) tag(id string, pairs ...string) {
	w.t.Helper()
	out, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: tags(pairs...)})
	do(w.estate, out, err)
}

func (w *lagging) untag(id, key string) {
	w.t.Helper()
	out, err := w.ec2.DeleteTags(w.t.Context(), &awsec2.DeleteTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{{Key: &key}}})
	do(w.estate, out, err)
}

func (w *lagging) undo(r *amicleanup.Result) *amicleanup.Result {
	w.t.Helper()
	out, err := w.cleaner.Undo(w.t.Context(), r)
	return do(w.estate, out, err)
}

func (w *lagging) there() map[string]ec2test.Resource { return w.existing("image") }

// existing returns the resources that exist, including those not shown yet.
func (w *lagging) existing(kind string) map[string]ec2test.Resource {
	all := map[string]ec2test.Resource{}
	for _, r := range w.Resources(func(r ec2test.Resource) bool { return r.Type == kind }) {
		all[r.ID] = r
	}
	return all
}

func (w *lagging) wantThere(when string, ids ...string) {
	w.t.Helper()
	got := w.there()
	maps.DeleteFunc(got, func(_ string, r ec2test.Resource) bool { return !strings.HasPrefix(r.Name, "web ") })
	if diff := cmp.Diff(slices.Sorted(slices.Values(ids)), slices.Sorted(maps.Keys(got))); diff != "" {
		w.t.Errorf("%s: images (-want +got):\n%s", when, diff)
	}
}

// TestLifecycleWithLags takes images through all steps, back and forth, without
// pauses.
func TestLifecycleWithLags(t *testing.T) {
	withLags(t, func(w *lagging) {
		t, old, stay := w.t, w.ids[0], w.ids[1:]
		w.share(old)
		before, _ := w.look(old)
		w.cleaner.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: 7 * day, DisableFor: 14 * day}
		w.cleaner.Policy.Keep = append(w.cleaner.Policy.Keep, amicleanup.IDs(stay...))
		same := func(when string) {
			t.Helper()
			time.Sleep(w.lag)
			img, accounts := w.look(old)
			if diff := cmp.Diff(before, img, cmp.Exporter(exportAll)); diff != "" || !slices.Equal(accounts, []string{neighbour}) {
				t.Errorf("%s, shared with %v (-before +now):\n%s", when, accounts, diff)
			}
		}
		// Step runs four times. It returns the result of the run that took the
		// wanted step, which only one may do; an empty outcome wants none.
		step := func(want amicleanup.Outcome) (done *amicleanup.Result) {
			t.Helper()
			for range 4 {
				r := night(t, w.cleaner)
				time.Sleep(w.lag / 2)
				for _, img := range r.Images {
					switch {
					case img.ID == old && img.Outcome == want && done == nil:
						done = r
					case img.ID != old || img.Outcome != amicleanup.Skipped && img.Outcome != amicleanup.AlreadyDone:
						t.Errorf("%v, want %q once", outcomes(r), want)
					}
				}
			}
			if (done != nil) != (want != "") {
				t.Fatalf("not %q in four runs", want)
			}
			return done
		}
		deprecated := step(amicleanup.Deprecated)
		w.undo(deprecated)
		same("the deprecation undone")
		r := night(t, w.cleaner)
		w.undo(r)
		w.undo(r)
		same("undone at once, twice")
		step(amicleanup.Deprecated)
		time.Sleep(7 * day)
		disabled := step(amicleanup.Disabled)
		if got := w.there()[old]; got.State != "disabled" || !strings.HasPrefix(got.Tags[amicleanup.TagRetired], "disabled ") {
			t.Errorf("after a week: %+v", got)
		}
		w.undo(disabled)
		if img, accounts := w.look(old); img.State != ec2types.ImageStateAvailable || !slices.Equal(accounts, []string{neighbour}) {
			t.Errorf("undone: %s, shared with %v", img.State, accounts)
		}
		step(amicleanup.Disabled)
		w.tag(old, "keep", "me")
		step(amicleanup.Restored)
		before.Tags = tags("keep", "me")
		same("wanted again")
		w.untag(old, "keep")
		step(amicleanup.Deprecated)
		for _, down := range []struct {
			after time.Duration
			want  amicleanup.Outcome
		}{{7*day - time.Hour, ""}, {time.Hour, amicleanup.Disabled}, {14*day - time.Hour, ""}} {
			time.Sleep(down.after)
			step(down.want)
			w.wantThere("on the way down", w.ids...)
		}
		time.Sleep(time.Hour)
		step(amicleanup.Removed)
		w.wantThere("at the end", stay...)
		if left := w.existing("snapshot"); len(left) != len(stay) {
			t.Errorf("snapshots left: %v", left)
		}
	})
}

// TestUseWithLags checks that Apply sees images that were put to use, tagged, built
// upon or replaced just before.
func TestUseWithLags(t *testing.T) {
	for name, use := range map[string]func(w *lagging, id string){
		"instance":        func(w *lagging, id string) { launch(w.t, w.ec2, id) },
		"launch template": func(w *lagging, id string) { w.template("web", id) },
		"parameter":       func(w *lagging, id string) { w.parameter("/web", id) },
		"tag":             func(w *lagging, id string) { w.tag(id, "keep", "me") },
		"layer":           func(w *lagging, id string) { w.bake("child", "bakestone:source", id) },
		"young, expiring": func(w *lagging, id string) { w.tag(id, "bakestone:expires", time.Now().Add(day).Format(time.RFC3339)) },
	} {
		t.Run(name, func(t *testing.T) {
			withLags(t, func(w *lagging) {
				w.cleaner.Policy.Keep = append(w.cleaner.Policy.Keep, amicleanup.ParentOfKept(),
					amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates(), inuse.Parameters()))
				use(w, w.ids[0])
				for range 3 {
					night(w.t, w.cleaner)
					if w.there()[w.ids[0]].ID == "" {
						w.t.Fatal("an image in use is removed")
					}
				}
				w.wantThere("finally", w.ids[0], w.ids[2])
			})
		})
	}
}

// TestNewImagesWithLags makes images while runs go on: the newest two that
// exist stay, shown or not, and the others go.
func TestNewImagesWithLags(t *testing.T) {
	withLags(t, func(w *lagging) {
		w.cleaner.Policy.Keep = []amicleanup.Rule{amicleanup.NewestUsable(2)}
		for i := 3; i < 8; i++ {
			w.ids = append(w.ids, w.bake(fmt.Sprintf("web %d", after(i).Unix())))
			night(w.t, w.cleaner)
			for _, id := range w.ids[len(w.ids)-2:] {
				if w.there()[id].ID == "" {
					w.t.Errorf("%s is removed, of %v", id, w.ids)
				}
			}
		}
		// An old image returns as a copy, which goes once it is shown.
		w.bake(fmt.Sprintf("web %d", after(0).Unix()))
		night(w.t, w.cleaner)
		time.Sleep(w.lag)
		night(w.t, w.cleaner)
		w.wantThere("finally", w.ids[6:]...)
		if left := w.existing("snapshot"); len(left) != 2 {
			w.t.Errorf("snapshots left: %v", left)
		}
	})
}

// TestRecycleBinWithLags takes back a removal at once, and again.
func TestRecycleBinWithLags(t *testing.T) {
	withLags(t, func(w *lagging) {
		rules := rbin.NewFromConfig(w.Config(where))
		for _, kind := range []rbintypes.ResourceType{rbintypes.ResourceTypeEc2Image, rbintypes.ResourceTypeEbsSnapshot} {
			out, err := rules.CreateRule(w.t.Context(), &rbin.CreateRuleInput{
				ResourceType: kind, RetentionPeriod: &rbintypes.RetentionPeriod{RetentionPeriodUnit: "DAYS", RetentionPeriodValue: aws.Int32(7)},
			})
			do(w.estate, out, err)
		}
		time.Sleep(time.Hour)
		removed := night(w.t, w.cleaner)
		for i, want := range []amicleanup.Outcome{amicleanup.Restored, amicleanup.AlreadyDone} {
			if out := w.undo(removed); out.Count(want) != 2 {
				w.t.Errorf("undo %d: %v, want %s", i, outcomes(out), want)
			}
			w.wantThere("undone", w.ids...)
		}
		removed = night(w.t, w.cleaner)
		w.wantThere("removed again", w.ids[2])
		w.Fail(ec2test.Fault{Action: "RestoreImageFromRecycleBin", When: ec2test.After, Code: "InternalError", Times: 1})
		if out := w.undo(removed); out.Count(amicleanup.Restored) != 1 || out.Count(amicleanup.AlreadyDone) != 1 {
			w.t.Errorf("undone with a lost answer: %v", outcomes(out))
		}
		w.wantThere("undone again", w.ids...)
	})
}

// TestOrphansWithLags has three old snapshots without an image, of which one
// is registered and another one attached by a launch template just now.
func TestOrphansWithLags(t *testing.T) {
	withLags(t, func(w *lagging) {
		t := w.t
		var snapshots []string
		for _, id := range w.ids {
			img, _ := w.look(id)
			snapshots = append(snapshots, snapshotsOf(img)[0])
			out, err := w.ec2.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &id})
			do(w.estate, out, err)
		}
		time.Sleep(2 * day)
		young := w.bake("web 1800000000")
		root := ec2types.BlockDeviceMapping{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: &snapshots[0]}}
		registered, err := w.ec2.RegisterImage(t.Context(), &awsec2.RegisterImageInput{
			Name: aws.String("web 1800000001"), RootDeviceName: root.DeviceName, BlockDeviceMappings: []ec2types.BlockDeviceMapping{root},
			Architecture: ec2types.ArchitectureValuesX8664, VirtualizationType: aws.String("hvm"),
		})
		do(w.estate, registered, err)
		attached, err := w.ec2.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String("data"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
				BlockDeviceMappings: []ec2types.LaunchTemplateBlockDeviceMappingRequest{{
					DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.LaunchTemplateEbsBlockDeviceRequest{SnapshotId: &snapshots[1]},
				}},
			},
		})
		do(w.estate, attached, err)
		w.cleaner.Policy = amicleanup.Policy{Snapshots: &amicleanup.SnapshotPolicy{Described: true}}
		for range 3 {
			night(t, w.cleaner)
		}
		img, _ := w.look(young)
		want := slices.Values(append(snapshotsOf(img), snapshots[:2]...))
		if diff := cmp.Diff(slices.Sorted(want), slices.Sorted(maps.Keys(w.existing("snapshot")))); diff != "" {
			t.Errorf("snapshots (-want +got):\n%s", diff)
		}
	})
}

// TestAfterBakeWithLags retires replaced images when EC2 does not list the new image
// yet, or lists it with the tag of an unfinished build.
func TestAfterBakeWithLags(t *testing.T) {
	withLags(t, func(w *lagging) {
		w.cleaner.Policy = amicleanup.Policy{Select: amicleanup.Select{Baked: true}, Keep: []amicleanup.Rule{amicleanup.Newest(1)}}
		retire := amicleanup.AfterBake(*w.cleaner)
		for i := range 4 {
			baked := []string{"bakestone:image", "web", "bakestone:build", fmt.Sprint("b", i), "bakestone:stamp", fmt.Sprint(after(i).Unix())}
			var id string
			if name := fmt.Sprint("web baked ", i); i%2 == 0 {
				id = w.bake(name, append(baked, "bakestone:expires", time.Now().Add(day).Format(time.RFC3339))...)
				time.Sleep(w.lag)
				w.untag(id, "bakestone:expires")
			} else {
				id = w.bake(name, baked...)
			}
			if err := retire.Publish(w.t.Context(), artifact{where: id}); err != nil {
				w.t.Error(err)
			}
			w.wantThere(fmt.Sprint("after bake ", i), append(slices.Clone(w.ids), id)...)
		}
	})
}

// TestServicesWithLags has two services run at the same moment, with a lock
// and without.
func TestServicesWithLags(t *testing.T) {
	for _, locked := range []bool{true, false} {
		t.Run(fmt.Sprint("locked ", locked), func(t *testing.T) {
			withLags(t, func(w *lagging) {
				t := w.t
				w.share(w.ids[0])
				w.cleaner.Policy.Snapshots = &amicleanup.SnapshotPolicy{Described: true}
				w.cleaner.Policy.Lifecycle = amicleanup.Lifecycle{DeprecateFor: day, DisableFor: day}
				both := func() (held int) {
					var runs [2]*service.Run
					var wg sync.WaitGroup
					for i := range runs {
						s := &service.Service{Cleaner: w.cleaner}
						if locked {
							s.Lock = &service.ParameterLock{Config: w.Config(where), Name: "/lock", Holder: fmt.Sprint("service ", i)}
						}
						wg.Go(func() { runs[i] = s.Once(t.Context()) })
					}
					wg.Wait()
					for _, r := range runs {
						if r.Err != nil {
							t.Error(r.Err)
						}
						if r.Held != "" {
							held++
						}
					}
					return held
				}
				for i := range 3 {
					w.wantThere("before the last step", w.ids...)
					if held := both(); (held == 1) != locked {
						t.Errorf("%d held", held)
					}
					for _, id := range w.ids[:2] {
						if on := w.there()[id].Tags[amicleanup.TagRetired]; strings.HasPrefix(on, "found") || i == 0 && !strings.HasSuffix(on, " -") {
							t.Errorf("day %d: %s is %q", i, id, on)
						}
					}
					time.Sleep(day + time.Hour)
				}
				both()
				w.wantThere("finally", w.ids[2])
				if left := w.existing("snapshot"); len(left) != 1 {
					t.Errorf("snapshots left: %v", left)
				}
			})
		})
	}
}
