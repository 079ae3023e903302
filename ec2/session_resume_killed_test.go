package ec2_test

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// The environment of the process that is killed.
const (
	killedEndpoint = "BAKESTONE_TEST_ENDPOINT"
	killedStore    = "BAKESTONE_TEST_STORE"
	killedAt       = "BAKESTONE_TEST_AT"
)

// longBake returns an image that calls long in its second provisioner or its check.
func longBake(endpoint, at string, long func(what string)) *bake.Image {
	cloud := ec2.NewCloud(aws.Config{
		Region: testRegion, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}, &ec2.CloudOptions{
		Dial:          ec2test.DialPort(killedPort),
		SourceAddress: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil },
		NoCallLimits:  true,
	})
	return &bake.Image{
		Name:    "long",
		Builder: ec2.Builder{Cloud: cloud, Source: ubuntu()},
		Provisioners: []bake.Provisioner{
			provision.Shell("echo first >>/etc/done").AsRoot(),
			bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				if at == "provision" {
					long(at)
				}
				if at == "script" { // lives on
					return m.Run(ctx, &bake.Cmd{Line: "echo up; sleep 5000; echo ghost >>/etc/done", Sudo: true, Stdout: readyWriter{at}})
				}
				if err := m.Run(ctx, &bake.Cmd{Line: "pgrep -f 'sleep 500[0]'", Sudo: true}); err == nil {
					return errors.New("the script of the killed process still runs")
				}
				return m.Run(ctx, &bake.Cmd{Args: []string{"sh", "-c", "echo second >>/etc/done"}, Sudo: true})
			}},
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			if at == "check" {
				long(at)
			}
			return m.Run(ctx, bake.Sh("grep second /etc/done"))
		}}},
	}
}

const killedPort = 42227

// TestResumeAfterKill kills a process that bakes, as an out-of-memory killer
// would, and resumes from its records on disk.
func TestResumeAfterKill(t *testing.T) {
	if endpoint := os.Getenv(killedEndpoint); endpoint != "" {
		bakeUntilKilled(t, endpoint)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("machines have separate addresses on Linux only")
	}
	for _, at := range []string{"provision", "script", "check"} {
		t.Run(at, func(t *testing.T) {
			server := newServer(t, &ec2test.Options{Listen: true, Port: killedPort})
			dir := t.TempDir()
			killWhenReady(t, at, killedEndpoint+"="+server.URL(), killedStore+"="+dir, killedAt+"="+at)
			store := deadStore{bake.DirStore(dir)}
			builds, err := store.List(t.Context())
			if err != nil || len(builds) != 1 {
				t.Fatalf("List() = %v, %v, want one build", builds, err)
			}
			rec, err := store.Load(t.Context(), builds[0])
			if err != nil {
				t.Fatal(err)
			}
			opts := &bake.Options{Store: store, Resume: []*bake.Record{rec}}
			results, err := bake.Bake(t.Context(), opts, longBake(server.URL(), "", nil))
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, server, results[0].Artifact.ID(), "/etc/done", "first\nsecond\n") // each provisioner ran once
			destroy(t, results[0].Artifact)
			wantNoLeftovers(t, server)
		})
	}
}

// killWhenReady runs this test's program with env, and kills it once it reports
// that it has reached at.
func killWhenReady(t *testing.T, at string, env ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestResumeAfterKill$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		if ready = strings.Contains(lines.Text(), "ready at "+at); !ready {
			t.Log(lines.Text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // reports that it was killed
	if !ready {
		t.Fatalf("the process ended before it reached %q", at)
	}
}

// A readyWriter reports that the output of a command has begun.
type readyWriter struct{ what string }

func (w readyWriter) Write(p []byte) (int, error) {
	_, err := os.Stdout.WriteString("ready at " + w.what + "\n")
	return len(p), err
}

// bakeUntilKilled bakes in the process that is killed.
func bakeUntilKilled(t *testing.T, endpoint string) {
	t.Helper()
	img := longBake(endpoint, os.Getenv(killedAt), func(what string) {
		_, _ = os.Stdout.WriteString("ready at " + what + "\n")
		select {}
	})
	view := terminal.New(os.Stdout, &terminal.Options{Plain: true})
	opts := killedOptions(bake.DirStore(os.Getenv(killedStore)), killedLease)
	opts.Owner, opts.Observe = killedOwner, view.Observe
	_, err := bake.Bake(t.Context(), opts, img)
	t.Fatalf("Bake() returned %v, want the process to be killed before", err)
}
