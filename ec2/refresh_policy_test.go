package ec2_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// scripted returns a roll-out that needs all permissions.
func scripted() ec2.InstanceRefresh {
	return waves(ec2.SSMCheck{Script: `grep -q "made with care" /etc/made`})
}

// TestRefreshPolicy compares the calls of roll-outs that succeed, fail, are canceled and
// rolled back with the policy.
func TestRefreshPolicy(t *testing.T) {
	onStage(t, func(s *stage) {
		ami, err := s.bake()
		if err != nil {
			s.Fatal(err)
		}
		p := scripted()
		p.Again = true
		before := len(s.server.Calls())
		if err := p.Publish(s.Context(), ami); err != nil {
			s.Error(err)
		}
		if _, err := p.RollBack(s.Context(), s.cloud); err != nil {
			s.Error(err)
		}
		halfway := func() error {
			ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
			defer cancel()
			return p.Publish(ctx, ami)
		}
		if err := halfway(); err == nil {
			s.Error("Publish() with a short time: error = nil")
		}
		time.Sleep(time.Hour)
		s.server.SetAlarm(testRegion, "errors", true)
		p.Preferences.Alarms = []string{"errors"}
		if err := p.Publish(s.Context(), ami); err == nil {
			s.Error("Publish() with an alarm: error = nil")
		}
		p.Preferences.Alarms = nil
		calls := s.server.Calls()[before:]
		s.float("canary")
		before = len(s.server.Calls())
		if err := halfway(); err == nil {
			s.Error("Publish() with a short time: error = nil")
		}
		time.Sleep(time.Hour)
		s.wantRunning(s.old)
		calls = append(calls, s.server.Calls()[before:]...)
		var got []string
		for _, c := range calls {
			service := "ec2"
			switch {
			case strings.Contains(c.Action, "Scaling") || strings.Contains(c.Action, "InstanceRefresh"):
				service = "autoscaling"
			case strings.Contains(c.Action, "Command"):
				service = "ssm"
			}
			got = append(got, service+":"+c.Action)
		}
		slices.Sort(got)
		indirect := func(action string) bool { return action == "iam:PassRole" || action == "ec2:RunInstances" }
		want := slices.DeleteFunc(p.IAMPolicy(testRegion).Actions(), indirect)
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			s.Errorf("calls (-policy +calls):\n%s", diff)
		}
	})
}

// float makes a group use the default version of its template.
func (s *stage) float(group string) {
	s.Helper()
	_, err := s.scaling.UpdateAutoScalingGroup(s.Context(), &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: &group, LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web"), Version: aws.String("$Default")},
	})
	if err != nil {
		s.Fatal(err)
	}
}

func TestRefreshPlanAndPreflight(t *testing.T) {
	onStage(t, func(s *stage) {
		img := simple(s.cloud)
		img.Publishers = []bake.Publisher{waves()}
		plan, err := ec2.Plan(s.Context(), img)
		if err != nil {
			s.Fatal(err)
		}
		var text strings.Builder
		if err := plan.WriteText(&text); err != nil {
			s.Fatal(err)
		}
		for _, want := range []string{
			"then     wave 1: refreshes auto scaling group canary in eu-west-1 with 1 instances, from " + s.old + " (version 1 of launch template lt-",
			"wave 2: refreshes auto scaling group web-b", "calls    StartInstanceRefresh in eu-west-1", "calls    CreateLaunchTemplateVersion in eu-west-1",
		} {
			if !strings.Contains(text.String(), want) {
				s.Errorf("plan lacks %q:\n%s", want, text.String())
			}
		}
		policy := ec2.Policy(s.cloud, img).String()
		for _, want := range []string{"autoScalingGroupName/canary", `"aws:ResourceTag/service"`, "autoscaling:StartInstanceRefresh"} {
			if !strings.Contains(policy, want) {
				s.Errorf("policy lacks %s", want)
			}
		}

		// Each of these is reported before anything is launched.
		launched := s.server.CallCount("RunInstances")
		refused := func(want string, p ec2.InstanceRefresh) {
			s.Helper()
			img.Publishers = []bake.Publisher{p}
			_, err := bake.Bake(s.Context(), nil, img)
			wantError(s.T, "Bake", err, want)
		}
		refused("auto scaling group nope not found", ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"nope"}}}})
		refused("no auto scaling group has the tags of service=mail", ec2.InstanceRefresh{Waves: []ec2.Wave{{Tags: map[string]string{"service": "mail"}}}})
		must := func(err error) {
			s.Helper()
			if err != nil {
				s.Fatal(err)
			}
		}
		_, err = s.scaling.SuspendProcesses(s.Context(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: aws.String("canary"), ScalingProcesses: []string{"Launch"}})
		must(err)
		refused("its process Launch is suspended", waves())
		_, err = s.scaling.ResumeProcesses(s.Context(), &autoscaling.ResumeProcessesInput{AutoScalingGroupName: aws.String("canary")})
		must(err)
		group, err := s.scaling.DescribeAutoScalingGroups(s.Context(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"canary"}})
		must(err)
		protect := &autoscaling.SetInstanceProtectionInput{
			AutoScalingGroupName: aws.String("canary"), InstanceIds: []string{*group.AutoScalingGroups[0].Instances[0].InstanceId}, ProtectedFromScaleIn: aws.Bool(true),
		}
		_, err = s.scaling.SetInstanceProtection(s.Context(), protect)
		must(err)
		refused("are protected from scale in: set InstanceRefresh.Preferences.Protected", waves())
		protect.ProtectedFromScaleIn = aws.Bool(false)
		_, err = s.scaling.SetInstanceProtection(s.Context(), protect)
		must(err)
		_, err = s.scaling.CreateLaunchConfiguration(s.Context(), &autoscaling.CreateLaunchConfigurationInput{
			LaunchConfigurationName: aws.String("ancient"), ImageId: &s.old, InstanceType: aws.String("t3.micro"),
		})
		must(err)
		_, err = s.scaling.UpdateAutoScalingGroup(s.Context(), &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String("canary"), LaunchConfigurationName: aws.String("ancient")})
		must(err)
		refused("it uses the launch configuration ancient, which no refresh can change: copy it to a launch template", waves())
		s.server.SetParameter(testRegion, "/images/web", s.old)
		s.template("by-parameter", "resolve:ssm:/images/web")
		_, err = s.scaling.UpdateAutoScalingGroup(s.Context(), &autoscaling.UpdateAutoScalingGroupInput{
			AutoScalingGroupName: aws.String("canary"), LaunchTemplate: &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("by-parameter"), Version: aws.String("1")},
		})
		must(err)
		refused("takes its AMI from /images/web", waves())
		if n := s.server.CallCount("RunInstances"); n != launched {
			s.Errorf("calls of RunInstances = %d, want none", n-launched)
		}
	})
}

func TestValidateInstanceRefresh(t *testing.T) {
	with := func(p ec2.RefreshPreferences) ec2.InstanceRefresh {
		return ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"web"}}}, Preferences: p}
	}
	for want, p := range map[string]bake.Validator{
		"InstanceRefresh.Waves: is required":             ec2.InstanceRefresh{},
		"InstanceRefresh.Waves[0]: needs Groups or Tags": ec2.InstanceRefresh{Waves: []ec2.Wave{{}}},
		`group "a" is named twice`:                       ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"a"}}, {Groups: []string{"a"}}}},
		"InstanceRefresh.Waves[0].Checks[0]":             ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"a"}, Checks: []ec2.GroupCheck{ec2.GroupCheckFunc{}}}}},
		"MinHealthy: invalid percentage 101":             with(ec2.RefreshPreferences{MinHealthy: 101}),
		"MaxHealthy: invalid percentage 99":              with(ec2.RefreshPreferences{MaxHealthy: 99}),
		"MaxHealthy: 200 is more than 100 above":         with(ec2.RefreshPreferences{MinHealthy: 50, MaxHealthy: 200}),
		"Warmup: 1.5s is not a number of seconds":        with(ec2.RefreshPreferences{Warmup: 1500 * time.Millisecond}),
		"BakeTime: 72h0m0s is more than 48 hours":        with(ec2.RefreshPreferences{BakeTime: 72 * time.Hour}),
		"Checkpoints: percentages must ascend":           with(ec2.RefreshPreferences{Checkpoints: []int{50, 20}}),
		"Checkpoints: must end with 100":                 with(ec2.RefreshPreferences{Checkpoints: []int{50}}),
		"CheckpointDelay: needs Checkpoints":             with(ec2.RefreshPreferences{CheckpointDelay: time.Hour}),
		`Protected: unknown value "Maybe"`:               with(ec2.RefreshPreferences{Protected: "Maybe"}),
		`Standby: unknown value "Maybe"`:                 with(ec2.RefreshPreferences{Standby: "Maybe"}),
		"SSMCheck.Script: is required":                   ec2.SSMCheck{},
		"SSMCheck.Timeout: 1s is less than 30 seconds":   ec2.SSMCheck{Script: "true", Timeout: time.Second},
		`HTTPCheck.Scheme: unknown value "ftp"`:          ec2.HTTPCheck{Scheme: "ftp"},
		"HTTPCheck.Port: invalid port 70000":             ec2.HTTPCheck{Port: 70000},
	} {
		wantError(t, "Validate", p.Validate(), want)
	}
}

// A script that fails on the instances takes the AMI back, and its output is told.
func TestRefreshSSMCheckFails(t *testing.T) {
	onStage(t, func(s *stage) {
		_, err := s.bake(waves(ec2.SSMCheck{Script: "cat /etc/made; exit 3"}))
		wantError(s.T, "Bake", err, "script by SSM", "exit status 3", "made with care")
		s.wantRunning(s.old)
	})
}
