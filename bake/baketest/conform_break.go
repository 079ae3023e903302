package baketest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
)

// A breakage is a way to break a step.
type breakage int

const (
	failBefore   breakage = iota // return an error without running the step
	failAfter                    // run the step, then return an error
	cancelBefore                 // cancel the build when the step starts
	cancelAfter                  // cancel the build when the step ends
)

// undisturbed bakes once. It returns the names of the steps and the number of
// resources afterwards.
func (c *conformance) undisturbed(t *testing.T, define func(string, bake.Builder) *bake.Image) (names []string, existing int) {
	t.Helper()
	c.run(t, func(t *testing.T) {
		t.Helper()
		p := c.fresh(t)
		_, err := bake.Bake(t.Context(), p.options(), define("whole", &tampered{
			Builder: p.Builder,
			do: func(step string, do func(context.Context) error) func(context.Context) error {
				names = append(names, step)
				return do
			},
		}))
		if err != nil {
			t.Fatalf("Bake: %v", err)
		}
		existing = len(p.Existing())
	})
	slices.Sort(names)
	return slices.Compact(names), existing
}

// breaks breaks one step and expects an error that names it and an empty platform,
// even with a second cancellation during the clean-up.
func (c *conformance) breaks(t *testing.T, name string, how breakage) {
	t.Helper()
	p := c.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken := &tampered{
		Builder: p.Builder,
		do: func(step string, do func(context.Context) error) func(context.Context) error {
			if step != name {
				return do
			}
			return func(ctx context.Context) error {
				switch how {
				case failBefore:
					return errPlanted
				case cancelBefore:
					cancel()
				}
				err := do(ctx)
				switch how {
				case failAfter:
					return errors.Join(errPlanted, err)
				case cancelAfter:
					cancel()
				}
				return err
			}
		},
		undo: func(_ string, undo undoFunc) undoFunc {
			return func(ctx context.Context, outcome bake.Outcome) error {
				cancel()
				if ctx.Err() != nil {
					t.Errorf("Undo called with an ended context: %v", context.Cause(ctx))
				}
				return undo(ctx, outcome)
			}
		},
	}
	img := image("broken", broken)
	results, err := bake.Bake(ctx, p.options(), img)
	if how == failBefore || how == failAfter {
		wantError(t, err, name)
		if results[0].Status != bake.StatusFailed {
			t.Errorf("status %q, want %q", results[0].Status, bake.StatusFailed)
		}
		p.wantNothing(t)
		return
	}
	if results[0].Status == bake.StatusBaked && results[0].Steps[len(results[0].Steps)-1].Name == name {
		// The build had completed its last step before the cancellation.
		if err := results[0].Artifact.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
		p.wantNothing(t)
		return
	}
	if !errors.Is(err, context.Canceled) || results[0].Status != bake.StatusCanceled {
		t.Errorf("status %q, error %v, want %q", results[0].Status, err, bake.StatusCanceled)
	}
	p.wantNothing(t)
}

// crashes simulates a crash after one step and cleans up from the record, twice.
func (c *conformance) crashes(t *testing.T, name string) {
	t.Helper()
	p := c.fresh(t)
	rec := c.killed(t, p, name, image)
	opts := p.options()
	opts.Store = bake.MemoryStore()
	for range 2 {
		if err := bake.Undo(t.Context(), opts, &bake.Image{Builder: p.Builder}, rec); err != nil {
			t.Fatalf("Undo from the record: %v", err)
		}
	}
	p.wantNothing(t)
}

// A lastRecord is a Store for one record. Once frozen, it ignores Save.
type lastRecord struct {
	bake.Store
	build  string
	frozen bool
}

func newLastRecord() *lastRecord { return &lastRecord{Store: bake.MemoryStore()} }

func (l *lastRecord) Save(ctx context.Context, r *bake.Record) error {
	if l.frozen {
		return nil
	}
	l.build = r.Build
	return l.Store.Save(ctx, r)
}
