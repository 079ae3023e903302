package ec2_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// TestUndoInAnotherAccount undoes and resumes with the credentials of another account,
// where nothing of the build exists, which must not pass for removed.
func TestUndoInAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		other := ec2.NewCloud(server.ConfigFor("210987654321", testRegion), cloudOptions(server))
		store := bake.DirStore(t.TempDir())
		options := &bake.Options{OnFailure: bake.KeepMachine, Store: store}
		results, err := bake.Bake(t.Context(), options, failing(cloud))
		if err == nil || results[0].Kept == nil {
			t.Fatalf("Bake() error = %v, want a kept machine", err)
		}
		load := func() *bake.Record {
			t.Helper()
			rec, err := store.Load(t.Context(), results[0].Build)
			if err != nil {
				t.Fatal(err)
			}
			return rec
		}
		const want = "Builder.Cloud: has credentials for account 210987654321, but the record is of a build in account 123456789012"
		if err := bake.Undo(t.Context(), options, failing(other), load()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Undo in another account = %v, want an error with %q", err, want)
		}
		if n := len(resourcesOf(server, "instance")); n != 1 {
			t.Errorf("instances after Undo in another account = %d, want 1", n)
		}
		if err := bake.Undo(t.Context(), options, failing(cloud), load()); err != nil {
			t.Errorf("Undo in the build's account = %v", err)
		}
		wantNoLeftovers(t, server)
	})
}
