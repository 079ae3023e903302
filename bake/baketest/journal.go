package baketest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/journal"
)

// ConformJournal tests that a store fulfills the contract of journal.Store. It calls fresh
// for an empty store for every test; the func that fresh returns opens the same store
// again, as another process does. It tests that:
//
//   - events are read as they were appended, from any number on, also by another process;
//   - events of an earlier owner of the build do not get between those of a later one;
//   - builds do not mix, also when they are written at the same time;
//   - deleted events do not come back, and foreign build ids are refused;
//   - an ended context ends a call.
func ConformJournal(t *testing.T, fresh func(t *testing.T) (open func() journal.Store)) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, func() journal.Store){
		"events":        journalEvents,
		"every number":  journalNumbers,
		"two owners":    journalOwners,
		"many builds":   journalBuilds,
		"delete":        journalDeletes,
		"ended context": journalEnds,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func journalEvent(number int64, text string) bake.Event {
	return bake.Event{Number: number, Time: time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC), Kind: bake.OutputLine, Image: "web", Build: storeID(1), Text: text}
}

func mustAppend(t *testing.T, store journal.Store, build string, events ...bake.Event) {
	t.Helper()
	if err := store.Append(t.Context(), build, events); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

// wantNumbers reads the events after a number.
func wantNumbers(t *testing.T, store journal.Store, build string, after int64, limit int, want ...int64) {
	t.Helper()
	events, err := store.Read(t.Context(), build, after, limit)
	got := make([]int64, 0, len(events))
	for _, e := range events {
		got = append(got, e.Number)
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Read after %d, at most %d = numbers %v, %v, want %v", after, limit, got, err, want)
	}
}

func journalEvents(t *testing.T, open func() journal.Store) {
	t.Helper()
	first, second := open(), open()
	wantNumbers(t, first, storeID(1), 0, 10)
	e := journalEvent(1, "wéb '\"\\;-- $1 ?1 %s \x00\x1b \U0001f35e"+strings.Repeat("long", 100_000))
	e.Resource, e.Elapsed, e.Status, e.Err = bake.Resource{Kind: "instance", ID: "i-1"}, time.Minute, bake.StatusFailed, "a\nb"
	mustAppend(t, first, storeID(1), e)
	want, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]journal.Store{"same": first, "another": second} {
		got, err := store.Read(t.Context(), storeID(1), 0, 10)
		if err != nil || len(got) != 1 {
			t.Fatalf("Read by the %s process = %d events, %v, want one", name, len(got), err)
		}
		if text, err := json.Marshal(got[0]); err != nil || string(text) != string(want) {
			t.Errorf("Read by the %s process = %.500s, %v, want %.500s", name, text, err, want)
		}
	}
}

func journalNumbers(t *testing.T, open func() journal.Store) {
	t.Helper()
	const events = 1200 // more than a statement of any store
	all := make([]bake.Event, events)
	for i := range all {
		all[i] = journalEvent(int64(2*i+1), strings.Repeat("x", i*37%200))
	}
	mustAppend(t, open(), storeID(1), all[:1]...)
	mustAppend(t, open(), storeID(1), all[1:]...)
	store := open()
	for after := range int64(60) {
		wantNumbers(t, store, storeID(1), after, 2, (after+1)/2*2+1, (after+1)/2*2+3)
	}
	wantNumbers(t, store, storeID(1), 2*events-5, 10, 2*events-3, 2*events-1)
	wantNumbers(t, store, storeID(1), 2*events-1, 10)
	wantNumbers(t, store, storeID(1), 1<<52, 10)
	if got, err := store.Read(t.Context(), storeID(1), 0, 2*events); err != nil || len(got) != events {
		t.Errorf("Read of all = %d events, %v, want %d", len(got), err, events)
	}
}

func journalOwners(t *testing.T, open func() journal.Store) {
	t.Helper()
	const later = 1 << 32
	first, second := open(), open()
	mustAppend(t, first, storeID(1), journalEvent(1, "a"), journalEvent(2, "b"))
	mustAppend(t, second, storeID(1), journalEvent(later+1, "c"))
	mustAppend(t, first, storeID(1), journalEvent(3, "late"))
	mustAppend(t, second, storeID(1), journalEvent(later+1, "again"), journalEvent(later+2, "d"))
	for _, store := range []journal.Store{first, second} {
		wantNumbers(t, store, storeID(1), 0, 2, 1, 2)
		wantNumbers(t, store, storeID(1), later, 10, later+1, later+2)
		if got, err := store.Read(t.Context(), storeID(1), later, 1); err != nil || len(got) != 1 || got[0].Text != "c" {
			t.Errorf("Read of the event that was repeated = %+v, %v, want the first", got, err)
		}
	}
}

func journalBuilds(t *testing.T, open func() journal.Store) {
	t.Helper()
	const builds, rounds = 8, 20
	var all sync.WaitGroup
	for n := range builds {
		store := open()
		all.Go(func() {
			for i := range int64(rounds) {
				if err := store.Append(t.Context(), storeID(n), []bake.Event{journalEvent(i+1, fmt.Sprint(n))}); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	all.Wait()
	for n := range builds {
		events, err := open().Read(t.Context(), storeID(n), 0, 2*rounds)
		if err != nil || len(events) != rounds {
			t.Errorf("Read of build %d = %d events, %v, want %d", n, len(events), err, rounds)
		}
		for i, e := range events {
			if e.Number != int64(i+1) || e.Text != fmt.Sprint(n) {
				t.Errorf("event %d of build %d = %+v", i, n, e)
			}
		}
	}
}

func journalDeletes(t *testing.T, open func() journal.Store) {
	t.Helper()
	store := open()
	if err := store.Delete(t.Context(), storeID(1)); err != nil {
		t.Errorf("Delete of no events = %v, want nil", err)
	}
	mustAppend(t, store, storeID(1), journalEvent(5, "a"))
	mustAppend(t, store, storeID(2), journalEvent(5, "a"))
	if err := open().Delete(t.Context(), storeID(1)); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, store, storeID(1), 0, 10)
	wantNumbers(t, store, storeID(2), 0, 10, 5)
	mustAppend(t, store, storeID(1), journalEvent(1, "new"))
	wantNumbers(t, store, storeID(1), 0, 10, 1)
	for _, build := range []string{"", "../x", "x'--", strings.ToUpper(storeID(1))} {
		if err := store.Append(t.Context(), build, []bake.Event{journalEvent(1, "a")}); err == nil {
			t.Errorf("Append to build %q = nil, want an error", build)
		}
		if events, err := store.Read(t.Context(), build, 0, 1); err == nil {
			t.Errorf("Read of build %q = %v, want an error", build, events)
		}
		if err := store.Delete(t.Context(), build); err == nil {
			t.Errorf("Delete of build %q = nil, want an error", build)
		}
	}
}

func journalEnds(t *testing.T, open func() journal.Store) {
	t.Helper()
	store := open()
	mustAppend(t, store, storeID(1), journalEvent(1, "a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if events, err := store.Read(ctx, storeID(1), 0, 10); err == nil {
		t.Errorf("Read with an ended context = %v, want an error", events)
	}
	if err := store.Append(ctx, storeID(1), []bake.Event{journalEvent(2, "b")}); err == nil {
		wantNumbers(t, store, storeID(1), 1, 10, 2) // it was written
	}
}
