package inuse_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// More than ten parameters come on more than one page, and their values ten at
// a time.
func TestTrapMoreThanTenParameters(t *testing.T) {
	w := newAccount(t, 70, nil, inuse.Parameters("/text"))
	var stay []int
	for i := range 65 {
		w.parameter(fmt.Sprintf("/images/%02d", i), w.ids[i])
		stay = append(stay, i)
	}
	w.parameter("/text/a/b", w.ids[65]+", "+w.ids[66], ssmtypes.ParameterTypeStringList)
	w.parameter("/elsewhere", w.ids[67], ssmtypes.ParameterTypeString)
	w.check(append(stay, 65, 66)...)
}

// A template may name its image by a parameter, pinned to an older version or
// a label of it.
func TestTrapTemplateByParameter(t *testing.T) {
	w := newAccount(t, 6, nil, inuse.LaunchTemplates())
	for _, id := range w.ids[:4] {
		w.parameter("/web", id)
	}
	labelled, err := w.ssm.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("/web"), ParameterVersion: aws.Int64(2), Labels: []string{"prod"}})
	do(w, labelled, err)
	w.template("newest", "resolve:ssm:/web")
	w.template("older", "resolve:ssm:/web:1")
	labeled := w.template("labelled", "resolve:ssm:/web:prod")
	w.template("broken", "resolve:ssm:/nowhere")
	refs := w.check(0, 1, 3)
	want := fmt.Sprintf("launch template %s version 1 through parameter /web:prod", labeled)
	if got := evidence(refs, w.ids[1]); !slices.Equal(got, []string{want}) {
		t.Errorf("evidence %q, want %q", got, want)
	}
	w.Fail(ec2test.Fault{Action: "GetParameters", Code: "AccessDeniedException", Times: -1})
	w.fails("GetParameters")
}

// Auto Scaling gives the first 50 of anything, EC2 the first 200 versions.
func TestTrapFirstPageOnly(t *testing.T) {
	w := newAccount(t, 132, nil, inuse.LaunchConfigurations(), inuse.AutoScalingGroups())
	var stay []int
	for i := range 105 {
		w.launchConfiguration(fmt.Sprintf("lc%d", i), w.ids[i])
		stay = append(stay, i)
	}
	w.check(stay...)
	for i := range 105 {
		w.group(fmt.Sprintf("group%d", i), autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: aws.String(fmt.Sprintf("lc%d", i))})
	}
	w.sources = []inuse.Source{inuse.AutoScalingGroups()}
	w.check(stay...)
}

func TestTrapVersionsStopAt200(t *testing.T) {
	w := newAccount(t, 3, nil, inuse.AllLaunchTemplateVersions())
	images := []string{w.ids[0]}
	for range 220 {
		images = append(images, w.ids[2])
	}
	w.template("busy", images...)
	w.check(0)
}

// One call answers for all templates: reading thousands of them one by one is
// throttled.
func TestTrapOneCallPerTemplate(t *testing.T) {
	w := newAccount(t, 3, nil, inuse.LaunchTemplates(), inuse.AutoScalingGroups())
	for i := range 300 {
		name := fmt.Sprintf("t%d", i)
		w.template(name, w.ids[1])
		if i < 60 {
			w.group(name, autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named(name, "1")})
		}
	}
	w.check(1)
	if n := w.CallCount("DescribeLaunchTemplateVersions"); n > 4 {
		t.Errorf("%d calls to read 300 templates twice, want 4", n)
	}
}

// One template that a group names and that is gone must not end the reading.
func TestTrapMissingTemplate(t *testing.T) {
	w := newAccount(t, 4, nil, inuse.AutoScalingGroups())
	w.template("gone", w.ids[0])
	w.template("there", w.ids[1])
	w.group("broken", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("gone", "1")})
	w.group("fine", autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named("there", "1")})
	out, err := w.ec2.DeleteLaunchTemplate(t.Context(), &awsec2.DeleteLaunchTemplateInput{LaunchTemplateName: aws.String("gone")})
	do(w, out, err)
	w.check(1)
}

// A suspiciously short list counts as unread.
func TestTrapEmptySource(t *testing.T) {
	w := newAccount(t, 3, nil, inuse.AtLeast(1, inuse.Instances()))
	w.fails("only 0 references, want at least 1")
	out, err := w.ec2.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: &w.ids[0], MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro"})
	do(w, out, err)
	w.check(0)
}

// Lists omit resources that AWS services manage unless the caller includes them, and
// calls without MaxResults may time out.
func TestTrapManagedResources(t *testing.T) {
	w := newAccount(t, 2, nil, append(inuse.Standard(), inuse.AllLaunchTemplateVersions(), inuse.ImageReferences(0))...)
	w.template("web", w.ids[1])
	w.check()
	managed := []string{"DescribeInstances", "DescribeLaunchTemplates", "DescribeLaunchTemplateVersions"}
	bounded := append([]string{"DescribeSpotInstanceRequests", "DescribeSpotFleetRequests", "DescribeFleets", "DescribeImageReferences"}, managed...)
	for _, c := range w.Calls() {
		if slices.Contains(managed, c.Action) && c.Params.Get("IncludeManagedResources") != "true" && c.Params.Get("LaunchTemplateName.1") == "" && len(c.Params["MaxResults"]) > 0 {
			t.Errorf("%s without managed resources: %v", c.Action, c.Params)
		}
		if slices.Contains(bounded, c.Action) && c.Params.Get("MaxResults") == "" {
			t.Errorf("%s without a bound: %v", c.Action, c.Params)
		}
	}
	for _, call := range bounded {
		if w.CallCount(call) == 0 {
			t.Errorf("%s was not called", call)
		}
	}
}

// A list that was denied, or failed, is not an empty list: the source returns one
// error, which names the call, however many items it has to read.
func TestTrapDeniedSource(t *testing.T) {
	for _, tc := range []struct {
		source inuse.Source
		calls  []string
	}{
		{inuse.Instances(), []string{"DescribeInstances"}},
		{inuse.LaunchTemplates(), []string{"DescribeLaunchTemplateVersions", "GetParameters"}},
		{inuse.AllLaunchTemplateVersions(), []string{"DescribeLaunchTemplates", "DescribeLaunchTemplateVersions"}},
		{inuse.LaunchConfigurations(), []string{"DescribeLaunchConfigurations"}},
		{inuse.AutoScalingGroups(), []string{"DescribeAutoScalingGroups", "DescribeLaunchConfigurations", "DescribeInstanceRefreshes", "DescribeLaunchTemplateVersions"}},
		{inuse.SpotRequests(), []string{"DescribeSpotInstanceRequests"}},
		{inuse.SpotFleets(), []string{"DescribeSpotFleetRequests"}},
		{inuse.Fleets(), []string{"DescribeFleets"}},
		{inuse.Parameters("/text"), []string{"DescribeParameters", "GetParameters", "GetParametersByPath"}},
		{inuse.SecureParameters(), []string{"DescribeParameters", "GetParameters"}},
		{inuse.SecureParameters("/text"), []string{"GetParameters", "GetParametersByPath"}},
		{inuse.BatchEnvironments(), []string{"DescribeComputeEnvironments"}},
		{inuse.NodeGroups(), []string{"ListClusters", "ListNodegroups", "DescribeNodegroup"}},
		{inuse.ImageBuilder(), []string{"ListImageRecipes", "ListContainerRecipes", "GetImage", "GetParameters"}},
		{inuse.ImageReferences(1), []string{"DescribeImageReferences"}},
	} {
		w := newAccount(t, 3, nil, tc.source)
		w.otherServices()
		last := w.ids[2]
		w.parameter("/web", last)
		for i := range 20 { // of everything that is read one by one
			name := fmt.Sprint("web", i)
			w.template(name, "resolve:ssm:/web")
			w.group(name, autoscaling.CreateAutoScalingGroupInput{LaunchTemplate: named(name, "1")})
		}
		w.launchConfiguration("lc", last)
		w.group("configured", autoscaling.CreateAutoScalingGroupInput{LaunchConfigurationName: aws.String("lc")})
		w.check()
		for _, call := range tc.calls {
			w.deny(call)
			w.fails(call)
			w.permit()
		}
		w.check()
	}
}

// A source that is denied in one region is an error there.
func TestAll(t *testing.T) {
	w := newAccount(t, 2, nil, inuse.All()...)
	w.otherServices()
	w.check()
	names := map[string]bool{}
	for _, s := range append(inuse.All(), inuse.AllLaunchTemplateVersions(), inuse.SecureParameters(), inuse.SecureParameters("/a"),
		inuse.Parameters("/a"), inuse.ImageReferences(1), inuse.UsageReports(nil)) {
		if err := s.Validate(); err != nil || names[s.Name] || s.Permissions == nil {
			t.Errorf("source %q: Validate() = %v, unique %v", s.Name, err, !names[s.Name])
		}
		names[s.Name] = true
	}
}
