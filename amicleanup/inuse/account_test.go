package inuse_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const where = "eu-west-1"

// account is an account on an embedded EC2 with some images, and sources that
// are read.
type account struct {
	*ec2test.Server

	t       *testing.T
	ec2     *awsec2.Client
	scaling *autoscaling.Client
	ssm     *ssm.Client
	ids     []string
	sources []inuse.Source
	rest    rest
}

// newAccount returns an account with n private images.
func newAccount(t *testing.T, n int, opts *ec2test.Options, sources ...inuse.Source) *account {
	t.Helper()
	var options ec2test.Options
	if opts != nil {
		options = *opts
	}
	options.Regions = []string{where}
	srv := ec2test.New(&options)
	t.Cleanup(srv.Close)
	cfg := srv.Config(where)
	w := &account{
		Server: srv, t: t, ec2: awsec2.NewFromConfig(cfg), scaling: autoscaling.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg),
		sources: sources, rest: rest{answers: map[string]string{}, next: cfg.HTTPClient},
	}
	for i := range n {
		w.ids = append(w.ids, srv.Publish(ec2test.Image{Name: fmt.Sprint("web ", i), Private: true})[where])
	}
	return w
}

// read returns what the sources find.
func (w *account) read() (refs []inuse.Reference, err error) {
	cfg := w.Config(where)
	cfg.HTTPClient, cfg.RetryMaxAttempts = &w.rest, 1
	at := inuse.Place{Config: cfg}
	for _, s := range w.sources {
		var some []inuse.Reference
		if s.Ask != nil {
			some, err = s.Ask(w.t.Context(), at, w.ids)
		} else {
			some, err = s.List(w.t.Context(), at)
		}
		if err != nil {
			return nil, err
		}
		refs = append(refs, some...)
	}
	return refs, nil
}

// check reads the sources, and checks that they report these images, by number.
// The last image is what others use.
func (w *account) check(want ...int) []inuse.Reference {
	w.t.Helper()
	refs, err := w.read()
	if err != nil {
		w.t.Fatal(err)
	}
	var got []int
	for i, id := range w.ids[:len(w.ids)-1] {
		if slices.ContainsFunc(refs, func(r inuse.Reference) bool { return r.ImageID == id }) {
			got = append(got, i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("images in use (-want +got):\n%s", diff)
	}
	return refs
}

// fails reads the sources, and checks that the only error is about a call.
func (w *account) fails(about string) {
	w.t.Helper()
	if _, err := w.read(); err == nil || strings.Count(err.Error(), about) != 1 || strings.Contains(err.Error(), "\n") {
		w.t.Errorf("sources without %s: error %v, want one about it", about, err)
	}
}

// evidence returns what uses an image.
func evidence(refs []inuse.Reference, id string) []string {
	var all []string
	for _, r := range refs {
		if r.ImageID == id {
			all = append(all, r.By)
		}
	}
	return all
}

func do[T any](w *account, out T, err error) T {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// template makes a launch template with a version for each image.
func (w *account) template(name string, images ...string) string {
	w.t.Helper()
	var data []*ec2types.RequestLaunchTemplateData
	for _, id := range images {
		data = append(data, &ec2types.RequestLaunchTemplateData{ImageId: &id})
	}
	return w.templateOf(name, data...)
}

func (w *account) templateOf(name string, data ...*ec2types.RequestLaunchTemplateData) string {
	w.t.Helper()
	out, err := w.ec2.CreateLaunchTemplate(w.t.Context(), &awsec2.CreateLaunchTemplateInput{LaunchTemplateName: &name, LaunchTemplateData: data[0]})
	do(w, out, err)
	for _, d := range data[1:] {
		made, err := w.ec2.CreateLaunchTemplateVersion(w.t.Context(), &awsec2.CreateLaunchTemplateVersionInput{LaunchTemplateName: &name, LaunchTemplateData: d})
		do(w, made, err)
	}
	return *out.LaunchTemplate.LaunchTemplateId
}

func (w *account) makeDefault(name, version string) {
	w.t.Helper()
	out, err := w.ec2.ModifyLaunchTemplate(w.t.Context(), &awsec2.ModifyLaunchTemplateInput{LaunchTemplateName: &name, DefaultVersion: &version})
	do(w, out, err)
}

// group makes an Auto Scaling group of no instances.
func (w *account) group(name string, in autoscaling.CreateAutoScalingGroupInput) {
	w.t.Helper()
	in.AutoScalingGroupName, in.MinSize, in.MaxSize, in.AvailabilityZones = &name, aws.Int32(0), aws.Int32(0), []string{where + "a"}
	out, err := w.scaling.CreateAutoScalingGroup(w.t.Context(), &in)
	do(w, out, err)
}

func (w *account) launchConfiguration(name, image string) {
	w.t.Helper()
	out, err := w.scaling.CreateLaunchConfiguration(w.t.Context(), &autoscaling.CreateLaunchConfigurationInput{
		LaunchConfigurationName: &name, ImageId: &image, InstanceType: aws.String("t3.micro"),
	})
	do(w, out, err)
}

// parameter sets a parameter of the data type of images, or of another type.
func (w *account) parameter(name, value string, of ...ssmtypes.ParameterType) {
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

// deny refuses a call of any service.
func (w *account) deny(call string) {
	w.rest.denied = call
	w.Fail(ec2test.Fault{Action: call, Code: "UnauthorizedOperation", Times: -1})
}

func (w *account) permit() {
	w.rest.denied = ""
	w.Mend()
}

// rest answers calls of services that the embedded EC2 lacks.
type rest struct {
	answers map[string]string // by "PATH" or "PATH?QUERY": JSON
	denied  string            // the call to refuse
	next    aws.HTTPClient
}

// restCall returns the call for a method and a path, or "" of other services.
func restCall(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/v1/describecomputeenvironments":
		return "DescribeComputeEnvironments"
	case parts[0] == "clusters" && len(parts) == 1:
		return "ListClusters"
	case parts[0] == "clusters" && len(parts) == 3:
		return "ListNodegroups"
	case parts[0] == "clusters" && len(parts) == 4:
		return "DescribeNodegroup"
	default:
		return parts[0]
	}
}

// Do answers, or sends a request on to the embedded EC2.
func (r *rest) Do(req *http.Request) (*http.Response, error) {
	call := restCall(req.URL.Path)
	if call == "" {
		return r.next.Do(req)
	}
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	status, text := http.StatusNotFound, `{"message":"not there"}`
	header := http.Header{"X-Amzn-Errortype": {"ResourceNotFoundException"}}
	if call == r.denied {
		status, text, header = http.StatusForbidden, `{"message":"no"}`, http.Header{"X-Amzn-Errortype": {"AccessDeniedException"}}
	} else {
		for _, key := range []string{req.URL.Path + " " + string(body), req.URL.RequestURI(), req.URL.Path} {
			if answer, ok := r.answers[key]; ok {
				status, text, header = http.StatusOK, answer, http.Header{}
				break
			}
		}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader([]byte(text))), Request: req}, nil
}

// otherServices adds a node group, a Batch environment and recipes, of which none
// names an image of the account.
func (w *account) otherServices() {
	w.rest.answers = map[string]string{
		"/clusters":                        `{"clusters":["prod"]}`,
		"/clusters/prod/node-groups":       `{"nodegroups":["plain"]}`,
		"/clusters/prod/node-groups/plain": `{"nodegroup":{"nodegroupName":"plain","releaseVersion":"1.33.1-20261101"}}`,
		"/v1/describecomputeenvironments":  `{"computeEnvironments":[{"computeEnvironmentName":"fargate","computeResources":{"type":"FARGATE"}}]}`,
		"/ListImageRecipes":                `{"imageRecipeSummaryList":[{"arn":"r","parentImage":"arn:aws:imagebuilder:eu-west-1:123456789012:image/gone/x.x.x"},{"arn":"s","parentImage":"ssm:/gone"}]}`,
		"/ListContainerRecipes":            `{"containerRecipeSummaryList":[{"arn":"c","parentImage":"amazonlinux:latest"}]}`,
	}
}
