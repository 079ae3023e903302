package bake_test

import (
	"context"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A recorder keeps the last record.
type recorder struct {
	bake.Store

	last bake.Record
}

func (r *recorder) Save(_ context.Context, record *bake.Record) error {
	r.last = *record
	return nil
}

// The clean-up of a good build removes what only an artifact that is not good
// could need again: that it is good is recorded before. That the build has ended
// is recorded when nothing is left to do.
func TestRecordOfTheEnd(t *testing.T) {
	for _, fails := range []bool{false, true} {
		store := &recorder{}
		var atUndo bake.Record
		img := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil)}
		img.Steps = []bake.Step{{
			Name: "last", At: bake.AfterPromote,
			Do: func(context.Context) error {
				if fails {
					return context.DeadlineExceeded
				}
				return nil
			},
			Undo: func(context.Context, bake.Outcome) error {
				atUndo = store.last
				return nil
			},
		}}
		results, err := bake.Bake(t.Context(), &bake.Options{Store: store}, img)
		if (err != nil) != fails {
			t.Fatal(err)
		}
		if atUndo.Good == fails || atUndo.Status != "" || (atUndo.Error != "") != fails {
			t.Errorf("when the clean-up began: good %t, status %q, error %q", atUndo.Good, atUndo.Status, atUndo.Error)
		}
		if store.last.Status != results[0].Status {
			t.Errorf("status %q, want %q", store.last.Status, results[0].Status)
		}
	}
}
