package bake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A demandBuilder needs a machine of a type in a place.
type demandBuilder struct {
	bake.Builder

	demand bake.Demand
	err    error
}

func (b demandBuilder) Demand(context.Context, *bake.Image) (bake.Demand, error) {
	return b.demand, b.err
}

// A census counts the machines of several calls of Bake.
type census struct {
	mu    sync.Mutex
	now   map[string]int // by place, by type, and ""
	most  map[string]int
	order []string // names of images, as they got their machines
}

func (c *census) count(keys []string, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		c.now[key] += by
		c.most[key] = max(c.most[key], c.now[key])
	}
}

func newCensus() *census { return &census{now: map[string]int{}, most: map[string]int{}} }

// image returns an image whose machine lives for a minute.
func (c *census) image(name string, d bake.Demand) *bake.Image {
	keys := []string{"", d.Place, d.Place + " " + strings.Join(d.Types, " ")}
	return &bake.Image{
		Name: name, ProvisionOnly: true, Builder: demandBuilder{Builder: baketest.NewBuilder(nil), demand: d},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "work", Do: func(context.Context, bake.Machine) error {
			c.mu.Lock()
			c.order = append(c.order, name)
			c.mu.Unlock()
			c.count(keys, 1)
			defer c.count(keys, -1)
			time.Sleep(time.Minute)
			return nil
		}}},
	}
}

// TestLimitsOverCalls bakes with one call per image, as a service does.
func TestLimitsOverCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus()
		limits := &bake.Limits{Machines: 10, PerPlace: 5, PerType: 2, Places: map[string]int{"small": 1}, Types: map[string]int{"cheap": 0}}
		var calls sync.WaitGroup
		for i := range 60 {
			d := bake.Demand{Place: []string{"here", "there", "small"}[i%3], Types: []string{[]string{"big", "cheap"}[i/3%2]}}
			calls.Go(func() {
				if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits}, c.image(fmt.Sprint(i), d)); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		want := map[string]int{"": 10, "here": 5, "there": 5, "small": 1}
		for key, most := range want {
			if c.most[key] > most {
				t.Errorf("machines of %q at once = %d, want at most %d", key, c.most[key], most)
			}
		}
		for _, place := range []string{"here", "there"} {
			if c.most[place+" big"] != 2 || c.most[place+" cheap"] < 3 {
				t.Errorf("machines in %s at once: %d big and %d cheap, want 2 big and more cheap ones", place, c.most[place+" big"], c.most[place+" cheap"])
			}
		}
		if c.most[""] != 10 {
			t.Errorf("machines at once = %d, want all 10 to be used", c.most[""])
		}
	})
}

// TestLimitsOrder admits by priority, then in turns of the callers, then by arrival.
func TestLimitsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus()
		limits := &bake.Limits{Machines: 1}
		var calls sync.WaitGroup
		call := func(caller, name string, priority int) {
			img := c.image(name, bake.Demand{})
			img.Priority = priority
			calls.Go(func() {
				if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits, Caller: caller}, img); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		call("a", "first", 0)
		for i := range 3 {
			call("a", fmt.Sprintf("a%d", i), 0)
		}
		call("b", "b0", 0)
		call("b", "b1", 0)
		call("c", "late", -1)
		call("c", "urgent", 5)
		calls.Wait()
		want := []string{"first", "urgent", "b0", "a0", "b1", "a1", "a2", "late"} // a had the first turn
		if diff := cmp.Diff(want, c.order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// TestParallelPriority bakes the images of one call by priority.
func TestParallelPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus()
		var images []*bake.Image
		for i := range 5 {
			img := c.image(fmt.Sprint(i), bake.Demand{})
			img.Priority = i
			images = append(images, img)
		}
		if _, err := bake.Bake(t.Context(), &bake.Options{Parallel: 1}, images...); err != nil {
			t.Fatal(err)
		}
		// One may have begun before the others arrived.
		if rest := slices.DeleteFunc(slices.Clone(c.order), func(name string) bool { return name == c.order[0] }); !slices.IsSortedFunc(rest, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Errorf("order = %v, want the highest priorities first", c.order)
		}
	})
}

// TestLimitsEvents says what a build waits for and its place, and ends the wait with its
// context.
func TestLimitsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus()
		limits := &bake.Limits{PerType: 1}
		d := bake.Demand{Place: "here", Types: []string{"big"}}
		var calls sync.WaitGroup
		for i := range 4 {
			calls.Go(func() { _, _ = bake.Bake(t.Context(), &bake.Options{Limits: limits}, c.image(fmt.Sprint(i), d)) })
			synctest.Wait()
		}
		var queued []string
		observe := func(e bake.Event) {
			if e.Kind == bake.BuildQueued {
				queued = append(queued, fmt.Sprintf("%d %s", e.Queue, e.Text))
			}
		}
		var finished []string
		for _, name := range []string{"other type", "other place"} {
			other := bake.Demand{Place: "here", Types: []string{name}}
			if name == "other place" {
				other = bake.Demand{Place: name, Types: []string{"big"}}
			}
			if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits, Observe: observe}, c.image(name, other)); err != nil || len(queued) > 0 {
				t.Errorf("Bake() of another kind = %v, queued %v, want success without a wait", err, queued)
			}
		}
		began := time.Now()
		opts := &bake.Options{Limits: limits, Observe: observe, Lifetime: time.Hour}
		img := c.image("observed", d)
		var expires time.Time
		img.Steps = []bake.Step{{Name: "look", At: bake.BeforeProvision, Do: func(ctx context.Context) error {
			expires = bake.RunFromContext(ctx).Expires
			return nil
		}}}
		results, err := bake.Bake(t.Context(), opts, img)
		if err != nil {
			t.Fatal(err)
		}
		const all = "all 1 big in here are in use"
		if diff := cmp.Diff([]string{"1 " + all}, queued[len(queued)-1:]); diff != "" || len(queued) > 3 {
			t.Errorf("events %q, want the last to be place 1, and few (-want +got):\n%s", queued, diff)
		}
		if waited := expires.Sub(began) - time.Hour; waited <= 0 {
			t.Errorf("Lifetime ends %v after Bake, want it to begin after the wait", expires.Sub(began))
		}
		finished = append(finished, string(results[0].Status))
		calls.Wait()

		calls.Go(func() { _, _ = bake.Bake(t.Context(), &bake.Options{Limits: limits}, c.image("holder", d)) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		results, err = bake.Bake(ctx, opts, c.image("canceled", d))
		if !errors.Is(err, context.Canceled) || results[0].Status != bake.StatusCanceled {
			t.Errorf("Bake() canceled while it waits = %v, %v, want StatusCanceled", results, err)
		}
		calls.Wait()
		if _, err := bake.Bake(t.Context(), opts, c.image("after", d)); err != nil {
			t.Errorf("Bake() after a canceled wait = %v", err)
		}
		if finished[0] != string(bake.StatusProvisioned) {
			t.Errorf("status = %v, want provisioned", finished)
		}
	})
}

// TestLimitsInvalid rejects negative limits, and reports a Demand that fails.
func TestLimitsInvalid(t *testing.T) {
	limits := &bake.Limits{Machines: -1, PerPlace: -1, PerType: -1, Places: map[string]int{"here": -1}, Types: map[string]int{"big": -1}}
	err := bake.Validate(&bake.Options{Limits: limits}, newCensus().image("web", bake.Demand{}))
	for _, want := range []string{"Limits.Machines", "Limits.PerPlace", "Limits.PerType", `Limits.Places["here"]`, `Limits.Types["big"]`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want an error that names %s", err, want)
		}
	}
	broken := errors.New("broken")
	img := newCensus().image("web", bake.Demand{})
	img.Builder = demandBuilder{Builder: baketest.NewBuilder(nil), err: broken}
	if _, err := bake.Bake(t.Context(), &bake.Options{Limits: &bake.Limits{}}, img); !errors.Is(err, broken) {
		t.Errorf("Bake() = %v, want the error of Demand", err)
	}
}

// TestLimitsUntilPromotion lets the next build have the machine's place while an artifact
// is published, but not before its checks have ended.
func TestLimitsUntilPromotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := &bake.Limits{Machines: 1}
		first := &bake.Image{
			Name: "first", Builder: baketest.NewBuilder(nil),
			Checks: []bake.Check{bake.CheckFunc{Name: "slow", Do: func(context.Context, bake.Machine) error {
				time.Sleep(time.Minute)
				return nil
			}}},
			Publishers: []bake.Publisher{bake.PublisherFunc{Name: "slower", Do: func(context.Context, bake.Artifact) error {
				time.Sleep(time.Hour)
				return nil
			}}},
		}
		var calls sync.WaitGroup
		calls.Go(func() {
			if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits}, first); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		var launched time.Duration
		_, err := bake.Bake(t.Context(), &bake.Options{Limits: limits, Observe: func(e bake.Event) {
			if e.Kind == bake.StepStarted && launched == 0 {
				launched = e.Time.Sub(began)
			}
		}}, newCensus().image("second", bake.Demand{}))
		if err != nil || launched < time.Minute || launched > 2*time.Minute {
			t.Errorf("the second build began after %v, %v, want the minute of the first one's check", launched, err)
		}
		calls.Wait()
	})
}

// recordAt is a Store that keeps the record of when a step had begun.
type recordAt struct {
	bake.Store

	step   string
	record *bake.Record
}

func (s *recordAt) Save(ctx context.Context, r *bake.Record) error {
	begun := slices.ContainsFunc(r.Steps, func(step bake.StepRecord) bool { return step.Name == s.step && step.State == bake.StepBegun })
	if s.record == nil && begun {
		kept := *r
		kept.Steps, kept.Session = slices.Clone(r.Steps), slices.Clone(r.Session)
		s.record = &kept
	}
	return s.Store.Save(ctx, r)
}

// TestLimitsResumed resumes a build whose machine exists: it does not wait, but counts.
func TestLimitsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus()
		limits := &bake.Limits{Machines: 1}
		img := c.image("resumed", bake.Demand{Place: "here"})
		work := img.Provisioners
		died := make(chan struct{})
		img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "work", Do: func(context.Context, bake.Machine) error {
			<-died
			return errors.New("died")
		}}}
		store := &recordAt{Store: bake.MemoryStore(), step: "provision 1: work"}
		var first sync.WaitGroup
		dead := *img
		first.Go(func() { _, _ = bake.Bake(t.Context(), &bake.Options{Store: store}, &dead) })
		synctest.Wait()
		defer first.Wait()
		defer close(died)
		if store.record == nil {
			t.Fatal("the build did not begin its work")
		}
		img.Provisioners = work
		var calls sync.WaitGroup
		for i := range 2 {
			calls.Go(func() {
				_, _ = bake.Bake(t.Context(), &bake.Options{Limits: limits}, c.image(fmt.Sprint(i), bake.Demand{Place: "here"}))
			})
			synctest.Wait()
		}
		began := time.Now()
		if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits, Resume: []*bake.Record{store.record}}, img); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Minute+time.Second {
			t.Errorf("the resumed build took %v, want a minute without a wait", took)
		}
		calls.Wait()
		if diff := cmp.Diff([]string{"0", "resumed", "1"}, c.order); diff != "" || c.most[""] != 2 {
			t.Errorf("at most %d at once, want 2; order (-want +got):\n%s", c.most[""], diff)
		}
	})
}
