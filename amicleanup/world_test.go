package amicleanup_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"pgregory.net/rapid"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// stepped is a clock that moves only when someone sleeps on it or sets it.
type stepped struct {
	mu  sync.Mutex
	now time.Time
}

func (c *stepped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stepped) Sleep(ctx context.Context, d time.Duration) error {
	if d >= time.Minute { // a limit, not a pause: wait for the end of the work
		<-ctx.Done()
		return context.Cause(ctx)
	}
	c.advance(max(d, 0))
	return context.Cause(ctx)
}

func (c *stepped) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A world is some regions with images of all sorts, and a policy for them.
type world struct {
	clock   *stepped
	regions map[string]*fake
	cleaner *amicleanup.Cleaner

	// The drawn policy, for the second implementation of the rules.
	newest, newestUsable int
	younger              time.Duration
	inUse, tagged        bool
	shared, parents      bool
	release              bool
	ids                  []string
}

const day = 24 * time.Hour

// drawWorld makes a world of up to two regions with up to 20 images each.
func drawWorld(t *rapid.T) *world {
	w := &world{clock: &stepped{now: after(100 * 24)}, regions: map[string]*fake{}}
	w.cleaner = &amicleanup.Cleaner{SettleTime: atOnce, Clock: w.clock, Parallel: rapid.IntRange(1, 3).Draw(t, "parallel")}
	for _, region := range []string{"eu-west-1", "us-east-1"}[:rapid.IntRange(1, 2).Draw(t, "regions")] {
		f := newFake()
		f.now, f.oldAPI = w.clock.Now, rapid.Bool().Draw(t, "old API")
		f.pageSize = rapid.IntRange(1, 10).Draw(t, "page")
		for i := range rapid.IntRange(0, 20).Draw(t, "images") {
			w.drawImage(t, f, region, i)
		}
		w.regions[region] = f
		w.cleaner.Targets = append(w.cleaner.Targets, target(region, f))
	}
	w.drawPolicy(t)
	return w
}

func (w *world) drawImage(t *rapid.T, f *fake, region string, i int) {
	id := fmt.Sprintf("ami-%s-%02d", region[:2], i)
	rarely := func(what string) bool { return rapid.IntRange(0, 7).Draw(t, what) == 0 }
	name := fmt.Sprintf("%s %d", rapid.SampledFrom([]string{"a", "b", "a b"}).Draw(t, "group"),
		after(24*rapid.IntRange(0, 99).Draw(t, "day")).Unix())
	if rarely("unreadable") {
		name = "a 12"
	}
	f.add(id, name, func(img *ec2types.Image) {
		img.State = rapid.SampledFrom([]ec2types.ImageState{
			ec2types.ImageStateAvailable, ec2types.ImageStateAvailable, ec2types.ImageStateAvailable, ec2types.ImageStateAvailable,
			ec2types.ImageStatePending, ec2types.ImageStateDisabled, ec2types.ImageStateFailed,
		}).Draw(t, "state")
		if rarely("arm") {
			img.Architecture = ec2types.ArchitectureValuesArm64
		}
		if rarely("protected") {
			img.DeregistrationProtection = aws.String("enabled-without-cooldown")
		}
		tag := func(key, value string) {
			img.Tags = append(img.Tags, ec2types.Tag{Key: aws.String(key), Value: aws.String(value)})
		}
		if rarely("tagged") {
			tag("keep", "yes")
		}
		if rapid.Bool().Draw(t, "baked") {
			tag("bakestone:build", fmt.Sprint("b", rapid.IntRange(0, 9).Draw(t, "build")))
		}
		if rarely("unfinished") {
			tag("bakestone:expires", w.clock.now.AddDate(0, 0, rapid.IntRange(-2, 2).Draw(t, "expires")).Format(time.RFC3339))
		}
		if rarely("layer") {
			img.SourceImageId = aws.String(fmt.Sprintf("ami-%s-%02d", region[:2], rapid.IntRange(0, 19).Draw(t, "source")))
			img.SourceInstanceId = aws.String("i-source")
		}
		if rarely("same snapshot") && i > 0 {
			img.BlockDeviceMappings[0].Ebs.SnapshotId = aws.String(fmt.Sprintf("snap-%s-%02d", region[:2], rapid.IntRange(0, i-1).Draw(t, "of")))
		}
	})
	if rarely("shared") && f.images[id].State == ec2types.ImageStateAvailable {
		f.shares[id] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	}
	if rarely("used") {
		used(f, id, "i-"+id, ec2types.InstanceStateNameRunning)
	}
}

func (w *world) drawPolicy(t *rapid.T) {
	p := &w.cleaner.Policy
	p.Select.Name = "{group} {unix}"
	some := func(what string) bool { return rapid.IntRange(0, 2).Draw(t, what) == 0 }
	if some("newest") {
		w.newest = rapid.IntRange(1, 4).Draw(t, "n")
		p.Keep = append(p.Keep, amicleanup.Newest(w.newest))
	}
	if rapid.Bool().Draw(t, "newest usable") {
		w.newestUsable = rapid.IntRange(1, 4).Draw(t, "n")
		p.Keep = append(p.Keep, amicleanup.NewestUsable(w.newestUsable))
	}
	if some("younger") {
		w.younger = time.Duration(rapid.IntRange(1, 90).Draw(t, "days")) * day
		p.Keep = append(p.Keep, amicleanup.YoungerThan(w.younger))
	}
	if w.inUse = rapid.Bool().Draw(t, "in use"); w.inUse {
		p.Keep = append(p.Keep, amicleanup.InUse(inuse.Instances()))
	}
	if w.tagged = rapid.Bool().Draw(t, "tagged"); w.tagged {
		p.Keep = append(p.Keep, amicleanup.Tagged("keep", "*"))
	}
	if w.shared = some("shared"); w.shared {
		p.Keep = append(p.Keep, amicleanup.Shared())
	}
	if w.parents = some("parents"); w.parents {
		p.Keep = append(p.Keep, amicleanup.ParentOfKept())
	}
	if some("ids") {
		w.ids = []string{"ami-eu-03", "ami-eu-07", "ami-us-01"}
		p.Keep = append(p.Keep, amicleanup.IDs(w.ids...))
	}
	if w.release = some("release"); w.release {
		p.Release = amicleanup.SameBuild()
	}
	if some("limit") {
		p.Limits.Removals = rapid.IntRange(1, 10).Draw(t, "removals")
		p.Limits.Disables = rapid.IntRange(1, 10).Draw(t, "disables")
	}
	if some("fraction") {
		p.Limits.Fraction = rapid.Float64Range(0.1, 1).Draw(t, "fraction")
	}
	p.Limits.MinLeft = rapid.IntRange(0, 3).Draw(t, "left")
	p.Limits.AllowUnusableNewest = rapid.Bool().Draw(t, "unusable newest")
}

func drawLifecycle(t *rapid.T) amicleanup.Lifecycle {
	return amicleanup.Lifecycle{
		DeprecateFor: time.Duration(rapid.IntRange(0, 3).Draw(t, "deprecated")) * day,
		DisableFor:   time.Duration(rapid.IntRange(0, 3).Draw(t, "disabled")) * day,
	}
}

// images returns all images of the world, by id.
func (w *world) images() map[string]ec2types.Image {
	all := map[string]ec2types.Image{}
	for _, f := range w.regions {
		maps.Copy(all, f.images)
	}
	return all
}

// sinceNow returns a func that returns the changes since.
func (w *world) sinceNow() func() []string {
	done := map[string]int{}
	for region, f := range w.regions {
		done[region] = len(f.changes())
	}
	return func() []string {
		var all []string
		for _, region := range slices.Sorted(maps.Keys(w.regions)) {
			all = append(all, w.regions[region].changes()[done[region]:]...)
		}
		return all
	}
}

func tagOf(img ec2types.Image, key string) string {
	for _, t := range img.Tags {
		if *t.Key == key {
			return *t.Value
		}
	}
	return ""
}

// acts returns the items of a plan that are to be changed, by image id.
func acts(plan *amicleanup.Plan) map[string]amicleanup.Item {
	all := map[string]amicleanup.Item{}
	for _, target := range plan.Targets {
		for _, item := range target.Items {
			switch item.Action {
			case amicleanup.Deprecate, amicleanup.Disable, amicleanup.Remove:
				all[item.Image.ID] = item
			}
		}
	}
	return all
}

// exportAll lets go-cmp compare the SDK's structs, which have an unexported field.
func exportAll(reflect.Type) bool { return true }
