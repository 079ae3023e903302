package ec2_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

const testRegion = "eu-west-1"

// newServer is an EC2 that ends with the test.
func newServer(t testing.TB, o *ec2test.Options) *ec2test.Server {
	t.Helper()
	server := ec2test.New(o)
	t.Cleanup(server.Close)
	return server
}

// quick are the options of a cloud whose waits are as short as can be.
func quick(server *ec2test.Server) *ec2.CloudOptions {
	return &ec2.CloudOptions{
		Dial:          server.Dial,
		SourceAddress: server.SourceAddress,
		PollInterval:  5 * time.Millisecond,
		SettleTime:    5 * time.Millisecond,
		MaxRetryDelay: time.Millisecond,
		NoCallLimits:  true,
	}
}

func newCloud(server *ec2test.Server) *ec2.Cloud {
	return ec2.NewCloud(server.Config(testRegion), quick(server))
}

func ubuntu() ec2.Newest {
	return ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"}
}

// simple is an image with one script and one file in it.
func simple(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{
		Name:    "simple",
		Builder: ec2.Builder{Cloud: cloud, Source: ubuntu()},
		Provisioners: []bake.Provisioner{
			provision.Script{Content: `echo "made with $GREETING" >/etc/made`, Sudo: true, Env: map[string]string{"GREETING": "care"}},
			provision.File{Content: "a page\n", Dest: "/var/www/index.html", Sudo: true, Mode: 0o640},
		},
		Tags: map[string]string{"team": "web"},
	}
}

// amiOf returns the AMI of a result.
func amiOf(t testing.TB, r *bake.Result) *ec2.AMI {
	t.Helper()
	ami, err := ec2.AMIOf(r.Artifact)
	if err != nil {
		t.Fatalf("AMIOf(%v) = %v", r.Artifact, err)
	}
	return ami
}

func wantNothing(t *testing.T, server *ec2test.Server) {
	t.Helper()
	if left := server.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// lookAtInstance is a step that describes the build's machine into seen.
func lookAtInstance(cloud *ec2.Cloud, seen *ec2types.Instance) bake.Step {
	return bake.Step{Name: "look", At: bake.BeforeCapture, Do: func(ctx context.Context) error {
		out, err := cloud.Client("").DescribeInstances(ctx, &awsec2.DescribeInstancesInput{
			Filters: []ec2types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"running"}}},
		})
		if err == nil {
			*seen = out.Reservations[0].Instances[0]
		}
		return err
	}}
}

// A dialRecorder remembers what was dialled.
type dialRecorder struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu     sync.Mutex
	dialed []string
}

func (r *dialRecorder) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	r.dialed = append(r.dialed, addr)
	r.mu.Unlock()
	return r.dial(ctx, network, addr)
}

func (r *dialRecorder) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.dialed)
}
