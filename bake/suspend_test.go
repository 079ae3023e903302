package bake_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// TestSuspend suspends a chain of images within a step that ends in time, or not. Another
// process then resumes both images at once, since the records are free.
func TestSuspend(t *testing.T) {
	for name, test := range map[string]struct {
		step  time.Duration
		ended time.Duration // after the suspension
		again int           // how often the step runs
	}{
		"step ends":     {time.Minute + 5*time.Second, 5 * time.Second, 1},
		"step too long": {time.Hour, 20 * time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
				ran, d := 0, test.step
				define := func() []*bake.Image {
					base := &bake.Image{Name: "base", Builder: memory, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Version: "1", Do: func(ctx context.Context, _ bake.Machine) error {
						ran++
						select {
						case <-time.After(d):
							return nil
						case <-ctx.Done():
							return context.Cause(ctx)
						}
					}}}}
					return []*bake.Image{base, {Name: "top", Builder: memory, From: base}}
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				var suspended time.Time
				time.AfterFunc(time.Minute, func() {
					suspended = time.Now()
					cancel(bake.ErrSuspended)
				})
				results, err := bake.Bake(ctx, &bake.Options{Store: store, Labels: map[string]string{"request": "7"}}, define()...)
				if after := time.Since(suspended); !errors.Is(err, bake.ErrSuspended) || after != test.ended {
					t.Errorf("Bake = %v after %v, want %v after %v", err, after, bake.ErrSuspended, test.ended)
				}
				var recs []*bake.Record
				for _, r := range results {
					rec, err := store.Load(t.Context(), r.Build)
					if err != nil {
						t.Fatal(err)
					}
					if r.Status != bake.StatusSuspended || rec.Status != "" || rec.Lease.Owner != "" || rec.Labels["request"] != "7" || rec.Error != "" {
						t.Errorf("%s: result %s, record %+v; want suspended, free, with its label", r.Image.Name, r.Status, rec)
					}
					recs = append(recs, rec)
				}
				if recs[1].From != recs[0].Build || len(recs[1].Steps) != 0 {
					t.Errorf("record of top = %+v, want one that waits for %s", recs[1], recs[0].Build)
				}
				d = 0
				started := time.Now()
				results, err = bake.Bake(t.Context(), &bake.Options{Store: store, Resume: recs}, define()...)
				if err != nil || time.Since(started) != 0 || ran != test.again {
					t.Errorf("Bake after the suspension = %v after %v, the step ran %d times; want %d", err, time.Since(started), ran, test.again)
				}
				if existing := memory.Existing(); len(existing) != 2 || !slices.Contains(existing, results[1].Artifact.ID()) {
					t.Errorf("existing %v, want two images", existing)
				}
			})
		})
	}
}

// TestSuspendWithoutStore: nothing could resume the build, so it is canceled.
func TestSuspendWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := baketest.NewBuilder(nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(bake.ErrSuspended) })
		results, err := bake.Bake(ctx, nil, pausing(memory, time.Hour))
		if !errors.Is(err, bake.ErrSuspended) || results[0].Status != bake.StatusCanceled || len(memory.Existing()) > 0 {
			t.Errorf("Bake = %s, %v, existing %v; want canceled, nothing", results[0].Status, err, memory.Existing())
		}
	})
}

// TestSuspendDuringCleanUp leaves the rest of the clean-up to the next process.
func TestSuspendDuringCleanUp(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
			ctx, cancel := context.WithCancelCause(t.Context())
			undone := 0
			img := &bake.Image{Name: "web", Builder: memory, Steps: []bake.Step{
				{Name: "first", Do: func(context.Context) error { return nil }, Undo: func(context.Context, bake.Outcome) error { undone++; return nil }},
				{Name: "last", At: bake.AfterPromote, Do: func(context.Context) error {
					if fails {
						return errPlanted
					}
					return nil
				}, Undo: func(context.Context, bake.Outcome) error {
					cancel(bake.ErrSuspended)
					return nil
				}},
			}}
			opts := &bake.Options{Store: store}
			results, _ := bake.Bake(ctx, opts, img)
			if results[0].Status != bake.StatusSuspended || undone != 0 {
				t.Errorf("Bake = %s with %d further undos, want suspended, none", results[0].Status, undone)
			}
			opts.Resume = []*bake.Record{onlyRecord(t, store)}
			results, err := bake.Bake(t.Context(), opts, img)
			want, images := bake.StatusBaked, 1
			if fails {
				want, images = bake.StatusFailed, 0
			}
			if results[0].Status != want || (err != nil) != fails || undone != 1 || len(memory.Existing()) != images {
				t.Errorf("resumed Bake = %s, %v with %d undos, existing %v; want %s, 1, %d", results[0].Status, err, undone, memory.Existing(), want, images)
			}
		})
	}
}
