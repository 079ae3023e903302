package bake_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// pausing returns an image with a provisioner of the given duration, which ends early
// with ctx.
func pausing(b bake.Builder, d time.Duration) *bake.Image {
	return &bake.Image{Name: "web", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "pause", Version: "1", Do: func(ctx context.Context, m bake.Machine) error {
		select {
		case <-time.After(d):
			return m.Run(ctx, bake.Sh("true"))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}}}
}

// A partition is a Store that a process may lose.
type partition struct {
	bake.Store

	mu   sync.Mutex
	down bool // calls fail
	hung bool // calls hang until their context ends
}

func (p *partition) set(down, hung bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.hung = down, hung
}

func (p *partition) Save(ctx context.Context, r *bake.Record) error {
	p.mu.Lock()
	down, hung := p.down, p.hung
	p.mu.Unlock()
	if hung {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if down {
		return errPlanted
	}
	return p.Store.Save(ctx, r)
}

func onlyRecord(t *testing.T, store bake.Store) *bake.Record {
	t.Helper()
	builds, err := store.List(t.Context())
	if err != nil || len(builds) != 1 {
		t.Fatalf("List = %v, %v, want one build", builds, err)
	}
	rec, err := store.Load(t.Context(), builds[0])
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestLeaseIsReleased resumes a build that another process works on. It waits for the end of
// that work, but not for that of the lease.
func TestLeaseIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
		img := pausing(memory, 10*time.Second)
		img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Name: "fail", Version: "1", Do: func(context.Context, bake.Machine) error { return errPlanted }})
		started := time.Now()
		first := make(chan error, 1)
		go func() {
			_, err := bake.Bake(t.Context(), &bake.Options{Store: store}, img)
			first <- err
		}()
		time.Sleep(5 * time.Second)
		results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{onlyRecord(t, store)}}, img)
		if took := time.Since(started); len(results) != 1 || results[0].Status != bake.StatusFailed || took > 15*time.Second {
			t.Errorf("Bake = %v, %v after %v, want that the build has failed after 10 s", results, err, took)
		}
		if err := <-first; !errors.Is(err, errPlanted) {
			t.Errorf("Bake = %v, want %v", err, errPlanted)
		}
	})
}

// TestLeaseIsRenewed tries to resume and to undo a build that another process works on,
// while a step takes much longer than the lease.
func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
		first := make(chan error, 1)
		go func() {
			_, err := bake.Bake(t.Context(), &bake.Options{Store: store, Owner: "first"}, pausing(memory, time.Hour))
			first <- err
		}()
		time.Sleep(10 * time.Minute)
		rec := onlyRecord(t, store)
		if rec.Lease.Owner[:6] != "first/" || rec.Lease.Token != 1 || rec.Lease.Until.Before(time.Now()) {
			t.Errorf("lease = %+v, want one of first that lasts", rec.Lease)
		}
		started := time.Now()
		results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, pausing(memory, 0))
		if !errors.Is(err, bake.ErrLeased) || !strings.Contains(err.Error(), "first/") || results != nil || time.Since(started) > 2*time.Minute {
			t.Errorf("Bake of a leased record = %v, %v after %v, want %v", results, err, time.Since(started), bake.ErrLeased)
		}
		if err := bake.Undo(t.Context(), &bake.Options{Store: store}, pausing(memory, 0), rec); !errors.Is(err, bake.ErrLeased) {
			t.Errorf("Undo of a leased record = %v, want %v", err, bake.ErrLeased)
		}
		if err := <-first; err != nil || len(memory.Existing()) != 1 {
			t.Errorf("Bake = %v with %v, want one image", err, memory.Existing())
		}
		if rec := onlyRecord(t, store); rec.Lease.Owner != "" || !rec.Ended() {
			t.Errorf("record after the build = %+v, want ended and free", rec)
		}
	})
}

// TestLeaseLost cuts a process off from its store within a step. It must stop at the end
// of its lease, and undo nothing, because another process has the build then.
func TestLeaseLost(t *testing.T) {
	for _, hung := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
			cut := &partition{Store: store}
			var kinds []bake.EventKind
			opts := &bake.Options{Store: cut, Lease: time.Minute, Observe: func(e bake.Event) { kinds = append(kinds, e.Kind) }}
			started := time.Now()
			lost := make(chan []*bake.Result, 1)
			go func() {
				results, err := bake.Bake(t.Context(), opts, pausing(memory, time.Hour))
				if !errors.Is(err, bake.ErrLeaseLost) {
					t.Errorf("Bake without its store = %v, want %v", err, bake.ErrLeaseLost)
				}
				lost <- results
			}()
			time.Sleep(time.Second)
			cut.set(!hung, hung)
			rec := onlyRecord(t, store)
			second := make(chan struct{})
			go func() {
				defer close(second)
				results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, pausing(memory, time.Minute))
				if err != nil || results[0].Build != rec.Build || results[0].Status != bake.StatusBaked {
					t.Errorf("Bake by the second process = %v, %v, want build %s", results, err, rec.Build)
				}
			}()
			results := <-lost
			if after := time.Since(started); after > time.Minute+5*time.Second || results[0].Status != bake.StatusLost {
				t.Errorf("first process: %s after %v, want %s within its lease of a minute", results[0].Status, after, bake.StatusLost)
			}
			for _, kind := range kinds {
				if kind == bake.UndoFinished || kind == bake.ResourceRemoved {
					t.Errorf("event %q of the process that lost the lease", kind)
				}
			}
			<-second
			if len(memory.Existing()) != 1 {
				t.Errorf("existing %v, want one image", memory.Existing())
			}
		})
	}
}

// TestLeaseLostDuringCleanUp takes a build over whose owner is cut off while it undoes.
func TestLeaseLostDuringCleanUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
		cut := &partition{Store: store}
		undone := 0
		img := pausing(memory, 0)
		img.Steps = []bake.Step{
			{Name: "other", Do: func(context.Context) error { return nil }, Undo: func(context.Context, bake.Outcome) error { undone++; return nil }},
			{Name: "fail", At: bake.BeforeCapture, Do: func(context.Context) error { return errPlanted }, Undo: func(ctx context.Context, _ bake.Outcome) error {
				cut.set(true, false)
				<-ctx.Done()
				return context.Cause(ctx)
			}},
		}
		results, err := bake.Bake(t.Context(), &bake.Options{Store: cut}, img)
		if !errors.Is(err, bake.ErrLeaseLost) || results[0].Status != bake.StatusLost || undone != 0 || len(memory.Existing()) != 1 {
			t.Errorf("Bake = %s, %v; %d further undos, existing %v; want lost, none, the machine", results[0].Status, err, undone, memory.Existing())
		}
		img.Steps[1].Undo = func(context.Context, bake.Outcome) error { return nil }
		rec := onlyRecord(t, store)
		results, err = bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, img)
		if err == nil || !strings.Contains(err.Error(), "planted") || results[0].Status != bake.StatusFailed || undone != 1 || len(memory.Existing()) != 0 {
			t.Errorf("Bake by the second process = %s, %v; %d undos, existing %v; want failed, 1, none", results[0].Status, err, undone, memory.Existing())
		}
	})
}

// TestStoreOutage lets a store fail for half a lease: no other process could take the build,
// so it goes on.
func TestStoreOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := baketest.NewBuilder(nil)
		cut := &partition{Store: bake.MemoryStore()}
		go func() {
			time.Sleep(9 * time.Second)
			cut.set(true, false)
			time.Sleep(35 * time.Second)
			cut.set(false, false)
		}()
		results, err := bake.Bake(t.Context(), &bake.Options{Store: cut}, pausing(memory, 10*time.Second))
		if err != nil || results[0].Status != bake.StatusBaked {
			t.Errorf("Bake = %v, %v, want an image", results, err)
		}
	})
}

// TestLostResponse loses the responses of saves that took effect.
func TestLostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := baketest.NewBuilder(nil)
		store := &losing{Store: bake.MemoryStore()}
		results, err := bake.Bake(t.Context(), &bake.Options{Store: store}, pausing(memory, 10*time.Minute))
		if err != nil || results[0].Status != bake.StatusBaked || !onlyRecord(t, store).Ended() || store.lost < 10 {
			t.Errorf("Bake = %v, %v with %d lost responses, want an image", results, err, store.lost)
		}
	})
}

// losing is a Store that loses the response of every second save after the first.
type losing struct {
	bake.Store
	saves, lost int
}

func (l *losing) Save(ctx context.Context, r *bake.Record) error {
	err := l.Store.Save(ctx, r)
	if err != nil {
		return err
	}
	if l.saves++; l.saves%2 == 0 {
		l.lost++
		return errPlanted
	}
	return nil
}

// TestTwoResumers lets two processes resume the record of a third one that died.
func TestTwoResumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, store := baketest.NewBuilder(nil), newRecords()
		rec := func() *bake.Record {
			img := pausing(undying{memory}, 0)
			img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Version: "1", Do: func(context.Context, bake.Machine) error {
				store.freeze("web")
				return errPlanted
			}})
			if _, err := bake.Bake(t.Context(), &bake.Options{Store: store}, img); !errors.Is(err, errPlanted) {
				t.Fatalf("Bake = %v, want the planted error", err)
			}
			return onlyRecord(t, store)
		}()
		store.frozen = nil
		img := func() *bake.Image {
			img := pausing(memory, 0)
			img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Version: "1", Do: func(context.Context, bake.Machine) error {
				time.Sleep(time.Hour)
				return nil
			}})
			return img
		}
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}}, img())
				errs <- err
			}()
		}
		refused, baked := <-errs, <-errs
		if !errors.Is(refused, bake.ErrLeased) || baked != nil {
			t.Errorf("Bake by two processes = %v, %v, want %v, nil", refused, baked, bake.ErrLeased)
		}
		if len(memory.Existing()) != 1 {
			t.Errorf("existing %v, want one image", memory.Existing())
		}
	})
}

// TestCancelByRecord cancels a build through the store, as another replica of a service
// does.
func TestCancelByRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
		go func() {
			time.Sleep(10 * time.Second)
			if err := bake.Cancel(t.Context(), store, onlyRecord(t, store).Build, "by ada"); err != nil {
				t.Error(err)
			}
		}()
		started := time.Now()
		results, err := bake.Bake(t.Context(), &bake.Options{Store: store}, pausing(memory, time.Hour))
		canceled, ok := errors.AsType[*bake.CanceledError](err)
		if !ok || canceled.Reason != "by ada" || results[0].Status != bake.StatusCanceled || time.Since(started) > time.Minute {
			t.Errorf("Bake = %s, %v after %v, want canceled by ada", results[0].Status, err, time.Since(started))
		}
		if rec := onlyRecord(t, store); len(memory.Existing()) > 0 || !rec.Ended() || rec.Status != bake.StatusCanceled {
			t.Errorf("existing %v, record %+v, want none, ended", memory.Existing(), rec)
		}
		if err := bake.Cancel(t.Context(), store, onlyRecord(t, store).Build, "again"); err != nil || onlyRecord(t, store).Cancel != "by ada" {
			t.Errorf("Cancel of an ended build = %v, want no change", err)
		}
	})
}
