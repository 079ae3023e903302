package amicleanup_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestServiceRunsBySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time begins at midnight, 1 January 2000 UTC, a Saturday
		f := newFake()
		f.series("web", 3)
		ctx, stop := context.WithTimeoutCause(t.Context(), 60*time.Hour, errors.New("enough"))
		defer stop()
		var starts []string
		var outcome [][]string
		s := &service.Service{
			Cleaner:  cleaner(f, amicleanup.Newest(1)),
			Schedule: "30 3 * * *",
			In:       time.FixedZone("east", 2*60*60),
			Jitter:   10 * time.Minute,
			Report: func(_ context.Context, r *service.Run) {
				if r.Err != nil {
					t.Error(r.Err)
				}
				if since := r.Started.Sub(r.Started.Truncate(day)) - 90*time.Minute; since < 0 || since > 10*time.Minute {
					t.Errorf("started at %s, want 01:30 UTC and up to ten minutes", r.Started)
				}
				starts = append(starts, r.Started.Format(time.DateOnly))
				outcome = append(outcome, outcomes(r.Result))
			},
		}
		if err := s.Serve(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("error %v, want the context's cause", err)
		}
		if diff := cmp.Diff([]string{"2000-01-01", "2000-01-02", "2000-01-03"}, starts); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if len(outcome[0]) != 4 || len(outcome[1]) != 0 {
			t.Errorf("outcomes: %v", outcome)
		}
	})
}

func TestServiceWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.series("web", 3)
		s := &service.Service{
			Cleaner: cleaner(f, amicleanup.Newest(1)),
			Window:  &service.Window{From: 9 * time.Hour, To: 17 * time.Hour},
		}
		for _, tt := range []struct {
			after   time.Duration
			changes int
		}{{10 * time.Hour, 0}, {46 * time.Hour, 0}, {57*time.Hour + 30*time.Minute, 2}} { // Saturday, Sunday, Monday
			time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(tt.after)))
			run := s.Once(t.Context())
			if run.Err != nil || (run.Held == "") != (tt.changes > 0) || len(f.changes()) != tt.changes {
				t.Errorf("after %s: held %q, error %v, changes %v", tt.after, run.Held, run.Err, f.changes())
			}
		}
		// A window that ends during a run ends it between two images.
		g := newFake()
		g.series("web", 5)
		g.fail = func(action, _ string) error {
			if action == "DeregisterImage" {
				time.Sleep(4 * time.Hour) // longer than the change of one image may take; the next is after 17:00
			}
			return nil
		}
		s.Cleaner = cleaner(g, amicleanup.Newest(1))
		s.Cleaner.Parallel = 1
		run := s.Once(t.Context()) // 9:30, 13:30, 17:30
		if n := run.Result.Count(amicleanup.NotTried); n != 2 || !errors.Is(run.Err, context.DeadlineExceeded) {
			t.Errorf("%d not tried: %v, %v", n, outcomes(run.Result), run.Err)
		}
	})
}

func TestServiceReviewAndErrors(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	s := &service.Service{Cleaner: cleaner(f, amicleanup.Newest(1))}
	s.Review = func(_ context.Context, p *amicleanup.Plan) (bool, error) { return p.Removals() < 2, nil }
	if run := s.Once(t.Context()); run.Held != "not approved by the review" || run.Report == nil || len(f.changes()) > 0 {
		t.Errorf("held %q, %v", run.Held, f.changes())
	}
	planted := errors.New("planted")
	s.Review = func(context.Context, *amicleanup.Plan) (bool, error) { return true, planted }
	if run := s.Once(t.Context()); !errors.Is(run.Err, planted) || len(f.changes()) > 0 {
		t.Errorf("error %v, %v", run.Err, f.changes())
	}
	s.Review = nil
	f.orphan("snap-orphan", nil)
	s.Cleaner.Policy.Snapshots = &amicleanup.SnapshotPolicy{}
	run := s.Once(t.Context())
	if run.Err != nil || run.Result.Count(amicleanup.Removed) != 2 || run.Result.CountSnapshots(amicleanup.Removed) != 1 {
		t.Errorf("Once: %+v", run)
	}
	f.fail = func(string, string) error { return apiError("OptInRequired") }
	if run := s.Once(t.Context()); run.Err == nil || len(run.Report.Problems) != 2 {
		t.Errorf("Once: %+v", run)
	}
}

func TestServiceValidate(t *testing.T) {
	s := &service.Service{
		Schedule: "every night", Jitter: -1, Window: &service.Window{From: 5, To: 4, Days: []time.Weekday{9}},
	}
	err := s.Validate()
	for _, want := range []string{"Service.Cleaner: is required", "Service.Schedule", "Service.Jitter", "Window: invalid span", "Window.Days"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
	s = &service.Service{Cleaner: cleaner(newFake())}
	if err := s.Serve(t.Context()); err == nil || err.Error() != "Service.Schedule: is required" {
		t.Errorf("without a schedule: %v", err)
	}
}

func TestParameterLock(t *testing.T) {
	synctest.Test(t, testParameterLock)
}

func testParameterLock(t *testing.T) {
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	lock := func(holder string) *service.ParameterLock {
		return &service.ParameterLock{Config: server.Config("eu-west-1"), Name: "/amicleanup/lock", Holder: holder}
	}
	release, err := lock("one").Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock("two").Acquire(t.Context())
	if !errors.Is(err, service.ErrLocked) || !strings.Contains(err.Error(), "one, until 2000-01-01 06:00:00") {
		t.Errorf("the second: %v", err)
	}
	if err := release(t.Context()); err != nil {
		t.Error(err)
	}
	dead, err := lock("three").Acquire(t.Context()) // and never releases it
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	f.series("web", 3)
	s := &service.Service{Cleaner: cleaner(f, amicleanup.Newest(1)), Lock: lock("service")}
	if run := s.Once(t.Context()); run.Err != nil || !strings.Contains(run.Held, "three") || run.Plan != nil {
		t.Errorf("Once: %+v", run)
	}
	time.Sleep(7 * time.Hour)
	if run := s.Once(t.Context()); run.Err != nil || run.Result.Count(amicleanup.Removed) != 2 {
		t.Errorf("after the holder's time: %+v", run)
	}
	if _, held := server.Parameter("eu-west-1", "/amicleanup/lock"); held {
		t.Error("Once did not release the lock")
	}
	later, err := lock("four").Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := dead(t.Context()); err != nil { // a late holder must not take the lock away
		t.Error(err)
	}
	if _, err := lock("five").Acquire(t.Context()); !errors.Is(err, service.ErrLocked) {
		t.Errorf("the lock is free: %v", err)
	}
	if err := later(t.Context()); err != nil {
		t.Error(err)
	}
	server.SetParameter("eu-west-1", "/amicleanup/lock", "mine")
	if _, err := lock("six").Acquire(t.Context()); err == nil || errors.Is(err, service.ErrLocked) {
		t.Errorf("Acquire of a parameter with another value: error %v", err)
	}
}
