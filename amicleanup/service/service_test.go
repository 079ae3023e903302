package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const where = "eu-west-1"

// newCleaner returns an EC2 with n images of one group, and a cleaner that keeps
// the newest.
func newCleaner(t *testing.T, n int) (*ec2test.Server, *amicleanup.Cleaner) {
	t.Helper()
	server := ec2test.New(nil)
	t.Cleanup(server.Close)
	for i := range n {
		created := time.Date(1999, 1, 1, i, 0, 0, 0, time.UTC)
		server.Publish(ec2test.Image{Name: fmt.Sprintf("web %d", created.Unix()), Created: created, Private: true})
	}
	return server, &amicleanup.Cleaner{
		SettleTime: time.Nanosecond,
		Targets:    []amicleanup.Target{amicleanup.Connect(server.Config(where), &amicleanup.ConnectOptions{NoCallLimits: true})},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}"},
			Keep:   []amicleanup.Rule{amicleanup.Newest(1)},
		},
	}
}

// removed returns how many images the server was asked to remove.
func removed(server *ec2test.Server) int { return server.CallCount("DeregisterImage") }

// slowRemovals has each call that removes an image return late.
func slowRemovals(c *amicleanup.Cleaner, by time.Duration) {
	late := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleInitialize(ctx, in)
		if middleware.GetOperationName(ctx) == "DeregisterImage" {
			time.Sleep(by)
		}
		return out, metadata, err
	}
	cfg := &c.Targets[0].Config
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("late", late), middleware.After)
	})
}

// forget leaves a snapshot of a build without its image.
func forget(t *testing.T, server *ec2test.Server) {
	t.Helper()
	client := awsec2.NewFromConfig(server.Config(where))
	id := server.Publish(ec2test.Image{Name: "forgotten", Private: true})[where]
	images, err := client.DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateTags(t.Context(), &awsec2.CreateTagsInput{
		Resources: []string{*images.Images[0].BlockDeviceMappings[0].Ebs.SnapshotId},
		Tags:      []ec2types.Tag{{Key: aws.String("bakestone:build"), Value: aws.String("dead")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: &id}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * amicleanup.Day)
}

func TestServiceRunsBySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time begins at midnight, 1 January 2000 UTC, a Saturday
		_, cleaner := newCleaner(t, 3)
		ctx, stop := context.WithTimeoutCause(t.Context(), 60*time.Hour, errors.New("enough"))
		defer stop()
		var starts []string
		var outcome []int
		s := &service.Service{
			Cleaner:  cleaner,
			Schedule: "30 3 * * *",
			In:       time.FixedZone("east", 2*60*60),
			Jitter:   10 * time.Minute,
			Report: func(_ context.Context, r *service.Run) {
				if r.Err != nil {
					t.Error(r.Err)
				}
				if since := r.Started.Sub(r.Started.Truncate(amicleanup.Day)) - 90*time.Minute; since < 0 || since > 10*time.Minute {
					t.Errorf("started at %s, want 01:30 UTC and up to ten minutes", r.Started)
				}
				starts = append(starts, r.Started.Format(time.DateOnly))
				outcome = append(outcome, r.Result.Count(amicleanup.Removed))
			},
		}
		if err := s.Serve(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("error %v, want the context's cause", err)
		}
		if diff := cmp.Diff([]string{"2000-01-01", "2000-01-02", "2000-01-03"}, starts); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int{2, 0, 0}, outcome); diff != "" {
			t.Errorf("removals of each run (-want +got):\n%s", diff)
		}
	})
}

func TestServiceWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, cleaner := newCleaner(t, 3)
		s := &service.Service{
			Cleaner: cleaner,
			Window:  &service.Window{From: 9 * time.Hour, To: 17 * time.Hour},
		}
		for _, tt := range []struct {
			after   time.Duration
			changes int
		}{{10 * time.Hour, 0}, {46 * time.Hour, 0}, {57*time.Hour + 30*time.Minute, 2}} { // Saturday, Sunday, Monday
			time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(tt.after)))
			run := s.Once(t.Context())
			if run.Err != nil || (run.Held == "") != (tt.changes > 0) || removed(server) != tt.changes {
				t.Errorf("after %s: held %q, error %v, %d removals, want %d", tt.after, run.Held, run.Err, removed(server), tt.changes)
			}
		}
		// A window that ends during a run ends it between two images.
		_, s.Cleaner = newCleaner(t, 5)
		slowRemovals(s.Cleaner, 4*time.Hour) // the third begins after 17:00
		s.Cleaner.Parallel = 1
		run := s.Once(t.Context()) // 9:30, 13:30, 17:30
		if n := run.Result.Count(amicleanup.NotTried); n != 2 || !errors.Is(run.Err, context.DeadlineExceeded) {
			t.Errorf("%d not tried: %+v, %v", n, run.Result, run.Err)
		}
	})
}

// TestServiceAlso does other work inside and outside of the window, and when nothing
// could be planned.
func TestServiceAlso(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time begins at midnight
		server, cleaner := newCleaner(t, 2)
		broken := errors.New("broken")
		var applied []bool
		s := &service.Service{
			Cleaner: cleaner,
			Window:  &service.Window{From: 9 * time.Hour, To: 17 * time.Hour},
			Also: func(ctx context.Context, apply bool) error {
				applied = append(applied, apply)
				if apply {
					<-ctx.Done() // when the window closes
				}
				return broken
			},
		}
		if run := s.Once(t.Context()); !errors.Is(run.Err, broken) {
			t.Errorf("Once() error = %v, want %v", run.Err, broken)
		}
		time.Sleep(2*amicleanup.Day + 10*time.Hour) // on Monday
		server.Fail(ec2test.Fault{Action: "DescribeImages", Code: "UnauthorizedOperation", Times: -1})
		run := s.Once(t.Context())
		if !errors.Is(run.Err, broken) || !strings.Contains(run.Err.Error(), "UnauthorizedOperation") {
			t.Errorf("Once() error = %v, want those of both", run.Err)
		}
		if at := time.Now().UTC().Hour(); at != 17 {
			t.Errorf("the work ended at %d o'clock, want it to end with the window at 17", at)
		}
		if diff := cmp.Diff([]bool{false, true}, applied); diff != "" {
			t.Errorf("Also was called with (-want +got):\n%s", diff)
		}
	})
}

func TestServiceReviewAndErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, cleaner := newCleaner(t, 3)
		s := &service.Service{Cleaner: cleaner}
		s.Review = func(_ context.Context, p *amicleanup.Plan) (bool, error) { return p.Removals() < 2, nil }
		if run := s.Once(t.Context()); run.Held != "not approved by the review" || run.Report == nil || removed(server) > 0 {
			t.Errorf("Once without an approval: held %q, %d removals", run.Held, removed(server))
		}
		planted := errors.New("planted")
		s.Review = func(context.Context, *amicleanup.Plan) (bool, error) { return true, planted }
		if run := s.Once(t.Context()); !errors.Is(run.Err, planted) || removed(server) > 0 {
			t.Errorf("Once with a failed review: error %v, %d removals", run.Err, removed(server))
		}
		s.Review = nil
		forget(t, server)
		s.Cleaner.Policy.Snapshots = &amicleanup.SnapshotPolicy{}
		run := s.Once(t.Context())
		if run.Err != nil || run.Result.Count(amicleanup.Removed) != 2 || run.Result.CountSnapshots(amicleanup.Removed) != 1 {
			t.Errorf("Once: %+v", run)
		}
		server.Fail(ec2test.Fault{Code: "OptInRequired", Times: -1})
		if run := s.Once(t.Context()); run.Err == nil || len(run.Report.Problems) != 2 {
			t.Errorf("Once without the region: %+v", run)
		}
	})
}

// A source that is denied is an error of the run.
func TestServiceUnknownUsage(t *testing.T) {
	server, cleaner := newCleaner(t, 3)
	cleaner.Policy.Keep = append(cleaner.Policy.Keep, amicleanup.InUse(inuse.Instances()))
	server.Fail(ec2test.Fault{Action: "DescribeInstances", Code: "UnauthorizedOperation", Times: -1})
	run := (&service.Service{Cleaner: cleaner}).Once(t.Context())
	if !errors.Is(run.Err, amicleanup.ErrUsageUnknown) || removed(server) > 0 {
		t.Errorf("Once: error %v, %d removals, want an error and none", run.Err, removed(server))
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
	_, cleaner := newCleaner(t, 0)
	s = &service.Service{Cleaner: cleaner}
	if err := s.Serve(t.Context()); err == nil || err.Error() != "Service.Schedule: is required" {
		t.Errorf("without a schedule: %v", err)
	}
}

func TestParameterLock(t *testing.T) {
	synctest.Test(t, testParameterLock)
}

func testParameterLock(t *testing.T) {
	server, cleaner := newCleaner(t, 3)
	lock := func(holder string) *service.ParameterLock {
		return &service.ParameterLock{Config: server.Config(where), Name: "/amicleanup/lock", Holder: holder}
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
	s := &service.Service{Cleaner: cleaner, Lock: lock("service")}
	if run := s.Once(t.Context()); run.Err != nil || !strings.Contains(run.Held, "three") || run.Plan != nil {
		t.Errorf("Once: %+v", run)
	}
	time.Sleep(7 * time.Hour)
	if run := s.Once(t.Context()); run.Err != nil || run.Result.Count(amicleanup.Removed) != 2 {
		t.Errorf("after the holder's time: %+v", run)
	}
	if _, held := server.Parameter(where, "/amicleanup/lock"); held {
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
	server.SetParameter(where, "/amicleanup/lock", "mine")
	if _, err := lock("six").Acquire(t.Context()); err == nil || errors.Is(err, service.ErrLocked) {
		t.Errorf("Acquire of a parameter with another value: error %v", err)
	}
}
