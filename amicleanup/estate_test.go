package amicleanup_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const (
	home      = "123456789012" // the account of an estate
	neighbour = "210987654321"
	where     = "eu-west-1"
)

// estate is an embedded EC2 with a series of images, the newest of which is
// always kept.
type estate struct {
	*ec2test.Server

	t       *testing.T
	ec2     *awsec2.Client
	scaling *autoscaling.Client
	ssm     *ssm.Client
	ids     []string // the oldest first
	cleaner *amicleanup.Cleaner

	clusters *watchedClusters // of EKS, or nil
}

// newEstate returns an estate with n images "web SECONDS" and a cleaner that keeps the
// newest and those that the rules keep.
func newEstate(t *testing.T, n int, opts *ec2test.Options, keep ...amicleanup.Rule) *estate {
	t.Helper()
	var options ec2test.Options
	if opts != nil {
		options = *opts
	}
	options.Regions = []string{where}
	srv := ec2test.New(&options)
	t.Cleanup(srv.Close)
	w := newEstateOn(t, srv)
	for i := range n {
		w.ids = append(w.ids, w.image(fmt.Sprintf("web %d", after(i).Unix())))
	}
	w.cleaner = &amicleanup.Cleaner{
		SettleTime: atOnce,
		Targets:    []amicleanup.Target{w.target(home)},
		Policy:     amicleanup.Policy{Select: amicleanup.Select{Name: "{group} {unix}"}, Keep: append(keep, amicleanup.Newest(1))},
		Clock:      options.Clock,
	}
	return w
}

// newEstateOn returns an estate without images and cleaner.
func newEstateOn(t *testing.T, srv *ec2test.Server) *estate {
	t.Helper()
	cfg := srv.Config(where)
	return &estate{Server: srv, t: t, ec2: awsec2.NewFromConfig(cfg), scaling: autoscaling.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg)}
}

func (w *estate) target(account string) amicleanup.Target {
	return amicleanup.Connect(w.ConfigFor(account, where), &amicleanup.ConnectOptions{Account: account, NoCallLimits: true})
}

// image makes a private image of the home account.
func (w *estate) image(name string) string {
	return w.Publish(ec2test.Image{Name: name, Private: true})[where]
}

// check plans, and checks that only these images of the series stay, by number, and
// the newest.
func (w *estate) check(stay ...int) *amicleanup.Plan {
	w.t.Helper()
	plan, err := w.cleaner.Plan(w.t.Context())
	if err != nil && !errors.Is(err, amicleanup.ErrUsageUnknown) { // a source that fails is in the plan
		w.t.Fatal(err)
	}
	var want []string
	for i, id := range w.ids[:len(w.ids)-1] {
		if !slices.Contains(stay, i) {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, removals(plan)); diff != "" {
		w.t.Errorf("removals (-want +got):\n%s", diff)
	}
	return plan
}

func do[T any](w *estate, out T, err error) T {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// template makes a launch template with a version for each image.
func (w *estate) template(name string, images ...string) {
	w.t.Helper()
	data := func(id string) *ec2types.RequestLaunchTemplateData {
		return &ec2types.RequestLaunchTemplateData{ImageId: &id}
	}
	out, err := w.ec2.CreateLaunchTemplate(w.t.Context(), &awsec2.CreateLaunchTemplateInput{LaunchTemplateName: &name, LaunchTemplateData: data(images[0])})
	do(w, out, err)
	for _, id := range images[1:] {
		made, err := w.ec2.CreateLaunchTemplateVersion(w.t.Context(), &awsec2.CreateLaunchTemplateVersionInput{LaunchTemplateName: &name, LaunchTemplateData: data(id)})
		do(w, made, err)
	}
}

func (w *estate) makeDefault(name, version string) {
	w.t.Helper()
	out, err := w.ec2.ModifyLaunchTemplate(w.t.Context(), &awsec2.ModifyLaunchTemplateInput{LaunchTemplateName: &name, DefaultVersion: &version})
	do(w, out, err)
}

// group makes an Auto Scaling group of no instances.
func (w *estate) group(name string, in autoscaling.CreateAutoScalingGroupInput) {
	w.t.Helper()
	in.AutoScalingGroupName, in.MinSize, in.MaxSize, in.AvailabilityZones = &name, aws.Int32(0), aws.Int32(0), []string{where + "a"}
	out, err := w.scaling.CreateAutoScalingGroup(w.t.Context(), &in)
	do(w, out, err)
}

func (w *estate) launchConfiguration(name, image string) {
	w.t.Helper()
	out, err := w.scaling.CreateLaunchConfiguration(w.t.Context(), &autoscaling.CreateLaunchConfigurationInput{
		LaunchConfigurationName: &name, ImageId: &image, InstanceType: aws.String("t3.micro"),
	})
	do(w, out, err)
}

func (w *estate) parameter(name, value string, of ...ssmtypes.ParameterType) {
	w.t.Helper()
	in := &ssm.PutParameterInput{Name: &name, Value: &value, Type: ssmtypes.ParameterTypeString, DataType: aws.String("aws:ec2:image"), Overwrite: aws.Bool(true)}
	if len(of) > 0 {
		in.Type, in.DataType = of[0], nil
	}
	out, err := w.ssm.PutParameter(w.t.Context(), in)
	do(w, out, err)
}

func named(template, version string) *scalingtypes.LaunchTemplateSpecification {
	return &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: &template, Version: &version}
}

// evidence returns the evidence for keeping an image.
func evidence(plan *amicleanup.Plan, id string) []string {
	var all []string
	for _, target := range plan.Targets {
		for _, item := range target.Items {
			if item.Image.ID == id {
				for _, r := range item.Reasons {
					all = append(all, r.Evidence...)
				}
			}
		}
	}
	return all
}
