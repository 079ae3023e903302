package bake_test

import (
	"context"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A recorder is a Store that keeps the last record.
type recorder struct {
	bake.Store

	last bake.Record
}

func (r *recorder) Save(ctx context.Context, record *bake.Record) error {
	r.last = *record
	return r.Store.Save(ctx, record)
}

// The record says that the artifact is good before the clean-up starts, and has a
// status only after it.
func TestRecordDuringCleanUp(t *testing.T) {
	for _, fails := range []bool{false, true} {
		store := &recorder{Store: bake.MemoryStore()}
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
			t.Errorf("record at the start of the clean-up: good %t, status %q, error %q", atUndo.Good, atUndo.Status, atUndo.Error)
		}
		if store.last.Status != results[0].Status {
			t.Errorf("last record: status %q, want %q", store.last.Status, results[0].Status)
		}
	}
}
