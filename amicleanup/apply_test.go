package amicleanup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
)

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.series("web", 3)
		c := cleaner(f, amicleanup.Newest(1))
		c.Parallel = 1
		plan := mustPlan(t, c)
		result, err := c.Apply(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"ami-web0 removed", "snap-web0 removed", "ami-web1 removed", "snap-web1 removed"}
		if diff := cmp.Diff(want, outcomes(result)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if len(f.images) != 1 || len(f.snapshots) != 1 {
			t.Errorf("left %d images and %d snapshots, want 1 and 1", len(f.images), len(f.snapshots))
		}
		if diff := cmp.Diff([]string{"DeregisterImage ami-web0", "DeregisterImage ami-web1"}, f.changes()); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		again, err := c.Apply(t.Context(), plan)
		if err != nil || again.Count(amicleanup.Gone) != 2 || again.Count(amicleanup.Removed) != 0 {
			t.Errorf("second Apply: %v, %v", outcomes(again), err)
		}
	})
}

// Changes and failures between plan and apply, or during apply.
func TestApplyTrouble(t *testing.T) {
	change := func(id string, how func(*ec2types.Image)) func(*fake) {
		return func(f *fake) {
			f.set(id, how)
		}
	}
	failing := func(call, code string) func(*fake) {
		return func(f *fake) {
			f.fail = func(action, id string) error {
				if action+" "+id == call {
					return apiError(code)
				}
				return nil
			}
		}
	}
	first := "ami-web0" // the one that trouble comes to; ami-web1 follows
	tests := []struct {
		name    string
		trouble func(*fake)
		want    string // outcomes of the first image
		next    string // outcome of the next one
		detail  string
		fails   string // part of the error
	}{
		{"gone", func(f *fake) { delete(f.images, first); delete(f.snapshots, "snap-web0") },
			"ami-web0 gone", "removed", "", ""},
		{"gone, snapshot left behind", func(f *fake) { delete(f.images, first) },
			"ami-web0 gone", "removed", "", ""},
		{"tagged since", change(first, func(i *ec2types.Image) {
			i.Tags = []ec2types.Tag{{Key: aws.String("keep"), Value: aws.String("1")}}
		}), "ami-web0 skipped", "removed", "its tags have changed", ""},
		{"protected since", change(first, func(i *ec2types.Image) { i.DeregistrationProtection = aws.String("enabled-with-cooldown") }),
			"ami-web0 skipped", "removed", "is protected from deregistration", ""},
		{"disabled since", change(first, func(i *ec2types.Image) { i.State = ec2types.ImageStateDisabled }),
			"ami-web0 skipped", "removed", "its state is disabled now", ""},
		{"launched since", change(first, func(i *ec2types.Image) { i.LastLaunchedTime = aws.String("2026-01-01T00:00:00Z") }),
			"ami-web0 skipped", "removed", "it was launched again", ""},
		{"deprecated since", change(first, func(i *ec2types.Image) { i.DeprecationTime = aws.String("2026-01-01T00:00:00Z") }),
			"ami-web0 skipped", "removed", "its deprecation has changed", ""},
		{"newest gone", func(f *fake) { delete(f.images, "ami-web2") },
			"ami-web0 removed, snap-web0 removed", "skipped", "", ""},
		{"newest disabled", change("ami-web2", func(i *ec2types.Image) { i.State = ec2types.ImageStateDisabled }),
			"ami-web0 skipped", "skipped", "is older than ami-web2, the newest, which is disabled", ""},
		{"gone and still listed", func(f *fake) {
			f.lingering[first], f.lingersFor[first], f.dead[first] = f.images[first], 3, true
			delete(f.images, first)
		}, "ami-web0 gone, snap-web0 removed", "removed", "", ""},
		{"throttled", failing("DeregisterImage ami-web0", "RequestLimitExceeded"),
			"ami-web0 failed", "removed", "", "eu-west-1: image ami-web0 (web 1700000000): deregister: "},
		{"answer lost", func(f *fake) {
			f.fail = func(action, id string) error {
				if action == "DeregisterImage" && id == first {
					delete(f.images, first)
					return apiError("InvalidAMIID.Unavailable")
				}
				return nil
			}
		}, "ami-web0 gone, snap-web0 removed", "removed", "", ""},
		{"refused", failing("DeregisterImage ami-web0", "OperationNotPermitted"), "ami-web0 skipped", "removed", "OperationNotPermitted", ""},
		{"no permission", failing("DeregisterImage ami-web0", "UnauthorizedOperation"), "ami-web0 failed", "not tried", "", "UnauthorizedOperation"},
		{"shared snapshot", func(f *fake) {
			f.add("ami-other", "other", func(i *ec2types.Image) { i.BlockDeviceMappings = f.images[first].BlockDeviceMappings })
		}, "ami-web0 removed, snap-web0 skipped", "removed", "", ""},
		{"shared snapshot, old API", func(f *fake) {
			f.oldAPI = true
			f.add("ami-other", "other", func(i *ec2types.Image) { i.BlockDeviceMappings = f.images[first].BlockDeviceMappings })
		}, "ami-web0 removed, snap-web0 skipped", "removed", "", ""},
		{"old API", func(f *fake) { f.oldAPI = true }, "ami-web0 removed, snap-web0 removed", "removed", "", ""},
		{"old API, in use for a while", func(f *fake) { f.oldAPI = true; f.snapshots["snap-web0"] = 4 },
			"ami-web0 removed, snap-web0 removed", "removed", "", ""},
		{"old API, in use for ever", func(f *fake) { f.oldAPI = true; f.snapshots["snap-web0"] = 400 },
			"ami-web0 removed, snap-web0 skipped", "removed", "", ""},
		{"snapshot fails inside EC2", failing("snapshot of snap-web0", "internal-error"),
			"ami-web0 removed, snap-web0 removed", "removed", "", ""},
		{"snapshot client error", failing("snapshot of snap-web0", "client-error"),
			"ami-web0 removed, snap-web0 failed", "removed", "", "snapshot snap-web0: EC2 returned client-error"},
		{"snapshot permission", failing("snapshot of snap-web0", "missing-permissions"),
			"ami-web0 removed, snap-web0 failed", "not tried", "", "missing permission to delete snapshots"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.series("web", 3)
				c := cleaner(f, amicleanup.NewestUsable(1))
				c.Parallel = 1
				plan := mustPlan(t, c)
				tt.trouble(f)
				result, err := c.Apply(t.Context(), plan)
				if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v, want %q", err, tt.fails)
				}
				if img := new(amicleanup.TargetError); err != nil && (!errors.As(err, &img) || img.ImageID != first) {
					t.Errorf("%T names no image", err)
				}
				one := &amicleanup.Result{Images: result.Images[:1]}
				if got := strings.Join(outcomes(one), ", "); got != tt.want {
					t.Errorf("first image: %s, want %s", got, tt.want)
				}
				if got := string(result.Images[1].Outcome); got != tt.next {
					t.Errorf("next image: %s, want %s", got, tt.next)
				}
				if got := one.Images[0].Detail; tt.detail != "" && !strings.Contains(got, tt.detail) {
					t.Errorf("detail %q, want %q", got, tt.detail)
				}
			})
		})
	}
}

func TestApplyCanceled(t *testing.T) {
	f := newFake()
	f.oldAPI = true
	f.series("web", 4)
	c := cleaner(f, amicleanup.Newest(1))
	c.Parallel = 1
	plan := mustPlan(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	f.fail = func(action, _ string) error {
		if action == "DeregisterImage" {
			cancel() // in the middle of the first image
		}
		return nil
	}
	result, err := c.Apply(ctx, plan)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Apply: error %v, want context.Canceled", err)
	}
	want := []string{"ami-web0 removed", "snap-web0 removed", "ami-web1 not tried", "ami-web2 not tried"}
	if diff := cmp.Diff(want, outcomes(result)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

func TestTargetsAreIndependent(t *testing.T) {
	good, bad := newFake(), newFake()
	good.series("web", 2)
	bad.series("web", 2)
	bad.fail = func(string, string) error { return apiError("OptInRequired") }
	c := cleaner(good, amicleanup.Newest(1))
	c.Targets = append(c.Targets, accountTarget("prod", "me-south-1", bad))
	plan, err := c.Plan(t.Context())
	target := new(amicleanup.TargetError)
	if !errors.As(err, &target) || target.Region != "me-south-1" || target.Account != "prod" {
		t.Fatalf("error %v", err)
	}
	if plan.Targets[1].Error == "" {
		t.Error("the plan does not say what is missing")
	}
	result, err := c.Apply(t.Context(), plan)
	if err != nil || result.Count(amicleanup.Removed) != 1 {
		t.Errorf("Apply: %v, %v", outcomes(result), err)
	}
	c.Targets = c.Targets[1:]
	if _, err = c.Apply(t.Context(), plan); !errors.As(err, &target) || target.Region != "eu-west-1" {
		t.Errorf("a plan for a target that is not there: %v", err)
	}
}

func TestPlanRoundTrip(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	f.add("ami-odd", "web 1", nil)
	c := cleaner(f, amicleanup.Newest(2))
	plan := mustPlan(t, c)
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	stored := new(amicleanup.Plan)
	if err := json.Unmarshal(text, stored); err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(plan.WriteText(&a), stored.WriteText(&b)); err != nil || a.String() != b.String() {
		t.Errorf("%v; written\n%s\nand, stored,\n%s", err, a.String(), b.String())
	}
	result, err := c.Apply(t.Context(), stored)
	if err != nil || result.Count(amicleanup.Removed) != 1 {
		t.Errorf("Apply: %v, %v", outcomes(result), err)
	}
	stored.Version++
	if _, err := c.Apply(t.Context(), stored); err == nil {
		t.Error("Apply of a plan of a later version: no error")
	}
}

func TestEndlessPages(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	c := cleaner(loop{f}.fake, amicleanup.Newest(1))
	c.Targets[0] = target("eu-west-1", loop{f})
	if _, err := c.Plan(t.Context()); err == nil {
		t.Error("no error")
	}
}

// Apply waits until EC2 shows everything that existed when the plan was made, and
// changes nothing if the context ends before.
func TestApplyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.series("web", 3)
		c := cleaner(f, amicleanup.Newest(1))
		c.SettleTime = 0
		plan, begun := mustPlan(t, c), time.Now()
		ended := errors.New("ended")
		ctx, stop := context.WithTimeoutCause(t.Context(), 29*time.Second, ended)
		defer stop()
		result, err := c.Apply(ctx, plan)
		if !errors.Is(err, ended) || result.Count(amicleanup.NotTried) != 2 || len(f.changes()) > 0 {
			t.Errorf("%v, %v, changes %v", outcomes(result), err, f.changes())
		}
		if result, err = c.Apply(t.Context(), plan); err != nil || result.Count(amicleanup.Removed) != 2 || time.Since(begun) != 30*time.Second {
			t.Errorf("after %s: %v, %v", time.Since(begun), outcomes(result), err)
		}
		if _, err := c.Apply(t.Context(), mustPlan(t, c)); err != nil || time.Since(begun) != 30*time.Second {
			t.Errorf("nothing to do, after %s: %v", time.Since(begun), err)
		}
	})
}
