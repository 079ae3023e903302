package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

func TestRun(t *testing.T) {
	for _, args := range [][]string{nil, {"-all", "-spot"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out); err != nil {
			t.Fatalf("run(%q) = %v, output:\n%s", args, err, out.String())
		}
		if !strings.Contains(out.String(), "rails-base  baked ami-") {
			t.Errorf("run(%q): output lacks the AMI of rails-base:\n%s", args, out.String())
		}
	}
}

// TestNewestBase bakes two bases, and rails-base from the newer.
func TestNewestBase(t *testing.T) {
	clock := clock.Scaled(demo.Speed)
	server := ec2test.New(&ec2test.Options{Commands: commands(), Clock: clock})
	defer server.Close()
	env := demo.New(server, "eu-west-1", clock)
	var newest bake.Artifact
	for _, commit := range []string{"old", "new"} {
		results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock}, base(env.Cloud, Settings{Commit: commit}))
		if err != nil {
			t.Fatal(err)
		}
		newest = results[0].Artifact
		// Creation dates, which Newest compares, have a resolution of one second.
		if err := clock.Sleep(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock}, rails(env.Cloud, Settings{Commit: "abc1234"}))
	if err != nil {
		t.Fatal(err)
	}
	ami, err := ec2.AMIOf(results[0].Artifact)
	if err != nil {
		t.Fatal(err)
	}
	if from := ami.Source.ID; from != newest.ID() {
		t.Errorf("rails-base was baked from %s, want %s", from, newest.ID())
	}
	described, err := env.Cloud.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{
		Filters: []ec2types.Filter{{Name: aws.String("tag:commit"), Values: []string{"abc1234"}}},
	})
	if err != nil || len(described.Images) != 1 {
		t.Errorf("DescribeImages with tag:commit abc1234 = %+v, %v; want one image", described, err)
	}
	baked, err := server.ReadFile(results[0].Artifact.ID(), "/etc/baked-as")
	if err != nil || string(baked) != "rails-base abc1234\n" {
		t.Errorf("/etc/baked-as contains %q (%v), want minion id and commit", baked, err)
	}
	if name, err := server.ReadFile(results[0].Artifact.ID(), "/etc/hostname"); err != nil || strings.TrimSpace(string(name)) != "rails-base" {
		t.Errorf("/etc/hostname contains %q (%v), want rails-base", name, err)
	}
}

func TestFailedStates(t *testing.T) {
	failing := commands()
	failing["salt-call"] = func(_ context.Context, p *ec2test.Process) int {
		const results = `{"local": ["Rendering SLS 'base:rails' failed"]}`
		for _, arg := range p.Args {
			if file, found := strings.CutPrefix(arg, "--out-file="); found && p.WriteFile(file, []byte(results), 0o600) != nil {
				return 3
			}
		}
		return 1
	}
	server := ec2test.New(&ec2test.Options{Commands: failing})
	defer server.Close()
	env := demo.New(server, "eu-west-1", clock.System())
	_, err := bake.Bake(t.Context(), nil, all(env.Cloud, Settings{Commit: "x"})...)
	if err == nil || !strings.Contains(err.Error(), "Rendering SLS 'base:rails' failed") {
		t.Errorf("Bake with failing states = %v, want Salt's error", err)
	}
	if left := server.Leftovers(); len(left) > 0 {
		t.Errorf("Bake with failing states left %v", left)
	}
}

// TestRealSalt provisions a Debian machine as both images, one after the other, with
// a real Salt.
func TestRealSalt(t *testing.T) {
	testenv.Need(t, "salt")
	m := testenv.Guest(t, nil).Machine(t, nil)
	for _, img := range all(nil, Settings{Commit: "abc1234", SaltCall: "/opt/salt/bin/salt-call"}) {
		for _, p := range img.Provisioners {
			if err := p.Provision(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", img.Name, err)
			}
		}
	}
	got, err := bake.Output(t.Context(), m, bake.Sh("cat /etc/baked-as /etc/motd /etc/hostname; stat -c %U /srv/rails/shared; getent group operators | cut -d: -f1"))
	if want := "rails-base abc1234\nBaked, not built by hand. Ask the bakers.\nrails-base\nrails\noperators"; err != nil || got != want {
		t.Errorf("files, owner and group are %q (%v), want %q", got, err, want)
	}
}
