package testenv

import (
	"context"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// DeadRecord loads the only record of a store, that of a process that has died. It makes
// its lease so short that another process takes the build over at once; so the lease of
// the process itself can be long enough for a busy machine.
func DeadRecord(ctx context.Context, t *testing.T, store bake.Store) *bake.Record {
	t.Helper()
	builds, err := store.List(ctx)
	if err != nil || len(builds) != 1 {
		t.Fatalf("List() = %v, %v, want one build", builds, err)
	}
	rec, err := store.Load(ctx, builds[0])
	if err != nil {
		t.Fatal(err)
	}
	rec.Lease.Length = time.Millisecond
	rec.Revision++
	if err := store.Save(ctx, rec); err != nil {
		t.Fatal(err)
	}
	return rec
}
