package rebake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/rebake"
)

const day = 24 * time.Hour

// works is a chain of two images, and what happens to them.
type works struct {
	*testing.T

	base, app *bake.Image
	broken    bool
	service   *rebake.Service
}

func newWorks(t *testing.T) *works {
	t.Helper()
	w := &works{T: t}
	builder := baketest.NewBuilder(nil)
	fails := bake.ProvisionFunc{Name: "install", Do: func(context.Context, bake.Machine) error {
		if w.broken {
			return errors.New("mirror is down")
		}
		return nil
	}}
	w.base = &bake.Image{Name: "base", Builder: builder, Fingerprint: "1", Provisioners: []bake.Provisioner{fails}}
	w.app = &bake.Image{Name: "app", Builder: builder, Fingerprint: "1", From: w.base}
	w.service = &rebake.Service{
		Images:  func(context.Context) ([]*bake.Image, error) { return []*bake.Image{w.app, w.base}, nil },
		Options: bake.Options{Store: bake.MemoryStore()}, MaxAge: 7 * day,
	}
	return w
}

// round runs a round, and returns the images that were baked.
func (w *works) round() (baked []string, r *rebake.Round) {
	w.Helper()
	r = w.service.Once(w.Context())
	for _, result := range r.Results {
		if result.Status != bake.StatusReused {
			baked = append(baked, result.Image.Name+" "+string(result.Status))
		}
	}
	return baked, r
}

func (w *works) want(baked ...string) *rebake.Round {
	w.Helper()
	got, r := w.round()
	if diff := cmp.Diff(baked, got); diff != "" {
		w.Errorf("baked (-want +got):\n%s\n%v", diff, r.Err)
	}
	return r
}

func (w *works) reasons() string {
	w.Helper()
	plan, err := w.service.Plan(w.Context())
	if err != nil {
		w.Error(err)
	}
	var text strings.Builder
	if err := plan.WriteText(&text); err != nil {
		w.Error(err)
	}
	return text.String()
}

func (w *works) wantReasons(wants ...string) {
	w.Helper()
	text := w.reasons()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			w.Errorf("plan lacks %q:\n%s", want, text)
		}
	}
}

func TestStaleReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorks(t)
		w.wantReasons("base: stale: it has no artifact yet", "app: stale: base, which it is made from, is stale; it has no artifact yet")
		w.want("app baked", "base baked")
		w.wantReasons("base: fresh: image-", "app: fresh: ", "0 days old, due 2000-01-08")
		w.want()

		w.app.Fingerprint = "2" // only the upper layer
		w.wantReasons("base: fresh", "app: stale: its definition has changed")
		w.want("app baked")
		w.base.Fingerprint = "2" // the whole chain, once
		w.wantReasons("base: stale: its definition has changed", "app: stale: base, which it is made from, is stale\n")
		w.want("app baked", "base baked")
		w.want()

		time.Sleep(7 * day)
		w.wantReasons("base: stale: it is 7 days old, and may be 7 days", "app: stale: base, which it is made from, is stale; it is 7 days old")
		w.want("app baked", "base baked")
		w.service.MaxAges = map[string]time.Duration{"app": day}
		time.Sleep(day)
		w.wantReasons("base: fresh", "app: stale: it is 1 days old, and may be 1 days")
		w.want("app baked")
		w.want()

		found := ""
		w.service.Reasons = []rebake.Reason{{Name: "scanner", Ask: func(_ context.Context, img *bake.Image, newest *bake.Inspection) (string, error) {
			if img.Name == "base" && newest.Artifact != nil {
				return found, nil
			}
			return "", nil
		}}}
		w.want()
		found = "CVE-2026-1 in openssl"
		w.wantReasons("base: stale: CVE-2026-1 in openssl", "app: stale: base")
		w.want("app baked", "base baked")
		plan, err := w.service.Plan(w.Context())
		if data, _ := json.Marshal(plan); err != nil || !strings.Contains(string(data), `"reasons":["CVE-2026-1 in openssl"]`) {
			t.Errorf("plan = %s, %v", data, err)
		}
		w.service.Reasons[0].Ask = func(context.Context, *bake.Image, *bake.Inspection) (string, error) {
			return "", errors.New("scanner is down")
		}
		if r := w.want(); r.Err == nil || !strings.Contains(r.Err.Error(), "image base: scanner: scanner is down") {
			t.Errorf("error = %v, want that of the reason", r.Err)
		}
	})
}

// A failing image is tried after pauses that double, and in the end only when its
// definition changes. The images that are made from it wait.
func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorks(t)
		w.broken, w.service.MaxFailures = true, 3
		if r := w.want("app skipped", "base failed"); r.Err == nil {
			t.Error("error = nil, want that of the bake")
		}
		w.want()
		w.wantReasons("base: stale: it has no artifact yet (held: failed 1 times, tried again from 2000-01-01 06:00:0", "(held: waits for base)")
		time.Sleep(6 * time.Hour)
		w.want("app skipped", "base failed")
		time.Sleep(6 * time.Hour)
		w.want()
		time.Sleep(6 * time.Hour)
		w.want("app skipped", "base failed")
		time.Sleep(30 * day)
		w.want()
		w.wantReasons("(held: failed 3 times, until its definition changes)")
		w.broken, w.base.Fingerprint = false, "2"
		w.want("app baked", "base baked")
	})
}

func TestServeScheduleWindowAndReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time begins on a Saturday
		w := newWorks(t)
		w.service.Schedule, w.service.Jitter = "0 3 * * *", 10*time.Minute
		w.service.Window = &rebake.Window{From: 2 * time.Hour, To: 4 * time.Hour} // Monday to Friday
		var got []string
		w.service.Report = func(_ context.Context, r *rebake.Round) {
			got = append(got, fmt.Sprintf("%s %d %q next %s", r.Started.Format("Mon 15"), len(r.Results), r.Held, r.Next.Format("Mon 15")))
		}
		ctx, stop := context.WithTimeoutCause(t.Context(), 4*day, errors.New("enough"))
		defer stop()
		if err := w.service.Serve(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("Serve() = %v, want the context's cause", err)
		}
		for i, want := range []string{
			`Sat 03 0 "Saturday 03:0`, `Sun 03 0 "Sunday 03:0`, `Mon 03 2 "" next Tue 03`, `Tue 03 0 "" next Wed 03`,
		} {
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Errorf("rounds = %q, want number %d to begin with %q", got, i+1, want)
			}
		}
	})
}

// lock is held by one service at a time.
type lock struct{ mu sync.Mutex }

func (l *lock) Acquire(context.Context) (func(context.Context) error, error) {
	if !l.mu.TryLock() {
		return nil, fmt.Errorf("%w: somewhere", rebake.ErrLocked)
	}
	return func(context.Context) error { l.mu.Unlock(); return nil }, nil
}

// Two replicas bake once.
func TestReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorks(t)
		w.service.Lock = new(lock)
		other := *w.service
		rounds := make([]*rebake.Round, 2)
		var wg sync.WaitGroup
		for i, s := range []*rebake.Service{w.service, &other} {
			wg.Go(func() { rounds[i] = s.Once(t.Context()) })
		}
		wg.Wait()
		records, err := bake.Records(t.Context(), w.service.Options.Store)
		if err != nil || len(records) != 2 {
			t.Errorf("records = %d, %v, want two builds", len(records), err)
		}
		if (rounds[0].Held == "") == (rounds[1].Held == "") && rounds[0].Results != nil && rounds[1].Results != nil {
			t.Errorf("both rounds baked: %+v, %+v", rounds[0], rounds[1])
		}
	})
}

// A round that was suspended is continued by the next one.
func TestRoundResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorks(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		w.base.Steps = []bake.Step{{Name: "pause", At: bake.BeforeCapture, Do: func(context.Context) error { cancel(bake.ErrSuspended); return nil }}}
		first := w.service.Once(ctx)
		if !errors.Is(first.Err, bake.ErrSuspended) {
			t.Fatalf("error = %v, want %v", first.Err, bake.ErrSuspended)
		}
		w.want("app baked", "base baked")
		records, err := bake.Records(t.Context(), w.service.Options.Store)
		if err != nil || len(records) != 2 {
			t.Errorf("records = %d, %v, want those of the first round", len(records), err)
		}
	})
}

func TestValidate(t *testing.T) {
	s := &rebake.Service{Schedule: "often", Jitter: -1, MaxFailures: -1, Window: &rebake.Window{}, Reasons: []rebake.Reason{{}}}
	err := s.Validate()
	for _, want := range []string{"Service.Images", "Service.Options.Store", `invalid cron expression "often"`, "Service.Jitter", "Service.MaxFailures", "Window", "Service.Reasons[0].Ask"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %s", err, want)
		}
	}
	w := newWorks(t)
	w.app.Fingerprint = ""
	if _, err := w.service.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "app: needs a Fingerprint") {
		t.Errorf("Plan() without a fingerprint = %v", err)
	}
}
