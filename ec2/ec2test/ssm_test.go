package ec2test_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
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
		t.Errorf("public parameter = %s, want %s", *public.Parameter.Value, want)
	}
	const amazon = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
	many := must(mine.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{amazon, "/unknown"}}))(t)
	if len(many.Parameters) != 1 || len(many.InvalidParameters) != 1 {
		t.Errorf("GetParameters = %+v, want one valid and one invalid", many)
	}
	run(t, c, *many.Parameters[0].Value, nil)

	put := &ssm.PutParameterInput{
		Name: aws.String("/images/web"), Value: aws.String(*public.Parameter.Value), Type: ssmtypes.ParameterTypeString, DataType: aws.String("aws:ec2:image"),
	}
	must(mine.PutParameter(t.Context(), put))(t)
	if _, err := mine.PutParameter(t.Context(), put); code(err) != "ParameterAlreadyExists" {
		t.Errorf("PutParameter without Overwrite = %v, want ParameterAlreadyExists", err)
	}
	put.Overwrite = aws.Bool(true)
	if out := must(mine.PutParameter(t.Context(), put))(t); out.Version != 2 {
		t.Errorf("PutParameter returned version %d, want 2", out.Version)
	}
	put.Value = aws.String("ami-0123456789abcdef0")
	// AWS checks the image after it has responded.
	if _, err := mine.PutParameter(t.Context(), put); err != nil {
		t.Errorf("PutParameter of an unknown image = %v, want nil", err)
	}
	if value, ok := srv.Parameter(region, "/images/web"); !ok || value != *public.Parameter.Value {
		t.Errorf("Parameter = %q, %v, want %s", value, ok, *public.Parameter.Value)
	}
	srv.SetParameter(region, "/images/web", "other")
	if got := must(mine.GetParameter(t.Context(), &ssm.GetParameterInput{Name: put.Name}))(t); *got.Parameter.Value != "other" {
		t.Errorf("GetParameter after SetParameter = %s, want other", *got.Parameter.Value)
	}
	for _, elsewhere := range []*ssm.Client{params(otherAccount, region), params(account, "eu-west-1")} {
		if _, err := elsewhere.GetParameter(t.Context(), &ssm.GetParameterInput{Name: put.Name}); code(err) != "ParameterNotFound" {
			t.Errorf("GetParameter in another account or region = %v, want ParameterNotFound", err)
		}
	}
}

func TestGetCallerIdentity(t *testing.T) {
	srv := ec2test.New(&ec2test.Options{AccessKeys: map[string]string{"AKIDEXAMPLE": "111122223333"}})
	t.Cleanup(srv.Close)
	status, body := post(t, srv, url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}}, http.Header{
		"Authorization": {strings.Replace(signature, "/ec2/", "/sts/", 1)},
	})
	if status != 200 || !strings.Contains(body, "<Account>111122223333</Account>") {
		t.Errorf("GetCallerIdentity = %d %s, want account 111122223333", status, body)
	}
}

func TestPublish(t *testing.T) {
	srv, c := start(t, &ec2test.Options{
		Images: []ec2test.Image{{Name: "house base 1", Owner: "444455556666", Files: map[string]string{"/etc/house": "1"}, Regions: []string{region}}},
	})
	ids := srv.Publish(ec2test.Image{Name: "own base", Private: true, Tags: map[string]string{"layer": "base"}, Files: map[string]string{"/etc/own": "yes"}})
	if got := image(t, c, ids[region]); *got.OwnerId != account || len(got.Tags) != 1 {
		t.Errorf("published image = %+v, want one tag and owner %s", got, account)
	}
	for name, file := range map[string]string{"house base 1": "/etc/house", "own base": "/etc/own"} {
		found := srv.Resources(func(r ec2test.Resource) bool { return r.Name == name })
		if len(found) != 0 {
			t.Errorf("Resources includes a vendor's image: %v", found)
		}
		out := must(c.DescribeImages(t.Context(), imagesNamed(name)))(t)
		if len(out.Images) != 1 {
			t.Fatalf("DescribeImages returned %d images named %q, want 1", len(out.Images), name)
		}
		if _, err := srv.ReadFile(*out.Images[0].ImageId, file); err != nil {
			t.Error(err)
		}
	}
	if out := must(client(srv.Config("eu-west-1")).DescribeImages(t.Context(), imagesNamed("house base 1")))(t); len(out.Images) != 0 {
		t.Error("DescribeImages lists an image outside its regions")
	}
}

func TestListParameters(t *testing.T) {
	srv, c := start(t, nil)
	p := ssm.NewFromConfig(srv.Config(region), func(o *ssm.Options) { o.Retryer = aws.NopRetryer{} })
	image := ubuntu(t, c).ImageId
	put := func(name, value, dataType string) {
		t.Helper()
		must(p.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: &name, Value: &value, Type: "String", DataType: &dataType, Overwrite: aws.Bool(true),
		}))(t)
	}
	for _, name := range []string{"/images/web", "/images/db/main", "flat"} {
		put(name, *image, "aws:ec2:image")
	}
	put("/images/text", "hello", "text")
	names := func(in *ssm.DescribeParametersInput) string {
		var all []string
		for more := true; more; more = in.NextToken != nil {
			out := must(p.DescribeParameters(t.Context(), in))(t)
			for _, parameter := range out.Parameters {
				all = append(all, *parameter.Name)
			}
			in.NextToken = out.NextToken
		}
		return strings.Join(all, " ")
	}
	images := []ssmtypes.ParameterStringFilter{{Key: aws.String("DataType"), Values: []string{"aws:ec2:image"}}}
	if got := names(&ssm.DescribeParametersInput{ParameterFilters: images, MaxResults: aws.Int32(1)}); got != "/images/db/main /images/web flat" {
		t.Errorf("DescribeParameters = %s, want the parameters of images", got)
	}
	for recursive, want := range map[bool]int{false: 2, true: 3} {
		out := must(p.GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String("/images"), Recursive: aws.Bool(recursive)}))(t)
		if len(out.Parameters) != want || *out.Parameters[len(out.Parameters)-1].Value != *image {
			t.Errorf("GetParametersByPath, recursive %v = %+v, want %d parameters", recursive, out.Parameters, want)
		}
	}
	must(p.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("flat")}))(t)
	if _, err := p.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("flat")}); code(err) != "ParameterNotFound" {
		t.Errorf("second DeleteParameter = %v, want ParameterNotFound", err)
	}
}

// A launch template can name its image by a parameter, with a version or label.
func TestResolveParameters(t *testing.T) {
	srv, c := start(t, nil)
	p := ssm.NewFromConfig(srv.Config(region))
	first, second := *ubuntu(t, c).ImageId, bakeImage(t, c, "second")
	for _, id := range []string{first, second} {
		must(p.PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("/ami"), Value: aws.String(id), Type: "String", Overwrite: aws.Bool(true)}))(t)
	}
	must(p.LabelParameterVersion(t.Context(), &ssm.LabelParameterVersionInput{Name: aws.String("/ami"), Labels: []string{"prod"}, ParameterVersion: aws.Int64(1)}))(t)
	for selector, want := range map[string]string{"": second, ":1": first, ":prod": first} {
		id := launchTemplate(t, c, "by"+strings.TrimPrefix(selector, ":"), "resolve:ssm:/ami"+selector)
		out := must(c.RunInstances(t.Context(), &awsec2.RunInstancesInput{
			MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro", LaunchTemplate: &ec2types.LaunchTemplateSpecification{LaunchTemplateId: &id},
		}))(t)
		if *out.Instances[0].ImageId != want {
			t.Errorf("RunInstances with /ami%s launched %s, want %s", selector, *out.Instances[0].ImageId, want)
		}
		v := must(c.DescribeLaunchTemplateVersions(t.Context(), &awsec2.DescribeLaunchTemplateVersionsInput{
			LaunchTemplateId: &id, Versions: []string{"1"}, ResolveAlias: aws.Bool(true),
		}))(t).LaunchTemplateVersions[0]
		if *v.LaunchTemplateData.ImageId != want {
			t.Errorf("DescribeLaunchTemplateVersions resolved /ami%s to %s, want %s", selector, *v.LaunchTemplateData.ImageId, want)
		}
	}
}
