package bake_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A thousand images wait at once, so each goroutine counts.
func TestGoroutinesOfWaitingStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 10
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		builder := baketest.NewBuilder(nil)
		images := make([]*bake.Image, count)
		for i := range images {
			images[i] = &bake.Image{Name: fmt.Sprint("image", i), Builder: builder, Provisioners: []bake.Provisioner{
				bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error {
					<-ctx.Done()
					return ctx.Err()
				}},
			}}
		}
		before := testenv.BubbleGoroutines()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = bake.Bake(ctx, &bake.Options{Parallel: count}, images...) // canceled
		}()
		synctest.Wait()
		if n := testenv.BubbleGoroutines() - before - 1; n > count {
			t.Errorf("goroutines of %d images that wait = %d, want at most one each", count, n)
		}
		cancel()
		<-done
	})
}
