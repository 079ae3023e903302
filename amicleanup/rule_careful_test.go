package amicleanup_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// A carefulTrap is a family with an old image that must stay, or go, and a newer
// one.
type carefulTrap struct {
	name  string
	goes  bool
	image ec2test.Image                     // what differs from an old private image
	setup func(w *carefulEstate, id string) // with the old image
}

type carefulEstate struct {
	*estate

	name  string // of the trap
	newer string // the newer image
	now   time.Time
}

// full returns an instance type without capacity, so that what asks for it waits and no
// instance shows that the image is in use.
func (w *carefulEstate) full() ec2types.InstanceType {
	const kind = "c5.large"
	for _, zone := range []string{"a", "b", "c"} {
		w.SetCapacity(kind, where+zone, 0)
	}
	return kind
}

// carefulTraps returns the 35 cases in which a peer, or an earlier quick start,
// removed an image wrongly or left it behind.
func carefulTraps() []carefulTrap {
	mixed := func(w *carefulEstate, base *scalingtypes.LaunchTemplateSpecification, o scalingtypes.LaunchTemplateOverrides) {
		w.group(w.name, autoscaling.CreateAutoScalingGroupInput{MixedInstancesPolicy: &scalingtypes.MixedInstancesPolicy{LaunchTemplate: &scalingtypes.LaunchTemplate{
			LaunchTemplateSpecification: base, Overrides: []scalingtypes.LaunchTemplateOverrides{o},
		}}})
	}
	tagged := func(pairs ...string) func(*carefulEstate, string) {
		return func(w *carefulEstate, id string) {
			out, err := w.ec2.CreateTags(w.t.Context(), &awsec2.CreateTagsInput{Resources: []string{id}, Tags: tags(pairs...)})
			do(w.estate, out, err)
		}
	}
	share := func(w *carefulEstate, id string, p ec2types.LaunchPermission) {
		out, err := w.ec2.ModifyImageAttribute(w.t.Context(), &awsec2.ModifyImageAttributeInput{ImageId: &id, LaunchPermission: &ec2types.LaunchPermissionModifications{Add: []ec2types.LaunchPermission{p}}})
		do(w.estate, out, err)
	}
	run := func(w *carefulEstate, client *awsec2.Client, id string) string {
		out, err := client.RunInstances(w.t.Context(), &awsec2.RunInstancesInput{ImageId: &id, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro"})
		return *do(w.estate, out, err).Instances[0].InstanceId
	}
	return []carefulTrap{
		{name: "default version without a group", setup: func(w *carefulEstate, id string) { w.template(w.name, id) }},
		{name: "default after a rollback", setup: func(w *carefulEstate, id string) { w.template(w.name, id, w.newer) }},
		{name: "old version that a group names", setup: func(w *carefulEstate, id string) {
			w.template(w.name, w.newer, id, w.newer)
			w.makeDefault(w.name, "3")
			w.group(w.name, autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named(w.name, "2")})
		}},
		{name: "old version in an override", setup: func(w *carefulEstate, id string) {
			w.template(w.name, w.newer, id, w.newer)
			w.makeDefault(w.name, "3")
			mixed(w, named(w.name, "$Latest"), scalingtypes.LaunchTemplateOverrides{InstanceType: aws.String("m7i.large"), LaunchTemplateSpecification: named(w.name, "2")})
		}},
		{name: "image in an override", setup: func(w *carefulEstate, id string) {
			w.template(w.name, w.newer)
			mixed(w, named(w.name, "$Latest"), scalingtypes.LaunchTemplateOverrides{InstanceType: aws.String("m7i.large"), ImageId: &id})
		}},
		{name: "template by a parameter", setup: func(w *carefulEstate, id string) {
			w.parameter("/versions/x", id)
			w.parameter("/versions/x", w.newer)
			w.template(w.name, "resolve:ssm:/versions/x:1")
		}},
		{name: "launch configuration without a group", setup: func(w *carefulEstate, id string) { w.launchConfiguration(w.name, id) }},
		{name: "launch configuration of a group", setup: func(w *carefulEstate, id string) {
			w.launchConfiguration(w.name, id)
			w.group(w.name, autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: &w.name})
		}},
		{name: "spot fleet", setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.RequestSpotFleet(w.t.Context(), &awsec2.RequestSpotFleetInput{SpotFleetRequestConfig: &ec2types.SpotFleetRequestConfigData{
				IamFleetRole: aws.String("arn:aws:iam::123456789012:role/fleet"), TargetCapacity: aws.Int32(1),
				LaunchSpecifications: []ec2types.SpotFleetLaunchSpecification{{ImageId: &id, InstanceType: w.full()}},
			}})
			do(w.estate, out, err)
		}},
		{name: "spot request", setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.RequestSpotInstances(w.t.Context(), &awsec2.RequestSpotInstancesInput{
				Type: ec2types.SpotInstanceTypePersistent, LaunchSpecification: &ec2types.RequestSpotLaunchSpecification{ImageId: &id, InstanceType: w.full()},
			})
			do(w.estate, out, err)
		}},
		{name: "EC2 fleet by an old version", setup: func(w *carefulEstate, id string) {
			w.template(w.name, w.newer, id, w.newer)
			w.makeDefault(w.name, "3")
			out, err := w.ec2.CreateFleet(w.t.Context(), &awsec2.CreateFleetInput{
				TargetCapacitySpecification: &ec2types.TargetCapacitySpecificationRequest{TotalTargetCapacity: aws.Int32(1)},
				LaunchTemplateConfigs: []ec2types.FleetLaunchTemplateConfigRequest{{
					LaunchTemplateSpecification: &ec2types.FleetLaunchTemplateSpecificationRequest{LaunchTemplateName: &w.name, Version: aws.String("2")},
					Overrides:                   []ec2types.FleetLaunchTemplateOverridesRequest{{InstanceType: w.full()}},
				}},
			})
			do(w.estate, out, err)
		}},
		{name: "image parameter", setup: func(w *carefulEstate, id string) { w.parameter("/image", id) }},
		{name: "string parameter", setup: func(w *carefulEstate, id string) {
			w.parameter("/ci/runner/ami", id, ssmtypes.ParameterTypeString)
		}},
		{name: "string list", setup: func(w *carefulEstate, id string) {
			w.parameter("/ci/list", w.newer+","+id, ssmtypes.ParameterTypeStringList)
		}},
		{name: "JSON in a parameter", setup: func(w *carefulEstate, id string) {
			w.parameter("/ci/json", `{"eu-west-1":"`+id+`"}`, ssmtypes.ParameterTypeString)
		}},
		{name: "recipe of Image Builder", setup: func(w *carefulEstate, id string) {
			if err := w.SetImageRecipe(where, "base", id); err != nil {
				w.t.Fatal(err)
			}
		}},
		{name: "stopped instance", setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.StopInstances(w.t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{run(w, w.ec2, id)}})
			do(w.estate, out, err)
		}},
		{name: "shared with an account", setup: func(w *carefulEstate, id string) {
			share(w, id, ec2types.LaunchPermission{UserId: aws.String("444455556666")})
		}},
		{name: "shared with an organization", setup: func(w *carefulEstate, id string) {
			share(w, id, ec2types.LaunchPermission{OrganizationArn: aws.String("arn:aws:organizations::123456789012:organization/o-example")})
		}},
		{name: "public", setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.DisableImageBlockPublicAccess(w.t.Context(), &awsec2.DisableImageBlockPublicAccessInput{})
			do(w.estate, out, err)
			share(w, id, ec2types.LaunchPermission{Group: "all"})
		}},
		{name: "run by another account", setup: func(w *carefulEstate, id string) {
			share(w, id, ec2types.LaunchPermission{UserId: aws.String(neighbour)})
			run(w, awsec2.NewFromConfig(w.ConfigFor(neighbour, where)), id)
		}},
		{name: "parent of a kept image", setup: func(w *carefulEstate, id string) { tagged("bakestone:source", id)(w, w.newer) }},
		{name: "the only arm64 image", image: ec2test.Image{Architecture: "arm64"}},
		{name: "newest is disabled", setup: func(w *carefulEstate, _ string) {
			out, err := w.ec2.DisableImage(w.t.Context(), &awsec2.DisableImageInput{ImageId: &w.newer})
			do(w.estate, out, err)
		}},
		{name: "of Data Lifecycle Manager", setup: tagged("dlm:managed", "true")},
		{name: "of AWS Backup", image: ec2test.Image{Tags: map[string]string{"aws:backup:source-resource": "i-1"}}},
		{name: "protected from deregistration", setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.EnableImageDeregistrationProtection(w.t.Context(), &awsec2.EnableImageDeregistrationProtectionInput{ImageId: &id})
			do(w.estate, out, err)
		}},
		{name: "tagged do-not-delete", setup: tagged("do-not-delete", "")},
		{name: "tagged LegalHold", setup: tagged("LegalHold", "case 7")},
		{name: "launched yesterday and ended", setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.TerminateInstances(w.t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{run(w, w.ec2, id)}})
			do(w.estate, out, err)
		}},

		{name: "nothing unusual", goes: true},
		{name: "disabled and old", goes: true, setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.DisableImage(w.t.Context(), &awsec2.DisableImageInput{ImageId: &id})
			do(w.estate, out, err)
		}},
		{name: "deprecated", goes: true, setup: func(w *carefulEstate, id string) {
			out, err := w.ec2.EnableImageDeprecation(w.t.Context(), &awsec2.EnableImageDeprecationInput{ImageId: &id, DeprecateAt: aws.Time(w.now.Add(time.Hour))})
			do(w.estate, out, err)
		}},
		{name: "old version that nothing names", goes: true, setup: func(w *carefulEstate, id string) {
			w.template(w.name, id, w.newer)
			w.makeDefault(w.name, "2")
		}},
		{name: "tagged keep=false", goes: true, setup: tagged("keep", "false")},
	}
}

// A carefulImage is an image of the account with all traps.
type carefulImage struct {
	trap, id string
	newer    bool // of the trap's two images
	goes     bool
}

// newCarefulAccount returns an account with all traps but some, and its clock.
func newCarefulAccount(t *testing.T, without ...string) (*estate, *clock.Virtual, []carefulImage) {
	t.Helper()
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	tick := clock.NewVirtual(now)
	srv := ec2test.New(&ec2test.Options{Regions: []string{where}, Clock: tick})
	t.Cleanup(srv.Close)
	base := newEstateOn(t, srv)
	var images []carefulImage
	for _, trap := range carefulTraps() {
		if slices.Contains(without, trap.name) {
			continue
		}
		w := &carefulEstate{estate: base, name: strings.ReplaceAll(trap.name, " ", "-"), now: now}
		publish := func(img ec2test.Image, age time.Duration) string {
			img.Created, img.Private = now.Add(-age), true
			img.Name = fmt.Sprintf("%s %d", w.name, img.Created.Unix())
			img.Tags = maps.Clone(img.Tags)
			if img.Tags == nil {
				img.Tags = map[string]string{}
			}
			img.Tags["family"] = w.name // for cleaners that group by a tag
			return srv.Publish(img)[where]
		}
		old := publish(trap.image, 300*amicleanup.Day)
		w.newer = publish(ec2test.Image{}, 100*amicleanup.Day)
		if trap.setup != nil {
			trap.setup(w, old)
		}
		images = append(images, carefulImage{trap.name, old, false, trap.goes}, carefulImage{trap.name, w.newer, true, false})
	}
	tick.Advance(2 * amicleanup.Day) // until EC2 reports launches
	return base, tick, images
}

// carefulCleaner returns the quick start of the package comment.
func carefulCleaner(w *estate, tick *clock.Virtual) *amicleanup.Cleaner {
	return &amicleanup.Cleaner{
		Targets: []amicleanup.Target{w.target(home)},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}"},
			Keep:   append(amicleanup.Careful(), amicleanup.NewestUsable(1)),
		},
		Clock: tick, SettleTime: atOnce,
	}
}

// TestCarefulTraps runs the quick start of the package comment on all traps
// together.
func TestCarefulTraps(t *testing.T) {
	w, tick, images := newCarefulAccount(t)
	cleaner := carefulCleaner(w, tick)
	plan, err := cleaner.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := removals(plan)
	wanted := 0
	for _, img := range images {
		if goes := slices.Contains(got, img.id); goes != img.goes {
			t.Errorf("%s: %s (newer: %v) is removed: %v, want %v; it %s", img.trap, img.id, img.newer, goes, img.goes, why(plan, img.id))
		}
		if img.goes {
			wanted++
		}
	}
	if n := len(carefulTraps()); n != 35 {
		t.Errorf("%d traps, want 35", n)
	}
	tick.Advance(time.Minute) // longer than SettleTime
	result, err := cleaner.Apply(t.Context(), plan)
	if err != nil || result.Count(amicleanup.Removed) != wanted {
		t.Errorf("Apply: %v, %v, want %d removed", outcomes(result), err, wanted)
	}
}
