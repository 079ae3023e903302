package bake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// TestHurry hurries a clean-up of which every Undo hangs: each has five seconds, none is
// skipped, and the error names what stays.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hurry := make(chan struct{})
		ctx, cancel := context.WithCancel(bake.WithHurry(t.Context(), hurry))
		var undone []string
		step := func(id string, stuck bool) bake.Step {
			return bake.Step{
				Name: "make " + id, At: bake.BeforeLaunch,
				Do: func(ctx context.Context) error {
					bake.RunFromContext(ctx).Created("thing", id)
					return nil
				},
				Undo: func(ctx context.Context, _ bake.Outcome) error {
					undone = append(undone, id)
					if stuck {
						<-ctx.Done()
						return ctx.Err()
					}
					bake.RunFromContext(ctx).Removed("thing", id)
					return nil
				},
			}
		}
		img := &bake.Image{
			Name: "web", Builder: baketest.NewBuilder(nil), Steps: []bake.Step{step("a", true), step("b", false), step("c", true)},
			Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "wait", Do: func(ctx context.Context, _ bake.Machine) error {
				cancel()
				<-ctx.Done()
				time.AfterFunc(time.Minute, func() { close(hurry) })
				return ctx.Err()
			}}},
		}
		began := time.Now()
		_, err := bake.Bake(ctx, nil, img)
		if took := time.Since(began); took < time.Minute || took > time.Minute+15*time.Second {
			t.Errorf("Bake() took %v, want a minute and five seconds for each of two steps", took)
		}
		left, ok := errors.AsType[*bake.LeftError](err)
		if !errors.Is(err, bake.ErrHurried) || !ok {
			t.Fatalf("Bake() error = %v, want ErrHurried and a LeftError", err)
		}
		if diff := cmp.Diff([]bake.Resource{{Kind: "thing", ID: "a"}, {Kind: "thing", ID: "c"}}, left.Resources); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c", "b", "a"}, undone); diff != "" {
			t.Errorf("undone (-want +got):\n%s", diff)
		}
	})
}
