package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

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
			t.Fatalf("%v\n%s", err, out.String())
		}
		if !strings.Contains(out.String(), "rails-base: baked ami-") {
			t.Errorf("the output names no AMI:\n%s", out.String())
		}
	}
}

// The application's image goes on top of the newest base that was baked before,
// and says what it was made from.
func TestOnTheNewestBase(t *testing.T) {
	server := ec2test.New(&ec2test.Options{Commands: commands(), Clock: clock.Scaled(demo.Speed)})
	defer server.Close()
	clock := clock.Scaled(demo.Speed)
	where := demo.New(server, "eu-west-1", clock)
	var newest bake.Artifact
	for _, commit := range []string{"old", "new"} {
		results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock}, all(where.Cloud, Settings{Commit: commit})[0])
		if err != nil {
			t.Fatal(err)
		}
		newest = results[0].Artifact
		// AMIs are named, and sorted, by the second.
		if err := clock.Sleep(t.Context(), 2e9); err != nil {
			t.Fatal(err)
		}
	}
	results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock}, rails(where.Cloud, Settings{Commit: "abc1234"}))
	if err != nil {
		t.Fatal(err)
	}
	ami, err := ec2.AMIOf(results[0].Artifact)
	if err != nil {
		t.Fatal(err)
	}
	if from := ami.Source.ID; from != newest.ID() {
		t.Errorf("baked from %s, want %s", from, newest.ID())
	}
	described, err := where.Cloud.Client("").DescribeImages(t.Context(), &awsec2.DescribeImagesInput{
		Filters: []ec2types.Filter{{Name: aws.String("tag:commit"), Values: []string{"abc1234"}}},
	})
	if err != nil || len(described.Images) != 1 {
		t.Errorf("images with the tag of the commit: %+v, %v", described, err)
	}
	baked, err := server.ReadFile(results[0].Artifact.ID(), "/etc/baked-as")
	if err != nil || string(baked) != "rails-base abc1234\n" {
		t.Errorf("it was baked as %q, %v", baked, err)
	}
	if name, err := server.ReadFile(results[0].Artifact.ID(), "/etc/hostname"); err != nil || strings.TrimSpace(string(name)) != "rails-base" {
		t.Errorf("its host name is %q, %v", name, err)
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
	where := demo.New(server, "eu-west-1", clock.System())
	err := bakeAll(t.Context(), where, io.Discard, all(where.Cloud, Settings{Commit: "x"})...)
	if err == nil || !strings.Contains(err.Error(), "Rendering SLS 'base:rails' failed") {
		t.Errorf("error %v, want Salt's", err)
	}
	if left := server.Leftovers(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Both images one after the other on a real Debian, by the real Salt.
func TestWithRealSalt(t *testing.T) {
	testenv.Need(t, "salt")
	m := testenv.Guest(t, nil).Machine(t, nil)
	for _, img := range all(nil, Settings{Commit: "abc1234", SaltBin: "/opt/salt/bin/salt-call"}) {
		for _, p := range img.Provisioners {
			if err := p.Provision(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", img.Name, err)
			}
		}
	}
	got, err := bake.Output(t.Context(), m, bake.Sh("cat /etc/baked-as /etc/motd /etc/hostname; stat -c %U /srv/rails/shared; getent group operators | cut -d: -f1"))
	if want := "rails-base abc1234\nBaked, not built by hand. Ask the bakers.\nrails-base\nrails\noperators"; err != nil || got != want {
		t.Errorf("the machine says %q (%v), want %q", got, err, want)
	}
}
