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
)

func request(id string, names ...string) bake.Request {
	return bake.Request{ID: id, Images: names, Labels: map[string]string{"version": "1"}, Caller: "alice"}
}

// TestStartRequestOnce repeats a request in many processes at once, and again after the
// bake has ended.
func TestStartRequestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if recs, err := f.runner(f.store).Start(t.Context(), request("7", "top")); err != nil || len(recs) != 2 {
					t.Errorf("Start = %v, %v, want two records", recs, err)
				}
			})
		}
		all.Wait()
		end := f.serve(f.runner(f.store))
		time.Sleep(time.Hour)
		recs, err := f.runner(f.store).Start(t.Context(), request("7", "top"))
		if err != nil || len(recs) != 2 || recs[1].Status != bake.StatusBaked || recs[1].Caller != "alice" || recs[1].From != recs[0].Build {
			t.Errorf("the repeated Start = %+v, %v, want the ended bakes of alice", recs, err)
		}
		if recs, err := f.runner(f.store).Start(t.Context(), request("8", "top")); err != nil || recs[0].Status != "" {
			t.Errorf("Start of another request = %+v, %v, want new records", recs, err)
		}
		time.Sleep(time.Hour)
		if got := f.memory.Existing(); len(got) != 4 || f.ran != 2 {
			t.Errorf("existing %v, the step ran %d times; want four images of two requests, 2", got, f.ran)
		}
		end(errEnd)
	})
}

func TestStartRequestChanged(t *testing.T) {
	f := newFleet(t)
	r := f.runner(f.store)
	if _, err := r.Start(t.Context(), request("7", "top")); err != nil {
		t.Fatal(err)
	}
	labels, caller := request("7", "top"), request("7", "top")
	labels.Labels = map[string]string{"version": "2"}
	caller.Caller = "bob"
	for name, req := range map[string]bake.Request{"labels": labels, "caller": caller} {
		if _, err := r.Start(t.Context(), req); !errors.Is(err, bake.ErrRequestChanged) {
			t.Errorf("Start with other %s = %v, want %v", name, err, bake.ErrRequestChanged)
		}
	}
	if builds, err := f.store.List(t.Context()); err != nil || len(builds) != 2 {
		t.Errorf("records %v, %v, want those of the first request", builds, err)
	}
}

// A fullStore refuses all but the first saves.
type fullStore struct {
	bake.Store
	left int
}

func (s *fullStore) Save(ctx context.Context, r *bake.Record) error {
	if s.left--; s.left < 0 {
		return errPlanted
	}
	return s.Store.Save(ctx, r)
}

// TestStartInterrupted repeats a request that was recorded only in part.
func TestStartInterrupted(t *testing.T) {
	f := newFleet(t)
	if recs, err := f.runner(&fullStore{f.store, 1}).Start(t.Context(), request("7", "top")); !errors.Is(err, errPlanted) || len(recs) != 1 {
		t.Fatalf("Start in a full store = %v, %v, want one record and the planted error", recs, err)
	}
	recs, err := f.runner(f.store).Start(t.Context(), request("7", "top"))
	if err != nil || len(recs) != 2 {
		t.Fatalf("the repeated Start = %v, %v, want two records", recs, err)
	}
	if builds, err := f.store.List(t.Context()); err != nil || len(builds) != 2 {
		t.Errorf("records %v, %v, want two", builds, err)
	}
}

// TestStartCaller bakes for two callers with a limit of one machine: they take turns.
func TestStartCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		r := f.runner(f.store)
		r.Options.Limits = &bake.Limits{Machines: 1}
		end := f.serve(r)
		builds := map[string]string{} // callers by build
		for _, caller := range []string{"alice", "alice", "alice", "bob"} {
			req := request("", "base")
			req.Caller = caller
			recs, err := r.Start(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			builds[recs[0].Build] = caller
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		end(errEnd)
		var order []string
		for _, e := range f.events {
			if e.Kind == bake.BuildFinished {
				order = append(order, builds[e.Build])
			}
		}
		if want := []string{"alice", "bob", "alice", "alice"}; !slices.Equal(order, want) {
			t.Errorf("bakes ended for %v, want %v", order, want)
		}
		recs, err := bake.Records(t.Context(), f.store)
		if err != nil || len(recs) != 4 {
			t.Fatalf("Records = %v, %v, want four", recs, err)
		}
		for i, rec := range recs {
			if rec.Caller != builds[rec.Build] || i > 0 && rec.Created.Before(recs[i-1].Created) {
				t.Errorf("record %d is for %q, created %v", i, rec.Caller, rec.Created)
			}
			if rec.Planned == 0 || rec.Planned != len(rec.Steps) {
				t.Errorf("record %d planned %d steps and has %d, want all", i, rec.Planned, len(rec.Steps))
			}
		}
	})
}

// TestStartDefinitions starts an image whose source is not in the list of definitions, and
// one with two definitions of its source: one in the list, the other made for the image.
func TestStartDefinitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		r := f.runner(f.store)
		twice := false
		r.Images = func(ctx context.Context, labels map[string]string) ([]*bake.Image, error) {
			images, err := f.images(ctx, labels)
			if err == nil && !twice {
				return images[:1], nil // top without base
			}
			again, _ := f.images(ctx, labels)
			return []*bake.Image{images[1], again[0]}, err
		}
		end := f.serve(r)
		recs := f.start(r, "top")
		time.Sleep(time.Hour)
		if rec := f.load(recs[1].Build); rec.Status != bake.StatusBaked {
			t.Errorf("record of top = %+v, want baked", rec)
		}
		end(errEnd)
		twice = true
		if recs, err := r.Start(t.Context(), request("", "top")); err == nil || !strings.Contains(err.Error(), "image base: Runner.Images: returned two images") {
			t.Errorf("Start with two definitions of base = %v, %v, want an error that names it", recs, err)
		}
	})
}
