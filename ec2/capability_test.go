package ec2_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/forms"
)

type wrappedBuilder struct{ bake.Builder }

func (w wrappedBuilder) Unwrap() bake.Builder { return w.Builder }

type wrappedSource struct{ ec2.Source }

func (w wrappedSource) Unwrap() ec2.Source { return w.Source }

type wrappedPublisher struct{ bake.Publisher }

func (w wrappedPublisher) Unwrap() bake.Publisher { return w.Publisher }

type wrappedArtifact struct{ bake.Artifact }

func (w wrappedArtifact) Unwrap() bake.Artifact { return w.Artifact }

// observed returns everything that this package derives from an image: its
// policy, its plan, and validation errors, alone and beside other.
func observed(t *testing.T, cloud *ec2.Cloud, img, other *bake.Image) map[string]string {
	t.Helper()
	plan, planErr := ec2.Plan(t.Context(), img)
	encoded, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"policy":           ec2.Policy(cloud, img).String(),
		"plan":             string(encoded),
		"plan error":       fmt.Sprint(planErr),
		"validate":         fmt.Sprint(bake.Validate(nil, img)),
		"validate, first":  fmt.Sprint(bake.Validate(nil, img, other)),
		"validate, second": fmt.Sprint(bake.Validate(nil, other, img)),
	}
}

// wantSameForms checks that all forms behave as the plain value.
func wantSameForms(t *testing.T, what string, all map[string]map[string]string) {
	t.Helper()
	for form, got := range all {
		if diff := cmp.Diff(all["value"], got); diff != "" {
			t.Errorf("%s as %s differs from the value (-value +got):\n%s", what, form, diff)
		}
	}
}

func TestBuilderKeepsCapabilities(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	b := ec2.Builder{
		Cloud: cloud, Source: ec2.Newest{Owners: ubuntu().Owners, Name: ubuntu().Name}, AMIName: "web",
		Distribute: ec2.Distribution{Copies: []ec2.Copy{{Region: "us-east-1"}}},
	}
	other := &bake.Image{Name: "other", Builder: b}
	all := map[string]map[string]string{}
	for form, builder := range forms.Of(bake.Builder(b), bake.Builder(struct{ ec2.Builder }{b}), func(b bake.Builder) bake.Builder { return wrappedBuilder{b} }) {
		all[form] = observed(t, cloud, &bake.Image{Name: "web", Builder: builder}, other)
	}
	wantSameForms(t, "Builder", all)
	if all["value"]["plan error"] != "<nil>" || all["value"]["validate"] != "<nil>" || all["value"]["validate, first"] == "<nil>" || all["value"]["validate, second"] == "<nil>" {
		t.Errorf("observed() of the value = %q, want a valid image that conflicts with the other", all["value"])
	}
}

func TestSourcesKeepCapabilities(t *testing.T) {
	server := newServer(t, nil)
	o := cloudOptions(server)
	o.PollInterval = time.Minute // how long bakes share lookups
	cloud := ec2.NewCloud(server.Config(testRegion), o)
	newest := ec2.Newest{Owners: ubuntu().Owners, Name: ubuntu().Name}
	parameter := ec2.ParameterName("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id")
	plan, err := ec2.Plan(t.Context(), &bake.Image{Name: "web", Builder: ec2.Builder{Cloud: cloud, Source: newest}})
	if err != nil {
		t.Fatal(err)
	}
	id := ec2.ImageID(plan.Images[0].Source.ID)
	var names []string
	disk := ec2.Disk{File: writeDisk(t, randomDisk(16*mib))}
	for _, pair := range [][2]ec2.Source{
		{disk, struct{ ec2.Disk }{disk}},
		{ec2.Disk{}, struct{ ec2.Disk }{}},
		{id, struct{ ec2.ImageID }{id}},
		{ec2.ImageID("i-1"), struct{ ec2.ImageID }{"i-1"}},
		{parameter, struct{ ec2.ParameterName }{parameter}},
		{ec2.ParameterName(""), struct{ ec2.ParameterName }{}},
		{newest, struct{ ec2.Newest }{newest}},
		{ec2.Newest{}, struct{ ec2.Newest }{}},
	} {
		name := reflect.TypeOf(pair[0]).Name()
		names = append(names, name)
		all := map[string]map[string]string{}
		for form, source := range forms.Of(pair[0], pair[1], func(s ec2.Source) ec2.Source { return wrappedSource{s} }) {
			// Another bake has looked up the same source before.
			other := &bake.Image{Name: "other", Builder: ec2.Builder{Cloud: cloud, Source: pair[0]}}
			_, _ = ec2.Plan(t.Context(), other)
			lookups := server.CallCount("GetParameter") + server.CallCount("DescribeImages")
			all[form] = observed(t, cloud, &bake.Image{Name: "web", Builder: ec2.Builder{Cloud: cloud, Source: source}}, other)
			all[form]["look-ups"] = fmt.Sprint(server.CallCount("GetParameter") + server.CallCount("DescribeImages") - lookups)
		}
		wantSameForms(t, name, all)
	}
	wantAllTested(t, "find", slices.Compact(names))
}

// wantAllTested checks that tested lists all types of the package with the
// method.
func wantAllTested(t *testing.T, method string, tested []string) {
	t.Helper()
	all, err := forms.Types(".", method)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tested)
	if diff := cmp.Diff(all, tested); diff != "" {
		t.Errorf("types with method %s (-package +tested):\n%s", method, diff)
	}
}

func TestPublishersKeepCapabilities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		newTemplates(t, server, definitionPlaces()...)
		putParameter(t, server, "us-east-1", "/images/old")
		dir := t.TempDir()
		ami, err := published(t, server)
		if err != nil {
			t.Fatal(err)
		}
		missing := ec2.InstanceRefresh{Waves: []ec2.Wave{{Groups: []string{"none"}}}}
		var names []string
		for _, pair := range [][2]bake.Publisher{
			{ec2.SSMParameter{Name: "/images/web"}, struct{ ec2.SSMParameter }{ec2.SSMParameter{Name: "/images/web"}}},
			{ec2.SSMParameter{Name: "/images/old", NoOverwrite: true}, struct{ ec2.SSMParameter }{ec2.SSMParameter{Name: "/images/old", NoOverwrite: true}}},
			{ec2.SSMParameter{Name: "x", Regions: []string{"sa-east-1"}}, struct{ ec2.SSMParameter }{ec2.SSMParameter{Name: "x", Regions: []string{"sa-east-1"}}}},
			{ec2.LaunchTemplate{Name: "web", MakeDefault: true}, struct{ ec2.LaunchTemplate }{ec2.LaunchTemplate{Name: "web", MakeDefault: true}}},
			{ec2.LaunchTemplate{Name: "none"}, struct{ ec2.LaunchTemplate }{ec2.LaunchTemplate{Name: "none"}}},
			{ec2.LaunchTemplate{Name: "web", Regions: []string{"sa-east-1"}}, struct{ ec2.LaunchTemplate }{ec2.LaunchTemplate{Name: "web", Regions: []string{"sa-east-1"}}}},
			{ec2.LaunchTemplate{ID: "lt-00000000000000000"}, struct{ ec2.LaunchTemplate }{ec2.LaunchTemplate{ID: "lt-00000000000000000"}}},
			{ec2.PackerManifest{Path: filepath.Join(dir, "m.json")}, struct{ ec2.PackerManifest }{ec2.PackerManifest{Path: filepath.Join(dir, "m.json")}}},
			{ec2.JSONFile{Path: filepath.Join(dir, "a.json")}, struct{ ec2.JSONFile }{ec2.JSONFile{Path: filepath.Join(dir, "a.json")}}},
			{ec2.JSONFile{Path: dir}, struct{ ec2.JSONFile }{ec2.JSONFile{Path: dir}}},
			{missing, struct{ ec2.InstanceRefresh }{missing}},
			{ec2.InstanceRefresh{}, struct{ ec2.InstanceRefresh }{}},
		} {
			name := reflect.TypeOf(pair[0]).Name()
			names = append(names, name)
			all := map[string]map[string]string{}
			publishers := forms.Of(pair[0], pair[1], func(p bake.Publisher) bake.Publisher { return wrappedPublisher{p} })
			for form, p := range publishers {
				cloud := newCloud(server)
				img := multiRegion(cloud)
				img.Publishers = []bake.Publisher{p}
				all[form] = observed(t, cloud, img, simple(cloud))
				prod := cloudsOf(cloud, img)[prodAccount]
				all[form]["policy of the other account"] = ec2.Policy(prod, img).String()
			}
			for form, p := range publishers {
				all[form]["published"] = fmt.Sprint(p.Publish(t.Context(), ami) == nil)
				all[form]["published a wrapped artifact"] = fmt.Sprint(p.Publish(t.Context(), wrappedArtifact{ami}) == nil)
			}
			wantSameForms(t, name, all)
		}
		wantAllTested(t, "Publish", slices.Compact(names))
	})
}

func TestArtifactsKeepCapabilities(t *testing.T) {
	ami := &ec2.AMI{ImageID: "ami-1", Region: testRegion}
	for form, artifact := range map[string]bake.Artifact{
		"address": ami, "embedded": struct{ *ec2.AMI }{ami}, "wrapped": wrappedArtifact{ami}, "wrapped twice": wrappedArtifact{&wrappedArtifact{ami}},
	} {
		if got, err := ec2.AMIOf(artifact); got != ami || err != nil {
			t.Errorf("AMIOf(%s) = %v, %v, want %v", form, got, err, ami)
		}
	}
	if got, err := ec2.AMIOf(nil); got != nil || err == nil {
		t.Errorf("AMIOf(nil) = %v, %v, want an error", got, err)
	}
}

// recording is a publisher of another package that implements every interface.
type recording struct {
	bake.PublisherFunc
	preflight error
}

var (
	_ ec2.PolicyPublisher    = recording{}
	_ ec2.RegionalPublisher  = recording{}
	_ ec2.PreflightPublisher = recording{}
	_ ec2.PlannedPublisher   = recording{}
)

func (recording) Destinations(all []ec2.Destination) ([]ec2.Destination, error) {
	if len(all) < 2 {
		return nil, errors.New("needs a copy")
	}
	return all[1:], nil
}

func (recording) PlannedCalls() []string { return []string{"PutItem"} }

func (r recording) Preflight(_ context.Context, at ec2.Destination) error {
	if r.preflight == nil {
		return nil
	}
	return fmt.Errorf("%w in %s", r.preflight, at.Region)
}

func (recording) IAMPolicy(regions ...string) *iampolicy.Document {
	return iampolicy.New(iampolicy.Allow("Record", []string{"dynamodb:PutItem"}, iampolicy.ARNs("dynamodb", regions[0], "table/images"), nil))
}

func TestPublishersOfOtherPackages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		cloud := newCloud(server)
		do := func(context.Context, bake.Artifact) error { return nil }
		img := func(preflight error, copies ...ec2.Copy) *bake.Image {
			return &bake.Image{
				Name:       "web",
				Builder:    ec2.Builder{Cloud: cloud, Source: ubuntu(), Distribute: ec2.Distribution{Copies: copies}},
				Publishers: []bake.Publisher{wrappedPublisher{recording{bake.PublisherFunc{Do: do}, preflight}}},
			}
		}
		if err := bake.Validate(nil, img(nil)); err == nil || !strings.Contains(err.Error(), "needs a copy") {
			t.Errorf("Validate without copies = %v, want the error of Destinations", err)
		}
		prod := cloud.Assume(ec2.Role{ARN: prodRole})
		good := img(nil, ec2.Copy{Region: "us-west-2", Cloud: prod})
		plan, err := ec2.Plan(t.Context(), good)
		if err != nil {
			t.Fatal(err)
		}
		if want := (ec2.PlannedCall{Action: "PutItem", Region: "us-west-2", Role: prodRole}); !slices.Contains(plan.Images[0].Calls, want) {
			t.Errorf("Plan(…).Calls = %v, want %v among them", plan.Images[0].Calls, want)
		}
		for _, test := range []struct {
			cloud *ec2.Cloud
			want  bool
		}{{cloud, false}, {prod, true}} {
			if got := slices.Contains(ec2.Policy(test.cloud, good).Actions(), "dynamodb:PutItem"); got != test.want {
				t.Errorf("Policy(…) allows dynamodb:PutItem: %t, want %t", got, test.want)
			}
		}
		planted := errors.New("no table")
		_, err = bake.Bake(t.Context(), nil, img(planted, ec2.Copy{Region: "us-west-2", Cloud: prod}))
		if !errors.Is(err, planted) || !strings.Contains(err.Error(), "check destinations: "+prodAccount+"/us-west-2: no table in us-west-2") {
			t.Errorf("Bake = %v, want the error of Preflight", err)
		}
		if n := server.CallCount("RunInstances"); n > 1 { // the dry run of Plan
			t.Errorf("%d calls of RunInstances, want none by Bake", n)
		}
	})
}
