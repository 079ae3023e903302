package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// stage is an account with three groups, which run an old AMI by version 1 of the
// launch template "web": "canary" with one instance, and "web-a" and "web-b" with two
// and the tag service=web.
type stage struct {
	*testing.T

	server  *ec2test.Server
	cloud   *ec2.Cloud
	scaling *autoscaling.Client
	client  *awsec2.Client
	old     string
	events  []string

	mu     sync.Mutex
	calls  int
	killAt int // the call after which the process dies
	kill   context.CancelCauseFunc
}

func onStage(t *testing.T, do func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, _ := realistic(ec2test.Options{Latency: ec2test.Latency{}})
		defer server.Close()
		cfg := server.Config(testRegion)
		s := &stage{T: t, server: server, scaling: autoscaling.NewFromConfig(cfg), client: awsec2.NewFromConfig(cfg)}
		s.cloud = s.newCloud()
		s.old = server.Publish(ec2test.Image{Name: "old", Private: true})[testRegion]
		s.template("web", s.old)
		s.group("canary", 1, "1", nil)
		for _, name := range []string{"web-a", "web-b"} {
			s.group(name, 2, "1", map[string]string{"service": "web"})
		}
		time.Sleep(time.Minute)
		do(s)
	})
}

// newCloud returns a Cloud of another process, which may be killed.
func (s *stage) newCloud() *ec2.Cloud {
	cfg := s.server.Config(testRegion)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("kill", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleInitialize(ctx, in)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.calls++; s.kill != nil && s.calls == s.killAt {
				s.kill(bake.ErrLeaseLost)
			}
			return out, metadata, err
		}), middleware.Before)
	})
	return ec2.NewCloud(cfg, &ec2.CloudOptions{Dial: s.server.Dial, SourceAddress: s.server.SourceAddress})
}

func (s *stage) template(name, image string) {
	s.Helper()
	_, err := s.client.CreateLaunchTemplate(s.Context(), &awsec2.CreateLaunchTemplateInput{
		LaunchTemplateName: &name, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image, InstanceType: ec2types.InstanceTypeT3Micro},
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *stage) group(name string, size int32, version string, tags map[string]string) {
	s.Helper()
	in := &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: &name, MinSize: aws.Int32(0), MaxSize: aws.Int32(size + 2), DesiredCapacity: &size, HealthCheckType: aws.String("ELB"),
		AvailabilityZones: []string{testRegion + "a", testRegion + "b"}, DefaultInstanceWarmup: aws.Int32(60),
		LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web"), Version: &version},
	}
	for key, value := range tags {
		in.Tags = append(in.Tags, scalingtypes.Tag{Key: &key, Value: &value})
	}
	if _, err := s.scaling.CreateAutoScalingGroup(s.Context(), in); err != nil {
		s.Fatal(err)
	}
}

// waves returns the canary, then the groups by tag.
func waves(checks ...ec2.GroupCheck) ec2.InstanceRefresh {
	return ec2.InstanceRefresh{Waves: []ec2.Wave{
		{Groups: []string{"canary"}, Checks: checks}, {Tags: map[string]string{"service": "web"}, Checks: checks},
	}}
}

// bake bakes an AMI and publishes it.
func (s *stage) bake(publishers ...bake.Publisher) (*ec2.AMI, error) {
	s.Helper()
	img := simple(s.cloud)
	img.Publishers = publishers
	results, err := bake.Bake(s.Context(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.Message {
			s.events = append(s.events, e.Text)
		}
	}}, img)
	if len(results) == 0 || results[0].Artifact == nil {
		s.Fatal(err)
	}
	return amiOf(s, results[0]), err
}

// running returns the images that run in each group.
func (s *stage) running() map[string][]string {
	s.Helper()
	groups, err := s.scaling.DescribeAutoScalingGroups(s.Context(), nil)
	if err != nil {
		s.Fatal(err)
	}
	running := map[string][]string{}
	for _, g := range groups.AutoScalingGroups {
		for _, i := range g.Instances {
			if i.LifecycleState == scalingtypes.LifecycleStateTerminating {
				continue
			}
			out, err := s.client.DescribeInstances(s.Context(), &awsec2.DescribeInstancesInput{InstanceIds: []string{*i.InstanceId}})
			if err != nil {
				s.Fatal(err)
			}
			running[*g.AutoScalingGroupName] = append(running[*g.AutoScalingGroupName], *out.Reservations[0].Instances[0].ImageId)
		}
	}
	return running
}

// wantRunning checks that all instances of all groups run an image, and that the groups
// would launch it.
func (s *stage) wantRunning(image string) {
	s.Helper()
	want := map[string][]string{"canary": {image}, "web-a": {image, image}, "web-b": {image, image}}
	if got := s.running(); !maps.EqualFunc(got, want, slices.Equal) {
		s.Errorf("running = %v, want %s everywhere", got, image)
	}
	groups, err := s.scaling.DescribeAutoScalingGroups(s.Context(), nil)
	if err != nil {
		s.Fatal(err)
	}
	for _, g := range groups.AutoScalingGroups {
		out, err := s.client.DescribeLaunchTemplateVersions(s.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{
			LaunchTemplateId: g.LaunchTemplate.LaunchTemplateId, Versions: []string{*g.LaunchTemplate.Version},
		})
		if err != nil {
			s.Fatal(err)
		}
		if got := *out.LaunchTemplateVersions[0].LaunchTemplateData.ImageId; got != image {
			s.Errorf("%s launches %s, want %s", *g.AutoScalingGroupName, got, image)
		}
	}
}

// statuses returns the statuses in an error by group.
func statuses(t *testing.T, err error) map[string]ec2.GroupStatus {
	t.Helper()
	failed, ok := errors.AsType[*ec2.RolloutError](err)
	if !ok {
		t.Fatalf("error = %v, want a *RolloutError", err)
	}
	got := map[string]ec2.GroupStatus{}
	for _, g := range failed.Groups {
		got[g.Group] = g.Status
	}
	return got
}

func TestInstanceRefresh(t *testing.T) {
	onStage(t, func(s *stage) {
		var seen []string
		check := ec2.GroupCheckFunc{Name: "serves", Do: func(_ context.Context, g *ec2.RunningGroup) error {
			text := fmt.Sprintf("%s %d %d", g.Name, len(g.Instances), len(s.refreshes()))
			s.mu.Lock()
			defer s.mu.Unlock()
			seen = append(seen, text)
			return nil
		}}
		ami, err := s.bake(waves(check))
		if err != nil {
			s.Fatal(err)
		}
		s.wantRunning(ami.ImageID)
		slices.Sort(seen)
		if want := []string{"canary 1 1", "web-a 2 3", "web-b 2 3"}; !slices.Equal(seen, want) {
			s.Errorf("checks (group, instances, refreshes so far) = %v, want %v", seen, want)
		}
		if all := strings.Join(s.events, "\n"); !strings.Contains(all, "auto scaling group web-a in eu-west-1: InProgress, 50%, 1 instances to go") {
			s.Errorf("messages lack the progress:\n%s", all)
		}
		if n := len(versions(s.T, s.client)); n != 2 {
			s.Errorf("versions of the template = %d, want 2, since all groups had the same before", n)
		}

		// The same AMI is not rolled out again.
		started := len(s.refreshes())
		again := waves(check)
		if err := again.Publish(s.Context(), ami); err != nil {
			s.Error(err)
		}
		if n := len(s.refreshes()); n != started {
			s.Errorf("refreshes = %d after publishing the same AMI again, want %d", n, started)
		}
		good, err := ec2.LastGood(s.Context(), s.cloud, "", "web-a", 5)
		if err != nil || len(good) != 1 || good[0].ImageID != s.old || good[0].Version != "1" {
			s.Errorf("LastGood = %+v, %v, want the old image", good, err)
		}
		outcomes, err := again.RollBack(s.Context(), s.cloud)
		if err != nil || len(outcomes) != 3 || outcomes[0].Status != ec2.GroupRolledBack || outcomes[0].Before != ami.ImageID || outcomes[0].Image != s.old {
			s.Errorf("RollBack = %+v, %v", outcomes, err)
		}
		s.wantRunning(s.old)
		if _, err := again.RollBack(s.Context(), s.cloud); err == nil {
			s.Error("RollBack beyond the first version: error = nil")
		}
	})
}

// refreshes returns the refreshes of all groups.
func (s *stage) refreshes() (all []scalingtypes.InstanceRefresh) {
	for _, name := range []string{"canary", "web-a", "web-b"} {
		out, err := s.scaling.DescribeInstanceRefreshes(s.Context(), &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: &name})
		if err != nil {
			s.Error(err)
			continue
		}
		all = append(all, out.InstanceRefreshes...)
	}
	return all
}

// A failing check of any wave takes the AMI back everywhere.
func TestRefreshCheckFails(t *testing.T) {
	for _, fails := range []string{"canary", "web-b"} {
		onStage(t, func(s *stage) {
			bad := errors.New("no orders")
			_, err := s.bake(waves(ec2.GroupCheckFunc{Name: "orders", Do: func(_ context.Context, g *ec2.RunningGroup) error {
				if g.Name == fails {
					return bad
				}
				return nil
			}}))
			if !errors.Is(err, bad) {
				s.Fatalf("Bake() = %v, want %v", err, bad)
			}
			s.wantRunning(s.old)
			want := map[string]ec2.GroupStatus{"canary": ec2.GroupRolledBack, "web-a": ec2.GroupNotBegun, "web-b": ec2.GroupNotBegun}
			if fails == "web-b" {
				want["web-a"], want["web-b"] = ec2.GroupRolledBack, ec2.GroupRolledBack
			}
			if got := statuses(s.T, err); !maps.Equal(got, want) {
				s.Errorf("statuses = %v, want %v", got, want)
			}
		})
	}
}

// breakNew makes the AMI's instances unhealthy, and returns a publisher that does so
// before the roll-out.
func (s *stage) breakNew() bake.Publisher {
	return bake.PublisherFunc{Name: "break", Do: func(_ context.Context, a bake.Artifact) error {
		s.server.SetUnhealthy(a.ID(), true)
		return nil
	}}
}

// AWS rolls back a group whose instances are unhealthy; where it cannot, since the
// group uses $Default, this package does.
func TestRefreshUnhealthy(t *testing.T) {
	for _, version := range []string{"1", "$Default"} {
		onStage(t, func(s *stage) {
			_, err := s.scaling.UpdateAutoScalingGroup(s.Context(), &autoscaling.UpdateAutoScalingGroupInput{
				AutoScalingGroupName: aws.String("canary"),
				LaunchTemplate:       &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web"), Version: &version},
			})
			if err != nil {
				s.Fatal(err)
			}
			_, err = s.bake(s.breakNew(), waves())
			got := statuses(s.T, err)
			if got["canary"] != ec2.GroupRolledBack || got["web-a"] != ec2.GroupNotBegun {
				s.Errorf("statuses = %v, want the canary rolled back and the others not begun", got)
			}
			s.wantRunning(s.old)
		})
	}
}

func TestRefreshAlarmAndNoRollBack(t *testing.T) {
	onStage(t, func(s *stage) {
		s.server.SetAlarm(testRegion, "errors", true)
		p := waves()
		p.Preferences.Alarms = []string{"errors"}
		_, err := s.bake(p)
		wantError(s.T, "Bake", err, "canary in eu-west-1: rolled back: Alarm(s) [errors] went into the ALARM state")
		s.wantRunning(s.old)
		p.NoRollBack = true
		_, err = s.bake(p)
		if got := statuses(s.T, err); got["canary"] != ec2.GroupHalfway {
			s.Errorf("statuses = %v, want the canary half-way", got)
		}
	})
}

// A launch that AWS refuses is told in the error.
func TestRefreshLaunchFails(t *testing.T) {
	onStage(t, func(s *stage) {
		gone := bake.PublisherFunc{Name: "lose", Do: func(ctx context.Context, a bake.Artifact) error {
			_, err := s.client.ModifyImageAttribute(ctx, &awsec2.ModifyImageAttributeInput{ImageId: aws.String(a.ID()), Description: &ec2types.AttributeValue{Value: aws.String("x")}})
			s.server.Fail(ec2test.Fault{Action: "never"})
			_, dropped := s.client.DisableImage(ctx, &awsec2.DisableImageInput{ImageId: aws.String(a.ID())})
			return errors.Join(err, dropped)
		}}
		_, err := s.bake(gone, waves())
		wantError(s.T, "Bake", err, "canary in eu-west-1: rolled back", "InvalidAMIID.Unavailable")
		s.wantRunning(s.old)
	})
}

func TestRefreshOtherInProgress(t *testing.T) {
	other := func(s *stage) {
		s.Helper()
		_, err := s.scaling.StartInstanceRefresh(s.Context(), &autoscaling.StartInstanceRefreshInput{AutoScalingGroupName: aws.String("canary")})
		if err != nil {
			s.Fatal(err)
		}
	}
	onStage(t, func(s *stage) {
		ami, err := s.bake()
		if err != nil {
			s.Fatal(err)
		}
		other(s)
		p := waves()
		p.RefuseOthers = true
		if busy, ok := errors.AsType[*ec2.RefreshInProgressError](p.Publish(s.Context(), ami)); !ok || busy.Group != "canary" {
			s.Errorf("Publish() with RefuseOthers = %v, want a RefreshInProgressError", busy)
		}
		if err := waves().Publish(s.Context(), ami); err != nil { // waits
			s.Error(err)
		}
		s.wantRunning(ami.ImageID)
	})
}

// Two processes publish the same AMI at the same time: the second joins.
func TestRefreshJoined(t *testing.T) {
	onStage(t, func(s *stage) {
		ami, err := s.bake()
		if err != nil {
			s.Fatal(err)
		}
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 30 * time.Second)
				errs[i] = waves().Publish(s.Context(), ami)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			s.Error(err)
		}
		s.wantRunning(ami.ImageID)
		if n := len(s.refreshes()); n != 3 {
			s.Errorf("refreshes = %d, want one for each group", n)
		}
	})
}

// A canceled bake starts the roll back and does not wait for it.
func TestRefreshCanceled(t *testing.T) {
	onStage(t, func(s *stage) {
		ami, err := s.bake()
		if err != nil {
			s.Fatal(err)
		}
		for _, after := range []time.Duration{30 * time.Second, 3 * time.Minute} { // in either wave
			ctx, cancel := context.WithTimeout(s.Context(), after)
			p := waves()
			p.Again = true
			err := p.Publish(ctx, ami)
			cancel()
			if got := statuses(s.T, err); got["canary"] != ec2.GroupRollingBack {
				s.Errorf("statuses after %v = %v, want the canary rolling back", after, got)
			}
			time.Sleep(time.Hour)
			s.wantRunning(s.old)
		}
	})
}

// A process that dies at any point of a roll-out leaves the rest to the next one, and no
// group runs both AMIs in the end.
func TestRefreshKilled(t *testing.T) {
	for _, bad := range []string{"", "check", "health"} {
		t.Run(bad, func(t *testing.T) {
			points, growth := 0, 1 // double the number of the call each time
			if os.Getenv("BAKESTONE_LONG") != "" {
				growth = 8
			}
			for at := 1; ; at += max(1, at/growth) {
				done := false
				onStage(t, func(s *stage) {
					ami, err := s.bake()
					if err != nil {
						s.Fatal(err)
					}
					s.server.SetUnhealthy(ami.ImageID, bad == "health")
					p := waves(ec2.GroupCheckFunc{Name: "is good", Do: func(_ context.Context, g *ec2.RunningGroup) error {
						if bad == "check" && g.Name != "canary" {
							return errors.New("bad")
						}
						return nil
					}})
					ctx, kill := context.WithCancelCause(s.Context())
					s.calls, s.killAt, s.kill = 0, at, kill
					first := p.Publish(ctx, ami)
					done = ctx.Err() == nil
					s.kill = nil
					kill(nil)
					time.Sleep(time.Duration(at) * time.Minute) // until another process resumes
					err = first
					if !done {
						s.cloud = s.newCloud()
						err = p.Publish(s.Context(), ami)
					}
					want := s.old
					if bad == "" {
						want = ami.ImageID
					}
					if (err == nil) != (bad == "") {
						s.Errorf("killed at call %d: error = %v, first %v", at, err, first)
					}
					s.wantRunning(want)
					if n := len(versions(s.T, s.client)); n > 2 {
						s.Errorf("killed at call %d: %d versions of the template, want 2", at, n)
					}
					points++
				})
				if done || t.Failed() {
					break
				}
			}
			t.Logf("killed at %d points", points)
		})
	}
}
