package ec2test_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestParameters(t *testing.T) {
	srv, c := start(t, nil)
	params := func(account, region string) *ssm.Client {
		return ssm.NewFromConfig(srv.ConfigFor(account, region), func(o *ssm.Options) { o.Retryer = aws.NopRetryer{} })
	}
	mine := params(account, region)
	public := must(mine.GetParameter(t.Context(), &ssm.GetParameterInput{
		Name: aws.String("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
	}))(t)
	if want := *ubuntu(t, c).ImageId; *public.Parameter.Value != want {
		t.Errorf("the parameter is %s, want %s", *public.Parameter.Value, want)
	}
	const amazon = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
	many := must(mine.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{amazon, "/nobody"}}))(t)
	if len(many.Parameters) != 1 || len(many.InvalidParameters) != 1 {
		t.Errorf("parameters: %+v", many)
	}
	run(t, c, *many.Parameters[0].Value, nil)

	put := &ssm.PutParameterInput{
		Name: aws.String("/images/web"), Value: aws.String(*public.Parameter.Value), Type: ssmtypes.ParameterTypeString, DataType: aws.String("aws:ec2:image"),
	}
	must(mine.PutParameter(t.Context(), put))(t)
	if _, err := mine.PutParameter(t.Context(), put); code(err) != "ParameterAlreadyExists" {
		t.Errorf("setting it again: %v", err)
	}
	put.Overwrite = aws.Bool(true)
	if out := must(mine.PutParameter(t.Context(), put))(t); out.Version != 2 {
		t.Errorf("version %d, want 2", out.Version)
	}
	put.Value = aws.String("ami-0123456789abcdef0")
	if _, err := mine.PutParameter(t.Context(), put); code(err) != "ValidationException" {
		t.Errorf("an image that does not exist: %v", err)
	}
	if value, ok := srv.Parameter(region, "/images/web"); !ok || value != *public.Parameter.Value {
		t.Errorf("the server has %q, %v", value, ok)
	}
	srv.SetParameter(region, "/images/web", "other")
	if got := must(mine.GetParameter(t.Context(), &ssm.GetParameterInput{Name: put.Name}))(t); *got.Parameter.Value != "other" {
		t.Errorf("the parameter is %s", *got.Parameter.Value)
	}
	for _, elsewhere := range []*ssm.Client{params("999999999999", region), params(account, "eu-west-1")} {
		if _, err := elsewhere.GetParameter(t.Context(), &ssm.GetParameterInput{Name: put.Name}); code(err) != "ParameterNotFound" {
			t.Errorf("elsewhere: %v", err)
		}
	}
}

func TestIdentity(t *testing.T) {
	srv := ec2test.New(&ec2test.Options{AccessKeys: map[string]string{"AKIDEXAMPLE": "111122223333"}})
	t.Cleanup(srv.Close)
	status, body := post(t, srv, url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}}, http.Header{
		"Authorization": {strings.Replace(signature, "/ec2/", "/sts/", 1)},
	})
	if status != 200 || !strings.Contains(body, "<Account>111122223333</Account>") {
		t.Errorf("%d %s", status, body)
	}
}

func TestPublish(t *testing.T) {
	srv, c := start(t, &ec2test.Options{
		Images: []ec2test.Image{{Name: "house base 1", Owner: "444455556666", Files: map[string]string{"/etc/house": "1"}, Regions: []string{region}}},
	})
	ids := srv.Publish(ec2test.Image{Name: "own base", Private: true, Tags: map[string]string{"layer": "base"}, Files: map[string]string{"/etc/own": "yes"}})
	if got := image(t, c, ids[region]); *got.OwnerId != account || len(got.Tags) != 1 {
		t.Errorf("the published image: %+v", got)
	}
	for name, file := range map[string]string{"house base 1": "/etc/house", "own base": "/etc/own"} {
		found := srv.Resources(func(r ec2test.Resource) bool { return r.Name == name })
		if len(found) != 0 {
			t.Errorf("a vendor's image counts as left over: %v", found)
		}
		out := must(c.DescribeImages(t.Context(), imagesNamed(name)))(t)
		if len(out.Images) != 1 {
			t.Fatalf("%d images have the name %q", len(out.Images), name)
		}
		if _, err := srv.ReadFile(*out.Images[0].ImageId, file); err != nil {
			t.Error(err)
		}
	}
	if out := must(client(srv.Config("eu-west-1")).DescribeImages(t.Context(), imagesNamed("house base 1")))(t); len(out.Images) != 0 {
		t.Error("it is in a region where it is not")
	}
}
