package poll_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/poll"
)

// resources become ready at set times and count the requests for their states.
type resources struct {
	mu    sync.Mutex
	start time.Time
	ready map[string]time.Duration // by id, since start
	calls int
	err   error // of each request
}

func (r *resources) poller() *poll.Poller[bool] {
	r.start = time.Now()
	return &poll.Poller[bool]{Clock: clock.System(), Interval: 2 * time.Second, Gap: 100 * time.Millisecond, Fetch: r.fetch}
}

func (r *resources) fetch(_ context.Context, ids []string) (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.err != nil {
		return nil, r.err
	}
	states := map[string]bool{}
	for _, id := range ids {
		if at, ok := r.ready[id]; ok {
			states[id] = time.Since(r.start) >= at
		}
	}
	return states, nil
}

func isReady(ready, found bool) (bool, error) { return found && ready, nil }

func TestWaitsShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{}}
		p := r.poller()
		for i := range 500 {
			r.ready[fmt.Sprint(i)] = time.Duration(i%60) * time.Second
		}
		var waiting sync.WaitGroup
		for i := range 500 {
			id := fmt.Sprint(i)
			waiting.Go(func() {
				if err := p.Wait(t.Context(), id, isReady); err != nil {
					t.Errorf("Wait(%s): %v", id, err)
				}
				late := time.Since(r.start) - time.Duration(i%60)*time.Second
				if late > 2*time.Second+200*time.Millisecond {
					t.Errorf("Wait(%s) returned %v after it was ready, want at most 2.2s", id, late)
				}
			})
		}
		waiting.Wait()
		if r.calls > 33 {
			t.Errorf("%d requests in one minute at an interval of 2s, want at most 33", r.calls)
		}
	})
}

func TestNewWaitRequestsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{"slow": time.Hour, "fast": 0}}
		p := r.poller()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := p.Wait(ctx, "slow", isReady); !errors.Is(err, context.Canceled) {
				t.Errorf("Wait(slow) = %v, want context.Canceled", err)
			}
		})
		time.Sleep(time.Second)
		from := time.Now()
		if err := p.Wait(t.Context(), "fast", isReady); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(from); took > 100*time.Millisecond {
			t.Errorf("Wait(fast) took %v, want at most the gap of 100ms", took)
		}
		cancel()
		waiting.Wait()
	})
}

// Two new waits a second for some minutes cause few requests beyond those of
// the intervals.
func TestEarlyRequestsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{}}
		p := r.poller()
		const waits, minutes = 480, 4
		var waiting sync.WaitGroup
		begin := func(i int) time.Duration { return time.Duration(i) * time.Second / 2 }
		for i := range waits {
			r.ready[fmt.Sprint(i)] = begin(i) + time.Duration(i%10)*time.Second
		}
		for i := range waits {
			id := fmt.Sprint(i)
			waiting.Go(func() {
				time.Sleep(begin(i))
				if err := p.Wait(t.Context(), id, isReady); err != nil {
					t.Errorf("Wait(%s): %v", id, err)
				}
				if late := time.Since(r.start) - r.ready[id]; late > 2*time.Second+100*time.Millisecond {
					t.Errorf("Wait(%s) returned %v after it was ready, want at most 2.1s", id, late)
				}
			})
		}
		waiting.Wait()
		if limit := 45 * minutes; r.calls > limit {
			t.Errorf("%d requests in %d minutes, want at most %d", r.calls, minutes, limit)
		}
	})
}

// Waits for resources that are ready immediately do not wait for the interval,
// even while another wait keeps the lead.
func TestReadyImmediately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{"a": 0, "never": 1 << 62}}
		p := r.poller()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() { _ = p.Wait(ctx, "never", isReady) })
		for range 100 {
			if err := p.Wait(t.Context(), "a", isReady); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(r.start); took > time.Second {
			t.Errorf("100 waits took %v, want at most 1s", took)
		}
		cancel()
		waiting.Wait()
	})
}

func TestWaitQuiet(t *testing.T) {
	tests := []struct {
		name  string
		ready time.Duration
		quiet time.Duration
		calls int
		took  time.Duration
	}{
		{"ready immediately", 0, 15 * time.Second, 1, 0},
		{"ready within the quiet period", 5 * time.Second, 15 * time.Second, 2, 15 * time.Second},
		{"ready after the quiet period", 20 * time.Second, 15 * time.Second, 5, 21 * time.Second},
		{"quiet period shorter than the interval", 3 * time.Second, time.Second, 3, 4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &resources{ready: map[string]time.Duration{"a": test.ready}}
				p := r.poller()
				if err := p.WaitQuiet(t.Context(), "a", test.quiet, isReady); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(r.start); took != test.took || r.calls != test.calls {
					t.Errorf("WaitQuiet made %d requests in %v, want %d in %v", r.calls, took, test.calls, test.took)
				}
			})
		})
	}
}

// A quiet wait does not delay other waits and shares their requests.
func TestWaitQuietBesideWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{"loud": 7 * time.Second, "quiet": 3 * time.Second}}
		p := r.poller()
		var waiting sync.WaitGroup
		for id, quiet := range map[string]time.Duration{"loud": 0, "quiet": time.Hour} {
			waiting.Go(func() {
				if err := p.WaitQuiet(t.Context(), id, quiet, isReady); err != nil {
					t.Errorf("WaitQuiet(%s): %v", id, err)
				}
				if late := time.Since(r.start) - r.ready[id]; late > 2*time.Second+100*time.Millisecond {
					t.Errorf("WaitQuiet(%s) returned %v after it was ready, want at most 2.1s", id, late)
				}
			})
		}
		waiting.Wait()
	})
}

func TestNewLeaderAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{"a": time.Hour, "b": 10 * time.Second}}
		p := r.poller()
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() { _ = p.Wait(ctx, "a", isReady) })
		synctest.Wait()
		waiting.Go(func() {
			if err := p.Wait(t.Context(), "b", isReady); err != nil {
				t.Errorf("Wait(b): %v", err)
			}
			if took := time.Since(r.start); took > 12*time.Second {
				t.Errorf("Wait(b) took %v, want at most 12s", took)
			}
		})
		time.Sleep(5 * time.Second)
		cancel()
		waiting.Wait()
	})
}

func TestFailedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errInjected := errors.New("injected")
		r := &resources{ready: map[string]time.Duration{"a": 0}, err: errInjected}
		p := r.poller()
		if err := p.Wait(t.Context(), "a", isReady); !errors.Is(err, errInjected) {
			t.Errorf("Wait with failing requests = %v, want %v", err, errInjected)
		}
		if r.calls != 5 {
			t.Errorf("Wait made %d requests, want 5 before it fails", r.calls)
		}
		r.err = nil
		if err := p.Wait(t.Context(), "a", isReady); err != nil {
			t.Errorf("Wait after the outage: %v", err)
		}
		if err := p.Wait(t.Context(), "a", func(bool, bool) (bool, error) { return false, errInjected }); !errors.Is(err, errInjected) {
			t.Errorf("Wait = %v, want ready's error %v", err, errInjected)
		}
	})
}

// TestWatch watches many resources. Alone, they share one request per period; beside
// a wait, they cause none.
func TestWatch(t *testing.T) {
	const every = 5 * time.Second
	synctest.Test(t, func(t *testing.T) {
		r := &resources{ready: map[string]time.Duration{"slow": 90 * time.Second}}
		p := r.poller()
		ended := errors.New("ended")
		var watching sync.WaitGroup
		for i := range 100 {
			id := fmt.Sprint(i)
			r.ready[id] = time.Minute
			watching.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				err := p.Watch(t.Context(), id, every, func(ready, _ bool) error {
					if ready {
						return ended
					}
					return nil
				})
				if late := time.Since(r.start) - time.Minute; !errors.Is(err, ended) || late > every+p.Interval {
					t.Errorf("Watch(%s) = %v, %v after the resource ended, want %v within %v", id, err, late, ended, every)
				}
			})
		}
		watching.Wait()
		if r.calls > 30 {
			t.Errorf("requests for watches in a minute = %d, want at most 30", r.calls)
		}

		before := r.calls
		ctx, cancel := context.WithCancel(t.Context())
		watching.Go(func() {
			if err := p.Watch(ctx, "slow", every, func(bool, bool) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("Watch(slow) = %v, want context.Canceled", err)
			}
		})
		if err := p.Wait(t.Context(), "slow", isReady); err != nil {
			t.Fatal(err)
		}
		cancel()
		watching.Wait()
		if waited := int((90*time.Second-time.Minute)/p.Interval) + 2; r.calls-before > waited {
			t.Errorf("requests for a wait and a watch = %d, want at most %d", r.calls-before, waited)
		}
	})
}

// TestWatchSkipsRecent checks that a request for a new wait has the ids only of
// watches that were not in a recent one.
func TestWatchSkipsRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		p := &poll.Poller[bool]{Clock: clock.System(), Interval: 2 * time.Second, Fetch: func(_ context.Context, ids []string) (map[string]bool, error) {
			asked = append(asked, len(ids))
			return map[string]bool{"new": true}, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		for i := range 3 {
			watching.Go(func() { _ = p.Watch(ctx, fmt.Sprint(i), 5*time.Second, func(bool, bool) error { return nil }) })
		}
		time.Sleep(6 * time.Second) // all were in the request after 5 s
		if err := p.Wait(ctx, "new", isReady); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := p.Wait(ctx, "new", isReady); err != nil {
			t.Fatal(err)
		}
		cancel()
		watching.Wait()
		if want := []int{3, 1, 4}; !slices.Equal(asked, want) {
			t.Errorf("ids in requests = %v, want %v", asked, want)
		}
	})
}
