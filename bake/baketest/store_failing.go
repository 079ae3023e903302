package baketest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// ConformFailingStore tests what a bake does with an empty store that cannot save for a
// while, because its disk is full or read-only: fail makes it so, and mend ends it. It
// tests that:
//
//   - a bake that begins meanwhile creates nothing, on the platform or in the store;
//   - a bake that runs then stops, and leaves a record from which another process
//     finishes the image or removes everything.
//
// Labels are added to the records, so that they need a certain space.
func ConformFailingStore(t *testing.T, open func() bake.Store, labels map[string]string, fail, mend func(t *testing.T)) {
	t.Helper()
	memory := NewBuilder(nil)
	options := func(resume ...*bake.Record) *bake.Options {
		return &bake.Options{Store: open(), Labels: labels, Resume: resume}
	}
	fail(t)
	results, err := bake.Bake(t.Context(), options(), image("web", memory), image("db", memory))
	if err == nil || !strings.Contains(err.Error(), "save the record") || results != nil || len(memory.Existing()) > 0 {
		t.Errorf("Bake without a working store = %v, %v with %v existing; want an error of Save and nothing", results, err, memory.Existing())
	}
	mend(t)
	if builds, err := open().List(t.Context()); err != nil || len(builds) > 0 {
		t.Errorf("List after that = %v, %v, want none", builds, err)
	}

	for _, resumes := range []bool{true, false} {
		img := image("web", memory)
		img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "work", Version: "1", Do: func(ctx context.Context, m bake.Machine) error {
			fail(t)
			return m.Run(ctx, bake.Sh("true"))
		}}}
		losing := options()
		losing.Lease = time.Second // the bake fails when it ends
		results, err := bake.Bake(t.Context(), losing, img)
		if err == nil || results == nil || results[0].Status == bake.StatusBaked {
			t.Fatalf("Bake while the store fails = %v, %v, want an error", results, err)
		}
		mend(t)
		rec, err := open().Load(t.Context(), results[0].Build)
		if err != nil || rec.Ended() {
			t.Fatalf("Load of its record = %+v, %v, want one that has not ended", rec, err)
		}
		img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "work", Version: "1", Do: func(context.Context, bake.Machine) error { return nil }}}
		if resumes { // it fails if the first process could still remove the machine
			results, err := bake.Bake(t.Context(), options(rec), img)
			if err == nil {
				err = results[0].Artifact.Destroy(t.Context())
			} else if results != nil {
				err = nil
			}
			if err != nil {
				t.Errorf("Bake that resumes it = %v, %v, want an end", results, err)
			}
		} else if err := bake.Undo(t.Context(), options(), img, rec); err != nil {
			t.Errorf("Undo of it = %v, want nil", err)
		}
		if len(memory.Existing()) > 0 {
			t.Errorf("existing %v, want none", memory.Existing())
		}
		if err := open().Delete(t.Context(), rec.Build); err != nil {
			t.Error(err)
		}
	}
}
