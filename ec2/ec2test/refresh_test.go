package ec2test_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// rolling is a group whose template has version 1 with one image and version 2 with
// another.
type rolling struct {
	*testing.T

	server   *ec2test.Server
	scaling  *autoscaling.Client
	ec2      *awsec2.Client
	old, new string // images
	template string
	lowest   int // the fewest healthy instances seen
	most     int // the most instances seen
}

const web = "web"

func roll(t *testing.T, size int32, do func(r *rolling)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(&ec2test.Options{Latency: ec2test.Latency{Running: 10 * time.Second, Terminated: 20 * time.Second}})
		defer server.Close()
		r := &rolling{T: t, server: server, scaling: scaling(server.Config(region)), ec2: client(server.Config(region)), lowest: int(size)}
		r.old = server.Publish(ec2test.Image{Name: "old", Private: true})[region]
		r.new = server.Publish(ec2test.Image{Name: "new", Private: true})[region]
		r.template = launchTemplate(t, r.ec2, web, r.old)
		must(r.ec2.CreateLaunchTemplateVersion(t.Context(), &awsec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateId: &r.template, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &r.new},
		}))(t)
		must(r.scaling.CreateAutoScalingGroup(t.Context(), &autoscaling.CreateAutoScalingGroupInput{
			AutoScalingGroupName: aws.String(web), MinSize: aws.Int32(0), MaxSize: &size, DesiredCapacity: &size, HealthCheckType: aws.String("ELB"),
			AvailabilityZones: []string{region + "a", region + "b"}, LaunchTemplate: r.version("1"),
		}))(t)
		time.Sleep(time.Minute)
		do(r)
	})
}

func (r *rolling) version(n string) *scalingtypes.LaunchTemplateSpecification {
	return &scalingtypes.LaunchTemplateSpecification{LaunchTemplateId: &r.template, Version: &n}
}

func (r *rolling) start(p scalingtypes.RefreshPreferences) {
	r.Helper()
	must(r.scaling.StartInstanceRefresh(r.Context(), &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String(web), Preferences: &p,
		DesiredConfiguration: &scalingtypes.DesiredConfiguration{LaunchTemplate: r.version("2")},
	}))(r.T)
}

func (r *rolling) latest() scalingtypes.InstanceRefresh {
	r.Helper()
	return must(r.scaling.DescribeInstanceRefreshes(r.Context(), &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String(web)}))(r.T).InstanceRefreshes[0]
}

func (r *rolling) group() scalingtypes.AutoScalingGroup {
	r.Helper()
	return must(r.scaling.DescribeAutoScalingGroups(r.Context(), nil))(r.T).AutoScalingGroups[0]
}

// images returns the images of the group's instances that are not terminating.
func (r *rolling) images() (images []string) {
	r.Helper()
	for _, i := range r.group().Instances {
		if i.LifecycleState != scalingtypes.LifecycleStateTerminating {
			version := map[string]string{"1": "old", "2": "new"}[*i.LaunchTemplate.Version]
			images = append(images, version)
		}
	}
	slices.Sort(images)
	return images
}

// watch polls until the refresh has a status, and returns how long that took.
func (r *rolling) watch(until scalingtypes.InstanceRefreshStatus) time.Duration {
	r.Helper()
	began := time.Now()
	for time.Since(began) < 6*time.Hour {
		healthy, all := 0, 0
		for _, i := range r.group().Instances {
			if i.LifecycleState == scalingtypes.LifecycleStateInService {
				healthy++
			}
			if i.LifecycleState != scalingtypes.LifecycleStateTerminating {
				all++
			}
		}
		r.lowest, r.most = min(r.lowest, healthy), max(r.most, all)
		if r.latest().Status == until {
			return time.Since(began)
		}
		time.Sleep(5 * time.Second)
	}
	last := r.latest()
	r.Fatalf("refresh is %s (%s) at %d%% after six hours, want %s", last.Status, aws.ToString(last.StatusReason), *last.PercentageComplete, until)
	return 0
}

// check compares the images of the instances and the version of the group.
func (r *rolling) check(version string, images ...string) {
	r.Helper()
	if got := r.images(); !slices.Equal(got, images) {
		r.Errorf("images of the instances = %v, want %v", got, images)
	}
	if got := *r.group().LaunchTemplate.Version; got != version {
		r.Errorf("group's template version = %s, want %s", got, version)
	}
}

// upTo returns preferences that keep the whole capacity.
func upTo(highest int32) scalingtypes.RefreshPreferences {
	return scalingtypes.RefreshPreferences{MinHealthyPercentage: aws.Int32(100), MaxHealthyPercentage: &highest, InstanceWarmup: aws.Int32(60)}
}

func TestRefreshLaunchesFirst(t *testing.T) {
	roll(t, 3, func(r *rolling) {
		r.check("1", "old", "old", "old")
		r.start(upTo(110))
		if took := r.watch("Successful"); took < 3*time.Minute || took > 5*time.Minute {
			r.Errorf("refresh took %v, want three warm-ups of a minute and the launches", took)
		}
		r.check("2", "new", "new", "new")
		if r.lowest != 3 || r.most != 4 {
			r.Errorf("healthy instances at least %d, instances at most %d; want 3, 4", r.lowest, r.most)
		}
		if last := r.latest(); *last.PercentageComplete != 100 || *last.InstancesToUpdate != 0 || last.EndTime == nil {
			r.Errorf("refresh = %+v, want complete", last)
		}
	})
}

// With the default percentages a group of one has no instance for a while.
func TestRefreshTerminatesFirst(t *testing.T) {
	roll(t, 1, func(r *rolling) {
		r.start(scalingtypes.RefreshPreferences{})
		r.watch("Successful")
		r.check("2", "new")
		if r.lowest != 0 || r.most != 1 {
			r.Errorf("healthy instances at least %d, instances at most %d; want 0, 1", r.lowest, r.most)
		}
	})
	roll(t, 4, func(r *rolling) {
		r.start(scalingtypes.RefreshPreferences{MinHealthyPercentage: aws.Int32(50)})
		r.watch("Successful")
		r.check("2", "new", "new", "new", "new")
		if r.lowest != 2 {
			r.Errorf("healthy instances at least %d, want 2", r.lowest)
		}
	})
}

func TestRefreshWithoutCalls(t *testing.T) {
	roll(t, 3, func(r *rolling) {
		r.start(upTo(110))
		time.Sleep(time.Hour) // without a call
		ended := *r.latest().EndTime
		if took := ended.Sub(*r.latest().StartTime); took > 5*time.Minute {
			r.Errorf("refresh took %v, want at most 5 minutes", took)
		}
		r.check("2", "new", "new", "new")
	})
}

func TestRefreshCheckpointsAndBakeTime(t *testing.T) {
	roll(t, 4, func(r *rolling) {
		p := upTo(200)
		p.CheckpointPercentages, p.CheckpointDelay, p.BakeTime = []int32{25, 100}, aws.Int32(1800), aws.Int32(600)
		r.start(p)
		time.Sleep(20 * time.Minute)
		if last := r.latest(); last.Status != "InProgress" || *last.PercentageComplete != 25 {
			r.Errorf("refresh is %s at %d%% at the checkpoint, want InProgress at 25%%", last.Status, *last.PercentageComplete)
		}
		r.check("1", "new", "old", "old", "old")
		if took := 20*time.Minute + r.watch("Baking"); took < time.Hour || took > 70*time.Minute {
			r.Errorf("bake time began after %v, want after two checkpoints of 30 minutes", took)
		}
		r.check("1", "new", "new", "new", "new")
		if took := r.watch("Successful"); took < 9*time.Minute || took > 11*time.Minute {
			r.Errorf("bake time %v, want 10 minutes", took)
		}
		r.check("2", "new", "new", "new", "new")
	})
	roll(t, 4, func(r *rolling) { // the last threshold ends the refresh
		p := upTo(200)
		p.CheckpointPercentages, p.CheckpointDelay = []int32{50}, aws.Int32(0)
		r.start(p)
		r.watch("Successful")
		r.check("2", "new", "new", "old", "old")
	})
}

func TestRefreshSkipsMatching(t *testing.T) {
	roll(t, 2, func(r *rolling) {
		r.start(upTo(200))
		r.watch("Successful")
		before := *r.group().Instances[0].InstanceId
		p := upTo(200)
		p.SkipMatching = aws.Bool(true)
		r.start(p)
		r.watch("Successful")
		if after := *r.group().Instances[0].InstanceId; after != before {
			r.Errorf("instance %s was replaced by %s, want it to stay", before, after)
		}
	})
}

func TestRefreshAlarm(t *testing.T) {
	for rollBack, want := range map[bool]scalingtypes.InstanceRefreshStatus{false: "Failed", true: "RollbackSuccessful"} {
		roll(t, 2, func(r *rolling) {
			p := upTo(150)
			p.AutoRollback, p.AlarmSpecification = &rollBack, &scalingtypes.AlarmSpecification{Alarms: []string{"errors"}}
			r.start(p)
			time.Sleep(2 * time.Minute) // one is replaced
			r.server.SetAlarm("us-west-2", "errors", true)
			if got := r.latest().Status; got != "InProgress" {
				r.Errorf("refresh with an alarm elsewhere is %s, want InProgress", got)
			}
			r.server.SetAlarm(region, "errors", true)
			r.watch(want)
			if reason := *r.latest().StatusReason; reason != "Alarm(s) [errors] went into the ALARM state." {
				r.Errorf("reason = %q", reason)
			}
			if rollBack {
				r.check("1", "old", "old")
				if b := r.latest().RollbackDetails; *b.PercentageCompleteOnRollback != 50 || *r.latest().PercentageComplete != 0 {
					r.Errorf("rollback details = %+v, want 50%% when it began", b)
				}
			} else if got := r.images(); !slices.Contains(got, "new") {
				r.Errorf("images after a failure = %v, want new ones", got)
			}
		})
	}
}

func TestRefreshToBadImage(t *testing.T) {
	for rollBack, want := range map[bool]scalingtypes.InstanceRefreshStatus{false: "Failed", true: "RollbackSuccessful"} {
		roll(t, 2, func(r *rolling) {
			r.server.SetUnhealthy(r.new, true)
			p := upTo(150)
			p.AutoRollback = &rollBack
			r.start(p)
			if took := r.watch(want); took < time.Hour {
				r.Errorf("refresh gave up after %v, want an hour", took)
			}
			if got := r.images(); slices.Contains(got, "new") && rollBack || !slices.Contains(got, "old") {
				r.Errorf("images = %v, want the old one", got)
			}
			if r.lowest < 2 {
				r.Errorf("healthy instances at least %d, want 2", r.lowest)
			}
		})
	}
}

func TestRollbackInstanceRefresh(t *testing.T) {
	roll(t, 2, func(r *rolling) {
		in := &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: aws.String(web)}
		if _, err := r.scaling.RollbackInstanceRefresh(r.Context(), in); code(err) != "ActiveInstanceRefreshNotFound" {
			r.Errorf("rollback without a refresh = %v", err)
		}
		r.start(upTo(150))
		time.Sleep(2 * time.Minute)
		must(r.scaling.RollbackInstanceRefresh(r.Context(), in))(r.T)
		if got := r.latest().Status; got != "RollbackInProgress" {
			r.Errorf("status = %s, want RollbackInProgress", got)
		}
		r.watch("RollbackSuccessful")
		r.check("1", "old", "old")

		must(r.scaling.StartInstanceRefresh(r.Context(), &autoscaling.StartInstanceRefreshInput{AutoScalingGroupName: aws.String(web)}))(r.T)
		if _, err := r.scaling.RollbackInstanceRefresh(r.Context(), in); code(err) != "IrreversibleInstanceRefresh" {
			r.Errorf("rollback without a desired configuration = %v", err)
		}
		update := &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String(web), LaunchTemplate: r.version("$Latest")}
		must(r.scaling.CancelInstanceRefresh(r.Context(), &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: aws.String(web)}))(r.T)
		r.watch("Cancelled")
		must(r.scaling.UpdateAutoScalingGroup(r.Context(), update))(r.T)
		r.start(upTo(150))
		if _, err := r.scaling.RollbackInstanceRefresh(r.Context(), in); code(err) != "IrreversibleInstanceRefresh" {
			r.Errorf("rollback to $Latest = %v", err)
		}
		if _, err := r.scaling.UpdateAutoScalingGroup(r.Context(), update); code(err) != "ValidationError" {
			r.Errorf("UpdateAutoScalingGroup during a refresh = %v, want ValidationError", err)
		}
	})
}

func TestRefreshCanceledHalfway(t *testing.T) {
	roll(t, 3, func(r *rolling) {
		r.start(upTo(134))
		time.Sleep(90 * time.Second)
		must(r.scaling.CancelInstanceRefresh(r.Context(), &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: aws.String(web)}))(r.T)
		r.watch("Cancelled")
		time.Sleep(time.Minute)
		if got := r.images(); len(got) != 3 || !slices.Contains(got, "new") {
			r.Errorf("images = %v, want three with a new one", got)
		}
		if got := *r.group().LaunchTemplate.Version; got != "1" {
			r.Errorf("version = %s, want that from before", got)
		}
	})
}

func TestRefreshProtectedAndStandby(t *testing.T) {
	for _, test := range []struct {
		how    string
		status scalingtypes.InstanceRefreshStatus
		images []string
	}{
		{"Refresh", "Successful", []string{"new", "new"}},
		{"Ignore", "Successful", []string{"new", "old"}},
		{"Wait", "Failed", []string{"new", "old"}},
	} {
		roll(t, 2, func(r *rolling) {
			id := *r.group().Instances[0].InstanceId
			must(r.scaling.SetInstanceProtection(r.Context(), &autoscaling.SetInstanceProtectionInput{
				AutoScalingGroupName: aws.String(web), InstanceIds: []string{id}, ProtectedFromScaleIn: aws.Bool(true),
			}))(r.T)
			p := upTo(150)
			p.ScaleInProtectedInstances = scalingtypes.ScaleInProtectedInstances(test.how)
			r.start(p)
			r.watch(test.status)
			if got := r.images(); !slices.Equal(got, test.images) {
				r.Errorf("%s: images = %v, want %v", test.how, got, test.images)
			}
		})
		roll(t, 3, func(r *rolling) {
			id := *r.group().Instances[0].InstanceId
			must(r.scaling.EnterStandby(r.Context(), &autoscaling.EnterStandbyInput{
				AutoScalingGroupName: aws.String(web), InstanceIds: []string{id}, ShouldDecrementDesiredCapacity: aws.Bool(true),
			}))(r.T)
			p := upTo(150)
			how := map[string]string{"Refresh": "Terminate"}[test.how]
			if how == "" {
				how = test.how
			}
			p.StandbyInstances = scalingtypes.StandbyInstances(how)
			r.start(p)
			r.watch(test.status)
			kept := slices.Contains(r.images(), "old")
			if want := how != "Terminate"; kept != want {
				r.Errorf("%s: old instance in standby kept = %t, want %t", how, kept, want)
			}
		})
	}
}

// A group replaces what is unhealthy and keeps to its capacity.
func TestGroupKeepsCapacity(t *testing.T) {
	roll(t, 2, func(r *rolling) {
		ids := func() (ids []string) {
			for _, i := range r.group().Instances {
				if i.LifecycleState == scalingtypes.LifecycleStateInService {
					ids = append(ids, *i.InstanceId)
				}
			}
			return ids
		}
		first := ids()
		must(r.scaling.SetInstanceHealth(r.Context(), &autoscaling.SetInstanceHealthInput{InstanceId: &first[0], HealthStatus: aws.String("Unhealthy")}))(r.T)
		must(r.ec2.TerminateInstances(r.Context(), &awsec2.TerminateInstancesInput{InstanceIds: first[1:]}))(r.T)
		time.Sleep(5 * time.Minute)
		second := ids()
		if len(second) != 2 || slices.Contains(second, first[0]) || slices.Contains(second, first[1]) {
			r.Errorf("instances = %v after %v were unhealthy or terminated, want two others", second, first)
		}
		must(r.scaling.SetDesiredCapacity(r.Context(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: aws.String(web), DesiredCapacity: aws.Int32(1)}))(r.T)
		time.Sleep(time.Minute)
		if third := ids(); len(third) != 1 {
			r.Errorf("instances = %v, want one", third)
		}
		if _, err := r.scaling.SetDesiredCapacity(r.Context(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: aws.String(web), DesiredCapacity: aws.Int32(9)}); code(err) != "ValidationError" {
			r.Errorf("SetDesiredCapacity above the maximum = %v, want ValidationError", err)
		}
		drop := &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: aws.String(web)}
		if _, err := r.scaling.DeleteAutoScalingGroup(r.Context(), drop); code(err) != "ResourceInUse" {
			r.Errorf("DeleteAutoScalingGroup with instances = %v, want ResourceInUse", err)
		}
		drop.ForceDelete = aws.Bool(true)
		must(r.scaling.DeleteAutoScalingGroup(r.Context(), drop))(r.T)
		time.Sleep(time.Minute)
		if left := r.server.Resources(func(x ec2test.Resource) bool { return x.Type == "instance" }); len(left) > 0 {
			r.Errorf("instances after ForceDelete = %v, want none", left)
		}
	})
}

// A launch that fails is in the activities, and is tried again.
func TestGroupLaunchFailure(t *testing.T) {
	roll(t, 1, func(r *rolling) {
		must(r.ec2.DeregisterImage(r.Context(), &awsec2.DeregisterImageInput{ImageId: &r.new}))(r.T)
		p := upTo(200)
		p.AutoRollback = aws.Bool(true)
		r.start(p)
		r.watch("RollbackSuccessful")
		r.check("1", "old")
		out := must(r.scaling.DescribeScalingActivities(r.Context(), &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String(web)}))(r.T)
		failed := 0
		for _, a := range out.Activities {
			if a.StatusCode == scalingtypes.ScalingActivityStatusCodeFailed {
				failed++
			}
		}
		if failed < 10 {
			r.Errorf("failed activities = %d, want some", failed)
		}
	})
}

func TestRefreshPreferencesRefused(t *testing.T) {
	roll(t, 1, func(r *rolling) {
		for name, p := range map[string]scalingtypes.RefreshPreferences{
			"maximum alone":        {MaxHealthyPercentage: aws.Int32(110)},
			"wide":                 {MinHealthyPercentage: aws.Int32(0), MaxHealthyPercentage: aws.Int32(150)},
			"delay alone":          {CheckpointDelay: aws.Int32(5)},
			"descending":           {CheckpointPercentages: []int32{50, 20}},
			"rollback to the same": {AutoRollback: aws.Bool(true)},
		} {
			_, err := r.scaling.StartInstanceRefresh(r.Context(), &autoscaling.StartInstanceRefreshInput{AutoScalingGroupName: aws.String(web), Preferences: &p})
			if code(err) != "ValidationError" {
				r.Errorf("%s: StartInstanceRefresh = %v, want ValidationError", name, err)
			}
		}
	})
}

func TestMixedInstancesGroup(t *testing.T) {
	roll(t, 0, func(r *rolling) {
		policy := func(version string) *scalingtypes.MixedInstancesPolicy {
			return &scalingtypes.MixedInstancesPolicy{
				InstancesDistribution: &scalingtypes.InstancesDistribution{OnDemandBaseCapacity: aws.Int32(1), OnDemandPercentageAboveBaseCapacity: aws.Int32(0)},
				LaunchTemplate: &scalingtypes.LaunchTemplate{
					LaunchTemplateSpecification: r.version(version),
					Overrides:                   []scalingtypes.LaunchTemplateOverrides{{InstanceType: aws.String("t3.large")}, {InstanceType: aws.String("m5.large")}},
				},
			}
		}
		must(r.scaling.UpdateAutoScalingGroup(r.Context(), &autoscaling.UpdateAutoScalingGroupInput{
			AutoScalingGroupName: aws.String(web), MixedInstancesPolicy: policy("1"), MaxSize: aws.Int32(3), DesiredCapacity: aws.Int32(3),
		}))(r.T)
		time.Sleep(time.Minute)
		must(r.scaling.StartInstanceRefresh(r.Context(), &autoscaling.StartInstanceRefreshInput{
			AutoScalingGroupName: aws.String(web), DesiredConfiguration: &scalingtypes.DesiredConfiguration{MixedInstancesPolicy: policy("2")},
		}))(r.T)
		r.watch("Successful")
		spot := 0
		for _, i := range must(r.ec2.DescribeInstances(r.Context(), &awsec2.DescribeInstancesInput{
			Filters: []ec2types.Filter{{Name: aws.String("image-id"), Values: []string{r.new}}, {Name: aws.String("instance-state-name"), Values: []string{"running"}}},
		}))(r.T).Reservations {
			if i.Instances[0].InstanceType != "t3.large" {
				r.Errorf("type = %s, want that of the first override", i.Instances[0].InstanceType)
			}
			if i.Instances[0].InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot {
				spot++
			}
		}
		if spot != 2 || len(r.images()) != 3 {
			r.Errorf("spot instances = %d of %d, want 2 of 3", spot, len(r.images()))
		}
		if v := fmt.Sprint(*r.group().MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.Version); v != "2" {
			r.Errorf("policy's version = %s, want 2", v)
		}
	})
}
