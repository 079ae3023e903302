package baketest

import (
	"context"
	"errors"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
)

// ConformRestarts tests that another process can resume a build, for each of its
// steps. The first process completes the step but ends before recording it, so the
// second one resumes with the record from before the step and repeats it. Afterwards
// there must be as many resources as after an undisturbed build, and none once the
// artifact is destroyed.
//
// Conform includes these tests, for an image with a check. Call ConformRestarts for
// configurations of a Builder that use other steps.
func ConformRestarts(t *testing.T, fresh func(t *testing.T) Platform, o *ConformOptions) {
	t.Helper()
	c := newConformance(fresh, o)
	c.restarts(t, func(name string, b bake.Builder) *bake.Image {
		img := image(name, b)
		img.Checks = nil
		return img
	})
}

func (c *conformance) restarts(t *testing.T, define func(string, bake.Builder) *bake.Image) {
	t.Helper()
	names, want := c.undisturbed(t, define)
	for _, name := range names {
		c.test(t, "restart after "+name, func(t *testing.T) { c.restart(t, define, name, want) })
	}
}

// restart simulates a crash after one step and resumes the build.
func (c *conformance) restart(t *testing.T, define func(string, bake.Builder) *bake.Image, name string, want int) {
	t.Helper()
	p := c.fresh(t)
	rec := c.killed(t, p, name, define)
	opts := p.options()
	opts.Resume = []*bake.Record{rec}
	results, err := bake.Bake(t.Context(), opts, define("killed", p.Builder))
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	if results[0].Build != rec.Build || results[0].Status != bake.StatusBaked {
		t.Errorf("build %s %s, want %s baked", results[0].Build, results[0].Status, rec.Build)
	}
	if got := p.Existing(); len(got) != want {
		t.Errorf("%d resources after a restart, want %d as without one:\n%v", len(got), want, got)
	}
	if err := results[0].Artifact.Destroy(t.Context()); err != nil {
		t.Errorf("Destroy: %v", err)
	}
	p.wantNothing(t)
}

// killed simulates a process that is killed after one step, without any undo. It
// returns the last record, according to which the step is running.
func (c *conformance) killed(t *testing.T, p Platform, name string, define func(string, bake.Builder) *bake.Image) *bake.Record {
	t.Helper()
	store := newLastRecord()
	opts := p.options()
	opts.Store = store
	killed := &tampered{
		Builder: p.Builder,
		do: func(step string, do func(context.Context) error) func(context.Context) error {
			if step != name {
				return do
			}
			return func(ctx context.Context) error {
				err := do(ctx)
				if err == nil {
					store.frozen, err = true, errPlanted
				}
				return err
			}
		},
		undo: func(string, undoFunc) undoFunc {
			return func(context.Context, bake.Outcome) error { return nil }
		},
	}
	_, err := bake.Bake(t.Context(), opts, define("killed", killed))
	if !errors.Is(err, errPlanted) {
		t.Fatalf("Bake of the killed build = %v, want errPlanted", err)
	}
	wantError(t, err, name)
	rec, err := store.Load(t.Context(), store.build)
	if err != nil {
		t.Fatal(err)
	}
	rec.Revision, rec.Lease = 0, bake.Lease{} // for other stores, and free
	return rec
}
