package imagetest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// A recorder is a testing.TB that records failures.
type recorder struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (r *recorder) Helper()      {}
func (r *recorder) Failed() bool { return len(r.failures) > 0 }
func (r *recorder) Errorf(format string, a ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, a...))
}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Fatalf(format string, a ...any) {
	r.Errorf(format, a...)
	runtime.Goexit()
}

func (r *recorder) Fatal(a ...any) { r.Fatalf("%s", fmt.Sprint(a...)) }

// failuresOf runs f as a test and returns its failures.
func failuresOf(t *testing.T, f func(t *recorder)) string {
	t.Helper()
	r := &recorder{TB: t}
	var done sync.WaitGroup
	done.Go(func() { f(r) })
	done.Wait()
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
	return strings.Join(r.failures, "\n")
}

// shell returns a definition that runs commands as root.
func shell(cloud *ec2.Cloud, commands ...string) *bake.Image {
	return &bake.Image{
		Name: "shell", Builder: ec2.Builder{Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Debian}, Name: "debian-13-amd64-*"}},
		Provisioners: []bake.Provisioner{provision.Shell(commands...).AsRoot()},
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	golden := filepath.Join(dir, "golden")
	if err := os.WriteFile(golden, []byte("image shell\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		do   func(t *recorder)
		want []string
	}{
		"failed bake": {
			func(t *recorder) {
				env := imagetest.Start(t, nil)
				env.Bake(shell(env.Cloud, "terraform apply; frob"))
			}, []string{"frob", "exit status 127"},
		},
		"failed download": {
			func(t *recorder) {
				env := imagetest.Start(t, nil)
				env.Bake(shell(env.Cloud, "curl -fsS https://get.example.com/x"))
			}, []string{"Could not resolve host", "get.example.com is not in URLs"},
		},
		"golden file": {
			func(t *recorder) {
				env := imagetest.Start(t, nil)
				env.Bake(shell(env.Cloud, "echo hi >/etc/hi")).Golden(golden)
			}, []string{"shell differs from " + golden, "-imagetest.update", "\n++ -rw-r--r-- root:root /etc/hi\n+@@ -0,0 +1 @@\n++hi\n"},
		},
		"missing file": {
			func(t *recorder) {
				env := imagetest.Start(t, nil)
				env.Bake(shell(env.Cloud, "mkdir /opt/app; touch /opt/app/a /opt/app/b")).Stat("/opt/app/c")
			}, []string{"shell: /opt/app/c does not exist; /opt/app has /opt/app/a /opt/app/b"},
		},
		"bake that should fail": {
			func(t *recorder) {
				env := imagetest.Start(t, nil)
				_ = env.BakeError(shell(env.Cloud, "true"))
			}, []string{"want an error"},
		},
		"leftovers": {
			func(t *recorder) {
				env := imagetest.Start(t, nil)
				image := env.Bake(shell(env.Cloud, "true"))
				_, err := env.Cloud.Client("").RunInstances(context.WithoutCancel(t.Context()), &awsec2.RunInstancesInput{
					ImageId: aws.String(image.ID), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: ec2types.InstanceTypeT3Micro,
					TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: aws.String(ec2.TagBuild), Value: aws.String("b")}}}},
				})
				if err != nil {
					t.Fatal(err)
				}
			}, []string{"bakes left behind:\n\tinstance i-"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := failuresOf(t, c.do)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("failures %q, want %q", got, want)
				}
			}
		})
	}
}

func TestLook(t *testing.T) {
	env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{
		AnyCommand: true,
		Packages:   map[string]ec2test.Package{"tool": {Version: "2.0-1", Files: map[string]string{"/usr/bin/tool": "#!/bin/sh\necho tool 2.0\n"}}},
		URLs:       map[string]string{"https://get.example.com/install.sh": "mkdir -p /opt/x && echo installed >/opt/x/y\n"},
	}})
	image := env.Bake(shell(env.Cloud,
		"apt-get install -y tool; tool >/etc/tool.version; terraform init -input=false",
		"curl -fsSL https://get.example.com/install.sh | sh",
		"useradd -m app; chown app /opt/x/y; chmod 600 /opt/x/y; rm /etc/issue; echo more >>/etc/hosts; ln -s /opt/x/y /etc/y; systemctl mask cron",
	))
	if got := image.Packages()["tool"]; got != "2.0-1" || image.ReadFile("/etc/tool.version") != "tool 2.0\n" {
		t.Errorf("tool is installed as %q, /etc/tool.version contains %q", got, image.ReadFile("/etc/tool.version"))
	}
	if got := image.Ran("terraform"); !slices.Equal(got, []string{"init -input=false"}) {
		t.Errorf("Ran(terraform) = %q, want one", got)
	}
	if got := image.Services()["cron.service"]; got != "masked" {
		t.Errorf("cron is %q, want masked", got)
	}
	if got := image.Users()["app"]; !strings.HasSuffix(got, ":/home/app:/bin/sh") {
		t.Errorf("user app is %q", got)
	}
	if got := image.List("/opt/*/*"); !slices.Equal(got, []string{"/opt/x/y"}) {
		t.Errorf("List(/opt/*/*) = %q, want /opt/x/y", got)
	}
	changed := map[string]string{}
	for _, c := range image.Diff() {
		changed[c.Path] = c.String()
	}
	for name, want := range map[string]string{
		"/opt/x/y":    "+ -rw------- app:root /opt/x/y\n@@ -0,0 +1 @@\n+installed\n",
		"/etc/hosts":  "~ -rw-r--r-- root:root /etc/hosts\n@@ -1,2 +1,3 @@\n 127.0.0.1 localhost\n ::1 ip6-localhost ip6-loopback\n+more\n",
		"/etc/issue":  "- -rw-r--r-- root:root /etc/issue\n@@ -1,2 +0,0 @@\n-Debian GNU/Linux 13 \\n \\l\n-\n",
		"/etc/y":      "+ Lrwxrwxrwx root:root /etc/y -> /opt/x/y\n",
		"/etc/passwd": "", "/opt/x": "",
	} {
		if diff := cmp.Diff(want, changed[name]); diff != "" && name != "/etc/passwd" {
			t.Errorf("change of %s (-want +got):\n%s", name, diff)
		}
	}
	if ami := image.AMI(); ami.Name == "" || ami.SizeGiB != 8 || ami.Encrypted || ami.Public || ami.Region != "eu-west-1" || ami.Source != image.Source().ID {
		t.Errorf("AMI() = %+v", ami)
	}
	if left := env.Server.LeftoversExcept(image.ID); len(left) > 0 {
		t.Errorf("LeftoversExcept(%s) = %q, want none", image.ID, left)
	}
}

func TestFailedCheckHasNoImage(t *testing.T) {
	env := imagetest.Start(t, nil)
	img := shell(env.Cloud, "true")
	img.Checks = []bake.Check{check.All(check.Package{Name: "nginx"})}
	if err := env.BakeError(img); !strings.Contains(err.Error(), "nginx: is not installed") {
		t.Errorf("BakeError() = %v, want the missing package", err)
	}
	if left := env.Server.Leftovers(); len(left) > 0 {
		t.Errorf("Leftovers() = %q, want none", left)
	}
}

// TestNoRealTime bakes with the latencies of AWS and retires the older image, in no
// time.
func TestNoRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Latency: ec2test.Realistic()}})
		img := shell(env.Cloud, "true")
		img.Publishers = []bake.Publisher{retire(env.Cloud, 0)}
		first := env.Bake(img).ID
		second := env.Bake(img)
		if _, err := env.Server.AMI(first); err == nil || second.AMI().State != "available" {
			t.Errorf("AMI(%s) = %v, want the older image retired and %v available", first, err, second.AMI())
		}
	})
}

// A recordingClock is the system clock, and records sleeps.
type recordingClock struct {
	clock.Clock
	mu    sync.Mutex
	slept []time.Duration
}

func (c *recordingClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.slept = append(c.slept, d)
	c.mu.Unlock()
	return c.Clock.Sleep(ctx, d)
}

// TestAfterBakeUsesTheBuildsClock: a Cleaner without a clock waits by that of the
// server.
func TestAfterBakeUsesTheBuildsClock(t *testing.T) {
	const settle = 17 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		recording := &recordingClock{Clock: clock.System()}
		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Clock: recording}})
		img := shell(env.Cloud, "true")
		env.Bake(img)
		img.Publishers = []bake.Publisher{retire(env.Cloud, settle)}
		env.Bake(img)
		recording.mu.Lock()
		defer recording.mu.Unlock()
		if !slices.ContainsFunc(recording.slept, func(d time.Duration) bool { return d > settle-time.Second && d <= settle }) {
			t.Errorf("waits by the server's clock: %v, want the %v of AfterBake", recording.slept, settle)
		}
	})
}

// retire returns a publisher that keeps only the newest image.
func retire(cloud *ec2.Cloud, settle time.Duration) bake.Publisher {
	return amicleanup.AfterBake(amicleanup.Cleaner{
		SettleTime: settle,
		Targets:    []amicleanup.Target{{Config: cloud.Config("")}},
		Policy:     amicleanup.Policy{Select: amicleanup.Select{Name: "{group} {unix}"}, Keep: []amicleanup.Rule{amicleanup.Newest(1)}},
	})
}

// TestSameSecond bakes an image twice within a second: both have names by which a
// clean-up groups them, and neither waits.
func TestSameSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, nil)
		start := time.Now()
		var names []string
		for range 3 {
			names = append(names, env.Bake(shell(env.Cloud, "true")).AMI().Name)
		}
		unix := start.Unix()
		want := []string{fmt.Sprint("shell ", unix), fmt.Sprint("shell ", unix+1), fmt.Sprint("shell ", unix+2)}
		if took := time.Since(start); took > time.Second || !slices.Equal(names, want) {
			t.Errorf("three bakes took %v and made %q, want no time and %q", took, names, want)
		}
	})
}

// TestFixedSources: the ids of the vendors' images are the same in every server,
// and a test can choose its own.
func TestFixedSources(t *testing.T) {
	const own = "ami-0123456789abcdef0"
	var sources []string
	for range 2 {
		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Images: []ec2test.Image{{ID: own, Name: "golden", Distro: "amzn", Owner: ec2.Amazon}}}})
		sources = append(sources, env.Bake(shell(env.Cloud, "true")).AMI().Source)
		img := shell(env.Cloud, "rpm -q nginx || dnf -y install nginx")
		img.Builder = ec2.Builder{Cloud: env.Cloud, Source: ec2.ImageID(own), SSH: ec2.SSH{User: "ec2-user"}}
		if image := env.Bake(img); image.AMI().Source != own || image.Packages()["nginx"] == "" {
			t.Errorf("baked from %s with packages %v, want %s and nginx", image.AMI().Source, image.Packages(), own)
		}
	}
	if sources[0] != sources[1] {
		t.Errorf("sources %q of two servers, want the same", sources)
	}
}

func TestAddSecurityGroup(t *testing.T) {
	env := imagetest.Start(t, nil)
	group := env.Server.AddSecurityGroup("eu-west-1", "bakery")
	img := shell(env.Cloud, "true")
	img.Builder = ec2.Builder{Cloud: env.Cloud, Source: ec2.Newest{Owners: []string{ec2.Debian}, Name: "debian-13-amd64-*"}, Network: ec2.Network{SecurityGroups: []string{"bakery"}}}
	image := env.Bake(img)
	if group == "" || len(env.Server.LeftoversExcept(image.ID)) > 0 {
		t.Errorf("AddSecurityGroup = %q, Leftovers = %q, want an id and none", group, env.Server.LeftoversExcept(image.ID))
	}
}
