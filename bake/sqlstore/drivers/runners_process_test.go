//go:build unix

package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/s3store"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// The environment of a process that serves.
const (
	runnersStore    = "BAKESTONE_TEST_STORE"
	runnersEC2      = "BAKESTONE_TEST_ENDPOINT"
	runnersMachines = "BAKESTONE_TEST_MACHINES"
	runnersName     = "BAKESTONE_TEST_NAME"
)

// runnersLease is short, but not too short for a busy machine.
const runnersLease = 3 * time.Second

// openSource opens "postgres URL" or "s3 ENDPOINT". Its creation may have succeeded before.
func openSource(t *testing.T, source string) bake.Store {
	t.Helper()
	kind, where, _ := strings.Cut(source, " ")
	if kind == "postgres" {
		return open(t, "pgx", where, nil)
	}
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(where), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDBAKESTONETEST", "not a secret", ""),
	})
	const bucket = "bakes"
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	store, err := s3store.New(client, bucket, "records/")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// nameOf returns the name of the image of the n-th bake.
func nameOf(n int) string { return fmt.Sprint("image", n) }

// imagesOf returns the definitions of the n-th bake: an image, in every fifth with a layer
// below and a check.
func imagesOf(cloud *ec2.Cloud, n int) []*bake.Image {
	who := func(name string) []bake.Provisioner {
		return []bake.Provisioner{provision.Shell("echo " + name + " >/etc/who").AsRoot(), provision.Shell("sleep 0.3")}
	}
	img := &bake.Image{Name: nameOf(n), Builder: ec2.Builder{Cloud: cloud, Source: ec2.Newest{
		Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
	}}, Provisioners: who(nameOf(n))}
	if n%5 > 0 {
		return []*bake.Image{img}
	}
	base := *img
	base.Name += "base"
	base.Provisioners = who(base.Name)
	img.Builder, img.From = ec2.Builder{Cloud: cloud}, &base
	img.Checks = []bake.Check{bake.CheckFunc{Name: "who", Do: provision.Shell("grep " + img.Name + " /etc/who").Provision}}
	return []*bake.Image{&base, img}
}

func newRunner(store bake.Store, endpoint string, port int, name string) *bake.Runner {
	cloud := ec2.NewCloud(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}, &ec2.CloudOptions{
		Dial:          ec2test.DialPort(port),
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil },
		PollInterval:  50 * time.Millisecond, SettleTime: 50 * time.Millisecond, MaxRetryDelay: 20 * time.Millisecond, NoCallLimits: true,
	})
	return &bake.Runner{
		Options: &bake.Options{Store: store, Lease: runnersLease, Owner: name, SuspendWait: time.Second},
		Images: func(_ context.Context, labels map[string]string) ([]*bake.Image, error) {
			n, err := strconv.Atoi(labels["n"])
			return imagesOf(cloud, n), err
		},
		Parallel: 4, Poll: 500 * time.Millisecond,
	}
}

// serveIfChild serves until SIGTERM in a process that testRunners has started.
func serveIfChild(t *testing.T) bool {
	t.Helper()
	source := os.Getenv(runnersStore)
	if source == "" {
		return false
	}
	port, err := strconv.Atoi(os.Getenv(runnersMachines))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			cancel(bake.ErrSuspended)
		case <-ctx.Done():
		}
	}()
	runner := newRunner(openSource(t, source), os.Getenv(runnersEC2), port, os.Getenv(runnersName))
	began := time.Now()
	runner.Options.Observe = func(e bake.Event) {
		switch e.Kind {
		case bake.BuildTaken, bake.BuildResumed, bake.BuildFinished, bake.Message, bake.StepFinished:
			fmt.Println(time.Since(began).Round(time.Millisecond), e.Image, e.Kind, e.Step, e.Status, e.Text, e.Err)
		}
	}
	if err := runner.Serve(ctx); !errors.Is(err, bake.ErrSuspended) {
		t.Errorf("Serve() = %v, want %v", err, bake.ErrSuspended)
	}
	return true
}
