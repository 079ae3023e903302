package poll_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/poll"
)

// world is a set of things that become ready at their time.
type world struct {
	mu    sync.Mutex
	start time.Time
	ready map[string]time.Duration
	calls int
	err   error
}

func (w *world) poller() *poll.Poller[bool] {
	w.start = time.Now()
	return &poll.Poller[bool]{Clock: clock.System(), Interval: 2 * time.Second, Gap: 100 * time.Millisecond, Fetch: w.fetch}
}

func (w *world) fetch(_ context.Context, ids []string) (map[string]bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.err != nil {
		return nil, w.err
	}
	states := map[string]bool{}
	for _, id := range ids {
		if at, ok := w.ready[id]; ok {
			states[id] = time.Since(w.start) >= at
		}
	}
	return states, nil
}

func isReady(ready, found bool) (bool, error) { return found && ready, nil }

func TestManyWaitsShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ready: map[string]time.Duration{}}
		p := w.poller()
		for i := range 500 {
			w.ready[fmt.Sprint(i)] = time.Duration(i%60) * time.Second
		}
		var waiting sync.WaitGroup
		for i := range 500 {
			id := fmt.Sprint(i)
			waiting.Go(func() {
				if err := p.Wait(t.Context(), id, isReady); err != nil {
					t.Errorf("wait for %s: %v", id, err)
				}
				late := time.Since(w.start) - time.Duration(i%60)*time.Second
				if late > 2*time.Second+200*time.Millisecond {
					t.Errorf("%s noticed %v late", id, late)
				}
			})
		}
		waiting.Wait()
		if w.calls > 33 {
			t.Errorf("%d requests for one minute at 2 s, want at most 33", w.calls)
		}
	})
}

func TestNewWaitAsksSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ready: map[string]time.Duration{"slow": time.Hour, "fast": 0}}
		p := w.poller()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := p.Wait(ctx, "slow", isReady); !errors.Is(err, context.Canceled) {
				t.Errorf("slow: %v, want its cancellation", err)
			}
		})
		time.Sleep(time.Second)
		from := time.Now()
		if err := p.Wait(t.Context(), "fast", isReady); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(from); took > 100*time.Millisecond {
			t.Errorf("the new wait took %v, want the gap at most", took)
		}
		cancel()
		waiting.Wait()
	})
}

// TestNewWaitsDoNotAddUp begins two waits a second for some minutes: the
// requests of a minute stay those of its intervals, and a few.
func TestNewWaitsDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ready: map[string]time.Duration{}}
		p := w.poller()
		const waits, minutes = 480, 4
		var waiting sync.WaitGroup
		began := func(i int) time.Duration { return time.Duration(i) * time.Second / 2 }
		for i := range waits {
			w.ready[fmt.Sprint(i)] = began(i) + time.Duration(i%10)*time.Second
		}
		for i := range waits {
			id, begin := fmt.Sprint(i), began(i)
			waiting.Go(func() {
				time.Sleep(begin)
				if err := p.Wait(t.Context(), id, isReady); err != nil {
					t.Errorf("wait for %s: %v", id, err)
				}
				if late := time.Since(w.start) - w.ready[id]; late > 2*time.Second+100*time.Millisecond {
					t.Errorf("%s noticed %v late", id, late)
				}
			})
		}
		waiting.Wait()
		if most := 45 * minutes; w.calls > most {
			t.Errorf("%d requests in %d minutes, want %d at most", w.calls, minutes, most)
		}
	})
}

// TestReadyAtOnce begins one wait after the other where nothing takes time, but
// one wait never ends: nobody waits for the interval.
func TestReadyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ready: map[string]time.Duration{"a": 0, "never": 1 << 62}}
		p := w.poller()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() { _ = p.Wait(ctx, "never", isReady) })
		for range 100 {
			if err := p.Wait(t.Context(), "a", isReady); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(w.start); took > time.Second {
			t.Errorf("100 waits took %v", took)
		}
		cancel()
		waiting.Wait()
	})
}

// TestQuietWaits counts the requests of waits that surely take some time.
func TestQuietWaits(t *testing.T) {
	tests := []struct {
		name  string
		ready time.Duration
		quiet time.Duration
		calls int
		took  time.Duration
	}{
		{"ready at once", 0, 15 * time.Second, 1, 0},
		{"ready while quiet", 5 * time.Second, 15 * time.Second, 2, 15 * time.Second},
		{"ready afterwards", 20 * time.Second, 15 * time.Second, 5, 21 * time.Second},
		{"quiet for less than the interval", 3 * time.Second, time.Second, 3, 4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{ready: map[string]time.Duration{"a": test.ready}}
				p := w.poller()
				if err := p.WaitQuiet(t.Context(), "a", test.quiet, isReady); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(w.start); took != test.took || w.calls != test.calls {
					t.Errorf("%d requests in %v, want %d in %v", w.calls, took, test.calls, test.took)
				}
			})
		})
	}
}

// TestQuietWaitsDoNotSilenceOthers: one that is not quiet is looked at as ever,
// and the quiet one learns from that.
func TestQuietWaitsDoNotSilenceOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ready: map[string]time.Duration{"loud": 7 * time.Second, "quiet": 3 * time.Second}}
		p := w.poller()
		var waiting sync.WaitGroup
		for id, quiet := range map[string]time.Duration{"loud": 0, "quiet": time.Hour} {
			waiting.Go(func() {
				if err := p.WaitQuiet(t.Context(), id, quiet, isReady); err != nil {
					t.Errorf("%s: %v", id, err)
				}
				if late := time.Since(w.start) - w.ready[id]; late > 2*time.Second+100*time.Millisecond {
					t.Errorf("%s noticed %v late", id, late)
				}
			})
		}
		waiting.Wait()
	})
}

func TestLeaderHandsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ready: map[string]time.Duration{"a": time.Hour, "b": 10 * time.Second}}
		p := w.poller()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() { _ = p.Wait(ctx, "a", isReady) })
		synctest.Wait()
		waiting.Go(func() {
			if err := p.Wait(t.Context(), "b", isReady); err != nil {
				t.Errorf("b: %v", err)
			}
			if took := time.Since(w.start); took > 12*time.Second {
				t.Errorf("b took %v, want about 10 s", took)
			}
		})
		time.Sleep(5 * time.Second)
		cancel()
		waiting.Wait()
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		planted := errors.New("planted")
		w := &world{ready: map[string]time.Duration{"a": 0}, err: planted}
		p := w.poller()
		if err := p.Wait(t.Context(), "a", isReady); !errors.Is(err, planted) {
			t.Errorf("error %v, want the planted one", err)
		}
		if w.calls != 5 {
			t.Errorf("%d requests, want 5 before it gives up", w.calls)
		}
		w.err = nil
		if err := p.Wait(t.Context(), "a", isReady); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		if err := p.Wait(t.Context(), "a", func(bool, bool) (bool, error) { return false, planted }); !errors.Is(err, planted) {
			t.Errorf("error %v, want that of ready", err)
		}
	})
}
