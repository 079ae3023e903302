package ec2_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// TestCallLimitsSharedByClients makes calls through two clients of a Cloud, which
// must share the limits of the account.
func TestCallLimitsSharedByClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(&ec2test.Options{Throttle: true})
		defer server.Close()
		cloud := ec2.NewCloud(server.Config(testRegion), nil)
		one, two := cloud.Client(""), awsec2.NewFromConfig(cloud.Config(testRegion))
		var calls sync.WaitGroup
		for i := range 200 {
			client := one
			if i%2 == 0 {
				client = two
			}
			calls.Go(func() {
				if _, err := client.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{MaxResults: aws.Int32(5)}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		wantNoThrottling(t, server)
	})
}

// wantNoThrottling checks that EC2 did not throttle any call.
func wantNoThrottling(t *testing.T, server *ec2test.Server) {
	t.Helper()
	n := 0
	for _, c := range server.Calls() {
		if c.Code == "RequestLimitExceeded" {
			n++
		}
	}
	if n > 0 {
		t.Errorf("throttled calls = %d, want 0", n)
	}
}

func TestCallLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(nil)
		defer server.Close()
		cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{
			CallLimits: map[string]ec2.CallLimit{"DescribeVpcs": {Requests: ec2.Rate{Burst: 1, PerSecond: 0.1}}},
		})
		start := time.Now()
		for range 3 {
			if _, err := cloud.Client("").DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took.Round(time.Second) != 20*time.Second {
			t.Errorf("three calls took %v, want 20s at one call in 10s", took)
		}
	})
}

// TestCloudSharedByBakes runs several Bakes on one Cloud. One is canceled and one
// fails, which must not affect the others.
func TestCloudSharedByBakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		cloud := newCloud(server)
		canceled, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				ctx, want := t.Context(), bake.StatusBaked
				images := fleet(cloud, 5)
				for _, img := range images {
					step := bake.Step{Name: "planted", At: bake.BeforeCapture, Do: func(context.Context) error { return nil }}
					switch i {
					case 0:
						step.Do = func(context.Context) error { cancel(); return nil }
					case 1:
						step.Do = func(context.Context) error { return errors.New("planted") }
					}
					img.Steps = []bake.Step{step}
				}
				switch i {
				case 0:
					ctx, want = canceled, bake.StatusCanceled
				case 1:
					want = bake.StatusFailed
				}
				results, err := bake.Bake(ctx, nil, images...)
				for _, r := range results {
					if r.Status != want {
						t.Errorf("status of %s = %s, want %s (error %v)", r.Image.Name, r.Status, want, err)
					}
					destroy(t, r.Artifact)
				}
			})
		}
		all.Wait()
		wantNoLeftovers(t, server)
	})
}

// TestCloudConfigForSecret reads a secret with an SDK client made from the Cloud,
// and passes it to a command.
func TestCloudConfigForSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		parameters := ssm.NewFromConfig(cloud.Config(""))
		name := aws.String("/web/token")
		if _, err := parameters.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: name, Value: aws.String("open sesame"), Type: ssmtypes.ParameterTypeSecureString,
		}); err != nil {
			t.Fatal(err)
		}
		out, err := parameters.GetParameter(t.Context(), &ssm.GetParameterInput{Name: name, WithDecryption: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		img := simple(cloud)
		img.Provisioners = []bake.Provisioner{provision.Script{
			Content: `echo "$TOKEN" >/etc/token; echo "it is $TOKEN"`, Sudo: true,
			Secrets: map[string]bake.Secret{"TOKEN": bake.NewSecret(aws.ToString(out.Parameter.Value))},
		}}
		var output []string
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.OutputLine {
				output = append(output, e.Text)
			}
		}}, img)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, server, results[0].Artifact.ID(), "/etc/token", "open sesame\n")
		if want := []string{"it is [redacted]"}; !slices.Equal(output, want) {
			t.Errorf("output = %q, want %q", output, want)
		}
	})
}
