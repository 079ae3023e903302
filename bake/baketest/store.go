package baketest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// ConformStore tests that a store fulfills the contract of bake.Store. It calls fresh
// for an empty store for every test; the func that fresh returns opens the same store
// again, as another process does. It tests that:
//
//   - a record is read as it was saved, whatever its texts hold, also by another process;
//   - of any number of concurrent saves of a revision exactly one succeeds, and the others
//     are conflicts that change nothing;
//   - a record that was deleted does not come back;
//   - ids are listed in order, and foreign ids and records are refused;
//   - an ended context ends a call.
func ConformStore(t *testing.T, fresh func(t *testing.T) (open func() bake.Store)) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, func() bake.Store){
		"empty":         storeEmpty,
		"save and load": storeSaves,
		"revisions":     storeRevisions,
		"race to begin": storeRaceToBegin,
		"race to go on": storeRaceToGoOn,
		"race of many":  storeCounts,
		"list":          storeLists,
		"delete":        storeDeletes,
		"foreign":       storeRefuses,
		"ended context": storeEnds,
		"bakes":         storeBakes,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// storeID returns the n-th build id.
func storeID(n int) string {
	return fmt.Sprintf("20260102t%02d%02d%02d-abcdefgh", n/3600, n/60%60, n%60)
}

func storeRecord(n int, revision int64) *bake.Record {
	return &bake.Record{Version: bake.RecordVersion, Revision: revision, Build: storeID(n), Image: "web"}
}

func mustSave(t *testing.T, store bake.Store, r *bake.Record) {
	t.Helper()
	if err := store.Save(t.Context(), r); err != nil {
		t.Fatalf("Save of revision %d: %v", r.Revision, err)
	}
}

func storeEmpty(t *testing.T, open func() bake.Store) {
	t.Helper()
	store := open()
	if builds, err := store.List(t.Context()); err != nil || len(builds) != 0 {
		t.Errorf("List of an empty store = %v, %v, want none", builds, err)
	}
	if r, err := store.Load(t.Context(), storeID(1)); !errors.Is(err, bake.ErrNoRecord) {
		t.Errorf("Load = %v, %v, want %v", r, err, bake.ErrNoRecord)
	}
	if err := store.Delete(t.Context(), storeID(1)); err != nil {
		t.Errorf("Delete of no record = %v, want nil", err)
	}
	if err := store.Save(t.Context(), storeRecord(1, 2)); !errors.Is(err, bake.ErrConflict) {
		t.Errorf("Save of revision 2 without revision 1 = %v, want %v", err, bake.ErrConflict)
	}
}

func storeSaves(t *testing.T, open func() bake.Store) {
	t.Helper()
	first, second := open(), open()
	r := storeRecord(1, 1)
	r.Image = "wéb '\"\\;-- $1 ?1 %s \U0001f35e"
	r.Labels = map[string]string{"request": "a\nb\x7f", "": "empty"}
	r.Started = time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	r.Lease = bake.Lease{Owner: "me", Token: 3, Until: r.Started, Length: time.Minute}
	r.Status, r.Good = bake.StatusBaked, true
	r.Artifact = &bake.ArtifactRecord{ID: "ami-1", IDs: map[string]string{"eu-west-1": "ami-1"}, Data: json.RawMessage(`{"id":"ami-1"}`)}
	r.Steps = []bake.StepRecord{{Name: "connect", State: bake.StepDone, Digest: "d"}}
	r.Session = json.RawMessage(`{"key":"` + strings.Repeat("k", 1<<20) + `"}`)
	mustSave(t, first, r)
	want, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Image, r.Labels["request"] = "changed later", "changed later"
	for name, store := range map[string]bake.Store{"same": first, "another": second} {
		got, err := store.Load(t.Context(), storeID(1))
		if err != nil {
			t.Fatalf("Load by the %s process: %v", name, err)
		}
		if text, err := json.Marshal(got); err != nil || string(text) != string(want) {
			t.Errorf("Load by the %s process = %.500s, %v, want %.500s", name, text, err, want)
		}
		got.Labels["request"] = "changed by a reader"
	}
}

func storeRevisions(t *testing.T, open func() bake.Store) {
	t.Helper()
	first, second := open(), open()
	for revision := range int64(5) {
		store := []bake.Store{first, second}[revision%2]
		r := storeRecord(1, revision+1)
		r.Error = fmt.Sprint("revision ", revision+1)
		mustSave(t, store, r)
		for _, wrong := range []int64{1, revision, revision + 1, revision + 3, revision + 100} {
			if wrong < 1 {
				continue
			}
			if err := store.Save(t.Context(), storeRecord(1, wrong)); !errors.Is(err, bake.ErrConflict) {
				t.Errorf("Save of revision %d after %d = %v, want %v", wrong, revision+1, err, bake.ErrConflict)
			}
		}
		if got, err := second.Load(t.Context(), storeID(1)); err != nil || got.Revision != revision+1 || got.Error != r.Error {
			t.Errorf("Load = %+v, %v, want revision %d", got, err, revision+1)
		}
	}
}

func storeRaceToBegin(t *testing.T, open func() bake.Store) {
	t.Helper()
	storeRace(t, open, 1)
}

func storeRaceToGoOn(t *testing.T, open func() bake.Store) {
	t.Helper()
	storeRace(t, open, 2)
}

// storeRace saves the same revision by several processes.
func storeRace(t *testing.T, open func() bake.Store, revision int64) {
	t.Helper()
	if revision > 1 {
		mustSave(t, open(), storeRecord(1, 1))
	}
	const processes = 8
	errs := make([]error, processes)
	var all sync.WaitGroup
	for i := range processes {
		store := open()
		all.Go(func() {
			r := storeRecord(1, revision)
			r.Lease = bake.Lease{Owner: fmt.Sprint(i), Token: 1, Length: time.Minute}
			errs[i] = store.Save(t.Context(), r)
		})
	}
	all.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = fmt.Sprint(i)
		case err == nil:
			t.Errorf("Save of revision %d succeeded for %s and %d, want one", revision, winner, i)
		case !errors.Is(err, bake.ErrConflict):
			t.Errorf("Save of revision %d = %v, want %v", revision, err, bake.ErrConflict)
		}
	}
	got, err := open().Load(t.Context(), storeID(1))
	if err != nil || winner == "" || got.Lease.Owner != winner {
		t.Errorf("Load = %+v, %v, want the owner %q", got, err, winner)
	}
}

// storeCounts lets processes increment a number in one record.
func storeCounts(t *testing.T, open func() bake.Store) {
	t.Helper()
	mustSave(t, open(), storeRecord(1, 1))
	const processes, rounds = 4, 5
	var all sync.WaitGroup
	for range processes {
		store := open()
		all.Go(func() {
			for done := 0; done < rounds; {
				r, err := store.Load(t.Context(), storeID(1))
				if err != nil {
					t.Errorf("Load during saves: %v", err)
					return
				}
				r.Again++
				r.Revision++
				switch err := store.Save(t.Context(), r); {
				case err == nil:
					done++
				case !errors.Is(err, bake.ErrConflict):
					t.Errorf("Save = %v, want nil or %v", err, bake.ErrConflict)
					return
				}
			}
		})
	}
	all.Wait()
	if r, err := open().Load(t.Context(), storeID(1)); err != nil || r.Again != processes*rounds || r.Revision != 1+processes*rounds {
		t.Errorf("Load = %+v, %v, want %d increments", r, err, processes*rounds)
	}
}

func storeLists(t *testing.T, open func() bake.Store) {
	t.Helper()
	store := open()
	const records = 1200 // more than a page of any store
	numbers := map[int]bool{}
	for n := range records {
		numbers[n*37%records] = true
	}
	var all sync.WaitGroup
	work := make(chan int)
	for range 8 {
		all.Go(func() {
			for n := range work {
				if err := store.Save(t.Context(), storeRecord(n, 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range maps.Keys(numbers) {
		work <- n
	}
	close(work)
	all.Wait()
	want := make([]string, records, records+1)
	for n := range records {
		want[n] = storeID(n)
	}
	requested := storeRecord(1, 1) // by a request with an id
	requested.Build = "request-abcdefgh234567yz"
	mustSave(t, store, requested)
	want = append(want, requested.Build)
	if got, err := open().List(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %d ids, %v, want %d in order", len(got), err, len(want))
	}
}

func storeDeletes(t *testing.T, open func() bake.Store) {
	t.Helper()
	first, second := open(), open()
	mustSave(t, first, storeRecord(1, 1))
	mustSave(t, first, storeRecord(2, 1))
	for range 2 {
		if err := second.Delete(t.Context(), storeID(1)); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if _, err := first.Load(t.Context(), storeID(1)); !errors.Is(err, bake.ErrNoRecord) {
		t.Errorf("Load after Delete = %v, want %v", err, bake.ErrNoRecord)
	}
	if err := first.Save(t.Context(), storeRecord(1, 2)); !errors.Is(err, bake.ErrConflict) {
		t.Errorf("Save after Delete = %v, want %v", err, bake.ErrConflict)
	}
	if builds, err := first.List(t.Context()); err != nil || !slices.Equal(builds, []string{storeID(2)}) {
		t.Errorf("List after Delete = %v, %v, want %s", builds, err, storeID(2))
	}
}

func storeRefuses(t *testing.T, open func() bake.Store) {
	t.Helper()
	store := open()
	mustSave(t, store, storeRecord(1, 1))
	for _, id := range []string{"", ".", "../x", "/x", storeID(1) + "/../x", storeID(1) + "%", strings.ToUpper(storeID(1)), storeID(1) + "\x00", "' OR 1=1 --"} {
		r := storeRecord(1, 1)
		r.Build = id
		if err := store.Save(t.Context(), r); err == nil || errors.Is(err, bake.ErrConflict) {
			t.Errorf("Save(%q) = %v, want an invalid id", id, err)
		}
		if _, err := store.Load(t.Context(), id); !errors.Is(err, bake.ErrNoRecord) {
			t.Errorf("Load(%q) = %v, want %v", id, err, bake.ErrNoRecord)
		}
		if err := store.Delete(t.Context(), id); err == nil {
			t.Errorf("Delete(%q) = nil, want an invalid id", id)
		}
	}
	for name, change := range map[string]func(*bake.Record){
		"no version": func(r *bake.Record) { r.Version = 0 }, "no image": func(r *bake.Record) { r.Image = "" },
		"revision 0": func(r *bake.Record) { r.Revision = 0 }, "odd status": func(r *bake.Record) { r.Status = "odd" },
	} {
		r := storeRecord(2, 1)
		change(r)
		if err := store.Save(t.Context(), r); err == nil || errors.Is(err, bake.ErrConflict) {
			t.Errorf("Save of a record with %s = %v, want an error", name, err)
		}
	}
	if builds, err := store.List(t.Context()); err != nil || !slices.Equal(builds, []string{storeID(1)}) {
		t.Errorf("List = %v, %v, want %s", builds, err, storeID(1))
	}
}

func storeEnds(t *testing.T, open func() bake.Store) {
	t.Helper()
	store := open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Save(ctx, storeRecord(1, 1)); err == nil {
		// A store may be too quick to notice; but then it has stored the record.
		if _, err := store.Load(t.Context(), storeID(1)); err != nil {
			t.Errorf("Save with an ended context = nil, but Load = %v", err)
		}
	}
}

// storeBakes bakes with the store, and resumes what another process suspended.
func storeBakes(t *testing.T, open func() bake.Store) {
	t.Helper()
	memory := NewBuilder(nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	img := image("web", memory)
	img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Name: "suspend", Do: func(context.Context, bake.Machine) error {
		cancel(bake.ErrSuspended)
		return nil
	}})
	results, err := bake.Bake(ctx, &bake.Options{Store: open()}, img)
	if !errors.Is(err, bake.ErrSuspended) || results[0].Status != bake.StatusSuspended {
		t.Fatalf("Bake of the suspended build = %v, %v, want %s", results, err, bake.StatusSuspended)
	}
	store := open()
	rec, err := store.Load(t.Context(), results[0].Build)
	if err != nil {
		t.Fatal(err)
	}
	results, err = bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, img)
	if err != nil || results[0].Status != bake.StatusBaked || results[0].Build != rec.Build {
		t.Fatalf("Bake of the resumed build = %v, %v, want build %s %s", results, err, rec.Build, bake.StatusBaked)
	}
	rec, err = open().Load(t.Context(), rec.Build)
	if err != nil || !rec.Ended() || rec.Lease.Owner != "" || rec.Artifact == nil || rec.Artifact.ID != results[0].Artifact.ID() {
		t.Errorf("record after the build: %+v, %v; want ended and free, with the artifact %s", rec, err, results[0].Artifact)
	}
}
