package servertest

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/temporal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// The environment of a worker's process.
const (
	workerDir       = "BAKESTONE_WORKER_DIR"
	workerTemporal  = "BAKESTONE_WORKER_TEMPORAL"
	workerNamespace = "BAKESTONE_WORKER_NAMESPACE"
	workerEC2       = "BAKESTONE_WORKER_EC2"
	workerMachines  = "BAKESTONE_WORKER_MACHINES"
)

// TestKilledWorker kills the process of the worker that bakes within a step. Another one goes
// on with the build.
func TestKilledWorker(t *testing.T) {
	if os.Getenv(workerDir) != "" {
		work(t)
		return
	}
	p := newPlant(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	port := freePort(t)
	server := ec2test.New(&ec2test.Options{Listen: true, Port: port})
	defer server.Close()
	dir := t.TempDir()
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledWorker$")
		cmd.Env = append(os.Environ(), workerDir+"="+dir, workerTemporal+"="+p.server.GetFrontendHostPort(),
			workerNamespace+"="+p.server.GetDefaultNamespace(), workerEC2+"="+server.URL(), workerMachines+"="+strconv.Itoa(port))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	first := start()
	run := p.start(ctx)
	for !exists(t, filepath.Join(dir, "begun")) {
		if ctx.Err() != nil {
			kill(first)
			t.Fatal("the bake did not begin")
		}
		time.Sleep(50 * time.Millisecond)
	}
	kill(first)
	second := start()
	defer kill(second)
	var images []*temporal.Image
	if err := run.Get(ctx, &images); err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 || images[1].Image != "web" || images[1].Artifact == "" {
		t.Errorf("images %+v, want base and web", images)
	}
	p.store = bake.DirStore(filepath.Join(dir, "records"))
	p.checkRecords(ctx, bake.StatusBaked)
	p.checkHistory(ctx, run)
	api := awsec2.NewFromConfig(server.Config("eu-west-1"))
	made, err := api.DescribeImages(ctx, &awsec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil || len(made.Images) != 2 {
		t.Errorf("%d images, %v, want two", len(made.Images), err)
	}
	groups, err := api.DescribeSecurityGroups(ctx, &awsec2.DescribeSecurityGroupsInput{})
	if err != nil || len(groups.SecurityGroups) != 1 {
		t.Errorf("%d groups, %v, want the default one", len(groups.SecurityGroups), err)
	}
}

// work is a worker until its process is killed. The first one stays within a step.
func work(t *testing.T) {
	t.Helper()
	dir := os.Getenv(workerDir)
	port, err := strconv.Atoi(os.Getenv(workerMachines))
	if err != nil {
		t.Fatal(err)
	}
	cloud := ec2.NewCloud(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(os.Getenv(workerEC2)),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}, &ec2.CloudOptions{
		Dial:          ec2test.DialPort(port),
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil },
		PollInterval:  50 * time.Millisecond, SettleTime: 50 * time.Millisecond,
	})
	base := &bake.Image{Name: "base", Secrets: []bake.Secret{bake.NewSecret(secret)}, Builder: ec2.Builder{Cloud: cloud, Source: ec2.Newest{
		Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
	}}, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Version: "1", Do: func(ctx context.Context, _ bake.Machine) error {
		f, err := os.OpenFile(filepath.Join(dir, "begun"), os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}}}}
	web := &bake.Image{Name: "web", From: base, Builder: ec2.Builder{Cloud: cloud}, Provisioners: []bake.Provisioner{provision.Shell("true")}}
	c, err := client.Dial(client.Options{HostPort: os.Getenv(workerTemporal), Namespace: os.Getenv(workerNamespace)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, queue, worker.Options{})
	baker := &temporal.Baker{
		Options: &bake.Options{Store: bake.DirStore(filepath.Join(dir, "records")), Lease: 2 * time.Second},
		Images:  func(context.Context, map[string]string) ([]*bake.Image, error) { return []*bake.Image{web}, nil },
	}
	if err := errors.Join(baker.Register(w), w.Start()); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	<-t.Context().Done()
}

func exists(t *testing.T, name string) bool {
	t.Helper()
	_, err := os.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
