package bake_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A busyStore counts the calls of a Store, and the most at once.
type busyStore struct {
	partition

	mu                     sync.Mutex
	saves, loads, now, top int
}

func (s *busyStore) Save(ctx context.Context, r *bake.Record) error {
	s.mu.Lock()
	s.saves++
	s.now++
	s.top = max(s.top, s.now)
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	err := s.partition.Save(ctx, r)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return err
}

func (s *busyStore) Load(ctx context.Context, build string) (*bake.Record, error) {
	s.mu.Lock()
	s.loads++
	s.mu.Unlock()
	return s.partition.Load(ctx, build)
}

func (s *busyStore) reset() (saves, loads, top int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saves, loads, top = s.saves, s.loads, s.top
	s.saves, s.loads, s.top = 0, 0, 0
	return saves, loads, top
}

// waitingImages returns images that take an hour each. The last one goes first.
func waitingImages(memory *baketest.Builder, n int) []*bake.Image {
	images := make([]*bake.Image, n)
	for i := range images {
		images[i] = pausing(memory, time.Hour)
		images[i].Name = fmt.Sprint("web", i)
	}
	images[n-1].Priority = 1
	return images
}

// waitingRecord returns the record of a build that waits, of the newest one that another
// build covers if there is one.
func waitingRecord(t *testing.T, store bake.Store) *bake.Record {
	t.Helper()
	recs, err := bake.Records(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	var waiting, own []*bake.Record
	for _, rec := range slices.Backward(recs) {
		if rec.Started.IsZero() && rec.Status == "" {
			waiting = append(waiting, rec)
			if rec.Lease.Under == "" {
				own = append(own, rec)
			}
		}
	}
	if len(waiting) == 0 {
		t.Fatal("no build waits")
	}
	if len(own) > 1 {
		t.Errorf("%d of %d builds that wait have leases of their own, want at most the one that covers the others", len(own), len(waiting))
	}
	if i := slices.IndexFunc(waiting, func(rec *bake.Record) bool { return rec.Lease.Under != "" }); i > 0 {
		return waiting[i]
	}
	return waiting[0]
}

// TestLeaseCoversWaiting bakes many images one by one. The leases of those that wait cost
// next to nothing; no other process can take them, whichever build covers them.
func TestLeaseCoversWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		memory := baketest.NewBuilder(nil)
		store := &busyStore{partition: partition{Store: bake.MemoryStore()}}
		done := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := bake.Bake(t.Context(), &bake.Options{Store: store, Parallel: 1}, waitingImages(memory, n)...)
			done <- err
		}()
		synctest.Wait()
		time.Sleep(50 * time.Millisecond)
		if saves, _, top := store.reset(); saves < n || top < 4 || top > 20 {
			t.Errorf("first records: %d saves, %d at once, want %d, some at once", saves, top, n)
		}
		time.Sleep(2 * time.Minute) // for the first renewals
		store.reset()
		const minutes = 50
		time.Sleep(minutes * time.Minute)
		// Two builds renew their leases, three to six times a minute: the one that covers
		// the others and the one at work.
		const most = 2*6*minutes + 10
		if saves, loads, _ := store.reset(); saves > most || loads < n*minutes {
			t.Errorf("%d saves and %d loads in %d minutes while %d builds wait; want at most %d saves", saves, loads, minutes, n, most)
		}
		taker := func(rec *bake.Record) error {
			img := pausing(memory, 0)
			img.Name = rec.Image
			_, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, img)
			return err
		}
		// Before and after the build has ended that covered them first.
		for range 2 {
			rec := waitingRecord(t, store)
			if rec.Lease.Under == "" {
				t.Errorf("lease of a build that waits = %+v, want it covered", rec.Lease)
			}
			if err := taker(rec); !errors.Is(err, bake.ErrLeased) {
				t.Errorf("Bake of a build that waits in another process = %v, want %v", err, bake.ErrLeased)
			}
			living, err := bake.Living(store)(t.Context(), rec.Build)
			if err != nil || !living {
				t.Errorf("Living() of a build that waits = %v, %v, want true", living, err)
			}
			time.Sleep(15 * time.Minute)
		}
		if took := time.Since(began); took < time.Hour {
			t.Fatalf("the first build has not ended after %v", took)
		}
		// A request to cancel arrives also there.
		rec := waitingRecord(t, store)
		if err := bake.Cancel(t.Context(), store, rec.Build, "by ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if rec, err := store.Load(t.Context(), rec.Build); err != nil || rec.Status != bake.StatusCanceled {
			t.Errorf("record after Cancel: %+v, %v, want canceled", rec, err)
		}
		// The process loses the store: another one takes over what waits.
		store.set(false, true)
		rec = waitingRecord(t, store)
		if err := <-done; !errors.Is(err, bake.ErrLeaseLost) {
			t.Errorf("Bake without its store = %v, want %v", err, bake.ErrLeaseLost)
		}
		store.set(false, false)
		if err := taker(rec); err != nil {
			t.Errorf("Bake of a build whose process has died = %v, want nil", err)
		}
	})
}

// TestCheckLease waits while the renewal of a lease is overdue, and fails when another
// process may have the build.
func TestCheckLease(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprint("store comes back: ", back), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cut := &partition{Store: bake.MemoryStore()}
				var took time.Duration
				var checked, after error
				img := pausing(baketest.NewBuilder(nil), 0)
				img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Name: "change", Do: func(ctx context.Context, _ bake.Machine) error {
					ctx = context.WithoutCancel(ctx) // as one that is slow to notice
					if err := bake.CheckLease(ctx); err != nil {
						t.Errorf("CheckLease() at the start = %v, want nil", err)
					}
					cut.set(true, false)
					time.Sleep(50 * time.Second)
					began := time.Now()
					if back {
						time.AfterFunc(5*time.Second, func() { cut.set(false, false) })
					}
					checked = bake.CheckLease(ctx)
					took = time.Since(began)
					after = bake.CheckLease(ctx)
					return checked
				}})
				_, err := bake.Bake(t.Context(), &bake.Options{Store: cut, Lease: time.Minute}, img)
				switch {
				case back && (checked != nil || after != nil || err != nil || took < 5*time.Second):
					t.Errorf("CheckLease() = %v after %v, then %v; Bake() = %v; want nil once the lease is renewed", checked, took, after, err)
				case !back && (!errors.Is(checked, bake.ErrLeaseLost) || !errors.Is(after, bake.ErrLeaseLost) || !errors.Is(err, bake.ErrLeaseLost) || took > 15*time.Second):
					t.Errorf("CheckLease() = %v after %v, then %v; Bake() = %v; want %v", checked, took, after, err, bake.ErrLeaseLost)
				}
			})
		})
	}
	if err := bake.CheckLease(t.Context()); err != nil {
		t.Errorf("CheckLease() outside of a build = %v, want nil", err)
	}
}
