package bake_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A fleet is a service with one store and several processes.
type fleet struct {
	t      *testing.T
	memory *baketest.Builder
	store  bake.Store
	step   time.Duration

	mu     sync.Mutex
	events []bake.Event
	gone   bool // the definitions are
	ran    int  // how often the step of base ran
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	return &fleet{t: t, memory: baketest.NewBuilder(nil), store: bake.MemoryStore(), step: time.Minute}
}

func (f *fleet) images(_ context.Context, labels map[string]string) ([]*bake.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if labels["version"] == "" {
		return nil, errPlanted
	}
	if f.gone {
		return nil, nil
	}
	base := &bake.Image{Name: "base", Builder: f.memory, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Version: labels["version"], Do: func(ctx context.Context, _ bake.Machine) error {
		f.mu.Lock()
		f.ran++
		f.mu.Unlock()
		select {
		case <-time.After(f.step):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}}}
	top := &bake.Image{Name: "top", Builder: f.memory, From: base}
	return []*bake.Image{top, base, {Name: "other", Builder: f.memory}}, nil
}

func (f *fleet) runner(store bake.Store) *bake.Runner {
	return &bake.Runner{
		Images: f.images,
		Options: &bake.Options{Store: store, Observe: func(e bake.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e)
		}},
	}
}

// serve runs a process. The func it returns ends it with a cause.
func (f *fleet) serve(r *bake.Runner) (end func(cause error)) {
	ctx, cancel := context.WithCancelCause(f.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	return func(cause error) {
		cancel(cause)
		if err := <-ended; !errors.Is(err, cause) {
			f.t.Errorf("Serve = %v, want %v", err, cause)
		}
	}
}

func (f *fleet) count(kind bake.EventKind) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (f *fleet) start(r *bake.Runner, names ...string) []*bake.Record {
	f.t.Helper()
	recs, err := r.Start(f.t.Context(), bake.Request{Images: names, Labels: map[string]string{"version": "1"}})
	if err != nil {
		f.t.Fatal(err)
	}
	return recs
}

func (f *fleet) load(build string) *bake.Record {
	f.t.Helper()
	rec, err := f.store.Load(f.t.Context(), build)
	if err != nil {
		f.t.Fatal(err)
	}
	return rec
}

var errEnd = errors.New("end of the test")

// TestRunnerHandsOver replaces the process of a service within a step, as a rolling deploy
// does, by SIGTERM or by a kill.
func TestRunnerHandsOver(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			f.step = 10 * time.Minute
			cut := &partition{Store: f.store}
			first := f.runner(cut)
			recs := f.start(first, "top")
			if len(recs) != 2 || recs[0].Image != "base" || recs[1].From != recs[0].Build {
				t.Fatalf("Start = %v, want base and top", recs)
			}
			end := f.serve(first)
			time.Sleep(30 * time.Second)
			second := f.runner(f.store)
			endSecond := f.serve(second)
			if killed {
				cut.set(true, false)
			} else {
				end(bake.ErrSuspended)
			}
			time.Sleep(25 * time.Minute)
			top := f.load(recs[1].Build)
			if !top.Ended() || top.Status != bake.StatusBaked || top.Labels["version"] != "1" {
				t.Errorf("killed %t: record of top = %+v, want baked", killed, top)
			}
			if got := f.memory.Existing(); len(got) != 2 || f.ran != 2 {
				t.Errorf("killed %t: existing %v, the step ran %d times; want two images, 2", killed, got, f.ran)
			}
			if taken := f.count(bake.BuildTaken); (taken > 0) != killed {
				t.Errorf("killed %t: %d builds taken over", killed, taken)
			}
			if killed {
				end(errEnd) // it must not clean up what is no longer its
				if got := f.memory.Existing(); len(got) != 2 {
					t.Errorf("existing %v after the end of the first process, want two images", got)
				}
			}
			endSecond(errEnd)
		})
	}
}

// TestRunnersShare lets three processes work on the same store.
func TestRunnersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		ends := make([]func(error), 0, 3)
		var runners []*bake.Runner
		for range 3 {
			r := f.runner(f.store)
			r.Parallel = 10
			runners = append(runners, r)
			ends = append(ends, f.serve(r))
		}
		var recs []*bake.Record
		for i := range 30 {
			recs = append(recs, f.start(runners[i%3], "top")...)
		}
		time.Sleep(10 * time.Minute)
		for _, rec := range recs {
			if rec := f.load(rec.Build); rec.Status != bake.StatusBaked || !rec.Ended() {
				t.Errorf("record %+v, want baked", rec)
			}
		}
		if got := f.memory.Existing(); len(got) != 60 || f.ran != 30 {
			t.Errorf("%d resources, %d steps run, want 60, 30", len(got), f.ran)
		}
		for _, end := range ends {
			end(errEnd)
		}
	})
}

// TestRunnerRemoves undoes a build whose definition is gone, and later its record.
func TestRunnerRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		first := f.runner(f.store)
		end := f.serve(first)
		recs := f.start(first, "top")
		time.Sleep(30 * time.Second)
		end(bake.ErrSuspended)
		f.gone = true
		second := f.runner(f.store)
		second.Keep = time.Hour
		var archived []string
		second.Archive = func(_ context.Context, rec *bake.Record) error {
			archived = append(archived, rec.Image)
			return nil
		}
		endSecond := f.serve(second)
		time.Sleep(time.Minute)
		if f.count(bake.Message) == 0 || len(f.memory.Existing()) != 1 {
			t.Errorf("existing %v, want the machine and a message: there is no Builder", f.memory.Existing())
		}
		endSecond(errEnd)
		second.Builder = func(context.Context, *bake.Record) (bake.Builder, error) { return f.memory, nil }
		endSecond = f.serve(second)
		time.Sleep(time.Minute)
		for _, rec := range recs {
			if rec := f.load(rec.Build); !rec.Ended() || rec.Status != bake.StatusCanceled || !strings.Contains(rec.Error, "definition") {
				t.Errorf("record of %s = %+v, want canceled", rec.Image, rec)
			}
		}
		if got := f.memory.Existing(); len(got) != 0 {
			t.Errorf("existing %v, want nothing", got)
		}
		time.Sleep(2 * time.Hour)
		if left, err := f.store.List(t.Context()); err != nil || len(left) != 0 || !slices.Equal(archived, []string{"base", "top"}) && !slices.Equal(archived, []string{"top", "base"}) || f.count(bake.RecordRemoved) != 2 {
			t.Errorf("records after two hours: %v, %v, archived %v; want none, both", left, err, archived)
		}
		endSecond(errEnd)
	})
}

// TestRunnerCancel cancels builds that run and that wait, and drops a build whose
// definitions cannot be read without blocking others.
func TestRunnerCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		r := f.runner(f.store)
		r.Parallel = 1
		end := f.serve(r)
		recs := f.start(r, "top")
		time.Sleep(2 * time.Second) // ids are in the order of their seconds
		waiting := f.start(r, "other")
		time.Sleep(10 * time.Second)
		for _, rec := range []*bake.Record{recs[0], waiting[0]} {
			if err := bake.Cancel(t.Context(), f.store, rec.Build, "by ada"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		for build, want := range map[string]bake.Status{recs[0].Build: bake.StatusCanceled, recs[1].Build: bake.StatusSkipped, waiting[0].Build: bake.StatusCanceled} {
			if rec := f.load(build); rec.Status != want || !rec.Ended() {
				t.Errorf("record of %s = %s, %+v; want %s", rec.Image, rec.Status, rec, want)
			}
		}
		if got := f.memory.Existing(); len(got) != 0 {
			t.Errorf("existing %v, want nothing", got)
		}
		end(errEnd)
	})
}

func TestRunnerValidates(t *testing.T) {
	f := newFleet(t)
	for want, r := range map[string]*bake.Runner{
		"Runner.Options.Store: is required": {Images: f.images},
		"Runner.Images: is required":        {Options: &bake.Options{Store: f.store}},
		"Runner.Options.Resume":             {Images: f.images, Options: &bake.Options{Store: f.store, Resume: []*bake.Record{nil}}},
		"must not be negative":              {Images: f.images, Options: &bake.Options{Store: f.store}, Keep: -1},
	} {
		if err := r.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve = %v, want %q", err, want)
		}
	}
	r := f.runner(f.store)
	for want, names := range map[string][]string{"image absent: no definition": {"top", "absent"}, "no images": nil} {
		if recs, err := r.Start(t.Context(), bake.Request{Images: names, Labels: map[string]string{"version": "1"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start(%q) = %v, %v, want %q", names, recs, err, want)
		}
	}
	if _, err := r.Start(t.Context(), bake.Request{Images: []string{"top"}}); !errors.Is(err, errPlanted) {
		t.Errorf("Start without definitions = %v, want the planted error", err)
	}
	if builds, err := f.store.List(t.Context()); err != nil || len(builds) != 0 {
		t.Errorf("records %v, %v, want none", builds, err)
	}
}
