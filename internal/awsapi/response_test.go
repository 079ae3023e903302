package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/imagebuilder"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	rbintypes "github.com/aws/aws-sdk-go-v2/service/rbin/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A reply is a response that a test's HTTP client gives.
type reply struct {
	status int
	header map[string]string
	body   string
	cut    error // of the body's last Read; nil means io.EOF
}

// replies is an HTTP client that gives each reply in turn, repeating the last.
type replies struct {
	list  []reply
	calls int
}

func (f *replies) Do(r *http.Request) (*http.Response, error) {
	next := f.list[min(f.calls, len(f.list)-1)]
	f.calls++
	response := &http.Response{StatusCode: next.status, Header: http.Header{}, Request: r}
	for name, value := range next.header {
		response.Header.Set(name, value)
	}
	response.Body = io.NopCloser(io.MultiReader(strings.NewReader(next.body), failingReader{next.cut}))
	return response, nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) {
	if r.err == nil {
		return 0, io.EOF
	}
	return 0, r.err
}

func configOf(client *replies) aws.Config {
	cfg := config(&fakeHTTP{}, nil)
	cfg.HTTPClient = client
	return cfg
}

const regions = `<?xml version="1.0" encoding="UTF-8"?>
<DescribeRegionsResponse><regionInfo><item><regionName>eu-west-1</regionName></item></regionInfo></DescribeRegionsResponse>`

func TestBrokenResponseRetried(t *testing.T) {
	for name, broken := range map[string]reply{
		"connection closed":  {status: 200, body: regions[:100], cut: io.ErrUnexpectedEOF},
		"connection reset":   {status: 200, body: regions[:100], cut: syscall.ECONNRESET},
		"truncated":          {status: 200, body: regions[:100]},
		"truncated at start": {status: 200, body: regions[:20]},
		"one byte":           {status: 200, body: regions[:1]},
		"empty":              {status: 200},
		"truncated error":    {status: 400, body: `<Response><Errors><Error><Code>Invalid`},
		"empty error":        {status: 400, header: map[string]string{"x-amzn-RequestId": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &replies{list: []reply{broken, broken, {status: 200, body: regions}}}
				out, err := awsec2.NewFromConfig(configOf(client)).DescribeRegions(t.Context(), nil)
				if err != nil || len(out.Regions) != 1 || client.calls != 3 {
					t.Errorf("DescribeRegions() = %v, %v after %d attempts, want one region after 3", out, err, client.calls)
				}
			})
		})
	}
}

func TestBrokenResponseOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &replies{list: []reply{{status: 200, body: regions[:100]}}}
		_, err := awsec2.NewFromConfig(configOf(client)).DescribeRegions(t.Context(), nil)
		if _, ok := errors.AsType[*awsapi.BrokenResponseError](err); !ok || client.calls != 8 || awsapi.Rejected(err) {
			t.Errorf("DescribeRegions() error = %v after %d attempts, want a BrokenResponseError after 8", err, client.calls)
		}
	})
}

func TestBrokenJSONRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &replies{list: []reply{{status: 200}, {status: 200, body: `{"Parameter":{"Value":"a`}, {status: 200, body: `{"Parameter":{"Value":"ami-1"}}`}}}
		out, err := ssm.NewFromConfig(configOf(client)).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("p")})
		if err != nil || aws.ToString(out.Parameter.Value) != "ami-1" {
			t.Errorf("GetParameter() = %v, %v, want ami-1", out, err)
		}
	})
}

func TestForeignResponse(t *testing.T) {
	html := map[string]string{"Content-Type": "text/html", "Server": "squid"}
	for name, test := range map[string]struct {
		reply    reply
		attempts int
		want     []string
	}{
		"portal page":    {reply{status: 200, header: html, body: "<!DOCTYPE html><html><head><meta charset=utf-8></head>"}, 3, []string{"captive portal", "status 200", `content type "text/html"`, `server "squid"`, "DOCTYPE"}},
		"redirect":       {reply{status: 302, header: map[string]string{"Location": "https://login.example.com/"}}, 3, []string{"login page", `redirect to "https://login.example.com/"`}},
		"proxy refusal":  {reply{status: 403, header: html, body: "<html>Access denied by policy\x1b[2J</html>"}, 3, []string{"proxy", "status 403 Forbidden", `denied by policy\x1b[2J`}},
		"proxy login":    {reply{status: 407, header: html, body: "<html></html>"}, 1, []string{"a proxy that needs a login", "status 407"}},
		"bad gateway":    {reply{status: 502, header: html, body: "<html>Bad Gateway</html>"}, 8, []string{"a proxy", "status 502"}},
		"plain text":     {reply{status: 403, body: "blocked"}, 3, []string{`body "blocked"`}},
		"empty refusal":  {reply{status: 403, header: map[string]string{"Via": "1.1 squid"}}, 3, []string{"a proxy", "status 403 Forbidden", `server "1.1 squid"`}},
		"empty failure":  {reply{status: 503}, 8, []string{"a proxy", "status 503"}},
		"JSON of others": {reply{status: 200, body: `{"login":true}`}, 3, []string{"captive portal"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := &replies{list: []reply{test.reply}}
				_, err := awsec2.NewFromConfig(configOf(client)).CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: aws.String("i-1"), Name: aws.String("web")})
				if _, ok := errors.AsType[*awsapi.ForeignResponseError](err); !ok || awsapi.Rejected(err) || client.calls != test.attempts {
					t.Errorf("CreateImage() error = %v (rejected %t) after %d attempts, want a ForeignResponseError after %d", err, awsapi.Rejected(err), client.calls, test.attempts)
				}
				for _, want := range test.want {
					if !strings.Contains(fmt.Sprint(err), want) {
						t.Errorf("CreateImage() error = %v, want one that contains %s", err, want)
					}
				}
			})
		})
	}
}

// TestForeignResponseOfEachService calls each AWS service that the module uses through
// a captive portal, a redirect, and a proxy that refuses or fails.
func TestForeignResponseOfEachService(t *testing.T) {
	html := map[string]string{"Content-Type": "text/html", "Server": "squid"}
	replied := map[string]reply{
		"a captive portal or another server at the endpoint": {status: 200, header: html, body: "<html><head><title>Sign in</title></head></html>"},
		"a login page or captive portal":                     {status: 302, header: map[string]string{"Location": "https://login.example.com/"}, body: "<html></html>"},
		"a proxy: status 403 Forbidden":                      {status: 403, header: html, body: "<html>Access denied</html>"},
		"a proxy: status 502 Bad Gateway":                    {status: 502, header: html, body: "<html>Bad gateway</html>"},
		"a proxy that needs a login":                         {status: 407, header: html},
	}
	for service, call := range map[string]func(context.Context, aws.Config) error{
		"autoscaling": func(ctx context.Context, cfg aws.Config) error {
			_, err := autoscaling.NewFromConfig(cfg).DescribeAutoScalingGroups(ctx, nil)
			return err
		},
		"batch": func(ctx context.Context, cfg aws.Config) error {
			_, err := batch.NewFromConfig(cfg).DescribeComputeEnvironments(ctx, nil)
			return err
		},
		"ec2": func(ctx context.Context, cfg aws.Config) error {
			_, err := awsec2.NewFromConfig(cfg).DescribeRegions(ctx, nil)
			return err
		},
		"eks": func(ctx context.Context, cfg aws.Config) error {
			_, err := eks.NewFromConfig(cfg).ListClusters(ctx, nil)
			return err
		},
		"iam": func(ctx context.Context, cfg aws.Config) error {
			_, err := iam.NewFromConfig(cfg).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("web")})
			return err
		},
		"imagebuilder": func(ctx context.Context, cfg aws.Config) error {
			_, err := imagebuilder.NewFromConfig(cfg).ListImageRecipes(ctx, nil)
			return err
		},
		"kms": func(ctx context.Context, cfg aws.Config) error {
			_, err := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/web")})
			return err
		},
		"rbin": func(ctx context.Context, cfg aws.Config) error {
			_, err := rbin.NewFromConfig(cfg).ListRules(ctx, &rbin.ListRulesInput{ResourceType: rbintypes.ResourceTypeEc2Image})
			return err
		},
		"ssm": func(ctx context.Context, cfg aws.Config) error {
			_, err := ssm.NewFromConfig(cfg).PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("/web"), Value: aws.String("ami-1")})
			return err
		},
		"sts": func(ctx context.Context, cfg aws.Config) error {
			_, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
			return err
		},
	} {
		for want, answer := range replied {
			t.Run(service+" "+want, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					err := call(t.Context(), configOf(&replies{list: []reply{answer}}))
					if _, ok := errors.AsType[*awsapi.ForeignResponseError](err); !ok || !strings.Contains(err.Error(), "response is not from AWS but perhaps from "+want) {
						t.Errorf("error = %v, want a ForeignResponseError that names %s", err, want)
					}
				})
			})
		}
	}
}

func TestIDErrors(t *testing.T) {
	type calls struct {
		ec2 *awsec2.Client
		iam *iam.Client
	}
	for name, test := range map[string]struct {
		body string
		call func(calls) error
		want string
	}{
		"CreateSecurityGroup without id": {`<CreateSecurityGroupResponse/>`, func(c calls) error {
			_, err := c.ec2.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("a"), Description: aws.String("a")})
			return err
		}, "without the id of the new security group"},
		"CreateSecurityGroup of another kind": {`<CreateSecurityGroupResponse><groupId>vpc-1</groupId></CreateSecurityGroupResponse>`, func(c calls) error {
			_, err := c.ec2.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{GroupName: aws.String("a"), Description: aws.String("a")})
			return err
		}, `"vpc-1", which is not the id of the new security group`},
		"RunInstances without instance": {`<RunInstancesResponse/>`, func(c calls) error {
			_, err := c.ec2.RunInstances(t.Context(), &awsec2.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
			return err
		}, "without the id of the new instance"},
		"CreateImage with text": {`<CreateImageResponse><imageId>ami-1 or so</imageId></CreateImageResponse>`, func(c calls) error {
			_, err := c.ec2.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: aws.String("i-1"), Name: aws.String("web")})
			return err
		}, "not the id of the new image"},
		"CreateKeyPair without id": {`<CreateKeyPairResponse/>`, func(c calls) error {
			_, err := c.ec2.CreateKeyPair(t.Context(), &awsec2.CreateKeyPairInput{KeyName: aws.String("a")})
			return err
		}, "without the id of the new key pair"},
		"CreateRole of another name": {`<CreateRoleResponse><CreateRoleResult><Role><Path>/</Path><RoleName>other</RoleName></Role></CreateRoleResult></CreateRoleResponse>`, func(c calls) error {
			_, err := c.iam.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("mine"), AssumeRolePolicyDocument: aws.String("{}")})
			return err
		}, `"other", which is not the id of the new role`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configOf(&replies{list: []reply{{status: 200, body: test.body}}})
			err := test.call(calls{awsec2.NewFromConfig(cfg), iam.NewFromConfig(cfg)})
			if err == nil || !strings.Contains(err.Error(), test.want) || awsapi.Rejected(err) {
				t.Errorf("error = %v (rejected %t), want one that contains %q", err, awsapi.Rejected(err), test.want)
			}
		})
	}
}
