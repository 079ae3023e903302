package bake_test

import (
	"context"
	"errors"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A PartialError after the checks keeps the artifact, unless the build was canceled.
func TestPartialError(t *testing.T) {
	for name, test := range map[string]struct {
		err      error
		cancel   bool
		status   bake.Status
		artifact bool
	}{
		"partial":  {err: &bake.PartialError{Err: errPlanted}, status: bake.StatusFailed, artifact: true},
		"whole":    {err: errPlanted, status: bake.StatusFailed},
		"canceled": {err: &bake.PartialError{Err: errPlanted}, cancel: true, status: bake.StatusCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b := baketest.NewBuilder(nil)
			store := bake.DirStore(t.TempDir())
			published := false
			img := &bake.Image{
				Name: "one", Builder: b,
				Steps: []bake.Step{{Name: "copy", At: bake.AfterPromote, Do: func(context.Context) error {
					if test.cancel {
						cancel()
					}
					return test.err
				}}},
				Publishers: []bake.Publisher{bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error {
					published = true
					return nil
				}}},
			}
			results, err := bake.Bake(ctx, &bake.Options{Store: store}, img)
			if !errors.Is(err, errPlanted) || results[0].Status != test.status || published {
				t.Errorf("Bake = %v, status %s, published %t; want the planted error, %s, false", err, results[0].Status, published, test.status)
			}
			if got := results[0].Artifact != nil; got != test.artifact || (len(b.Existing()) == 1) != test.artifact {
				t.Errorf("artifact %v, existing %v", results[0].Artifact, b.Existing())
			}
			rec, err := store.Load(t.Context(), results[0].Build)
			if err != nil || rec.Good != test.artifact {
				t.Errorf("record: good %t, %v", rec.Good, err)
			}
		})
	}
}
