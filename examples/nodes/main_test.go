package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// embedded is an EC2 whose time is worth nothing and on which every bake is a
// second later than the one before.
func embedded(t *testing.T, commands map[string]ec2test.Command) *demo.Demo {
	t.Helper()
	clock := clock.Scaled(demo.Speed)
	server := ec2test.New(&ec2test.Options{Commands: commands, Clock: clock})
	t.Cleanup(server.Close)
	where := demo.Over(server, "eu-west-1", clock)
	if err := makeGroups(t.Context(), where.Cloud, "front", "back"); err != nil {
		t.Fatal(err)
	}
	return where
}

func fleet(t *testing.T) []nodes.Node[Attributes] {
	t.Helper()
	list, err := nodes.LoadFS[Attributes](files, "nodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestFleetKeepsTheNewestFive(t *testing.T) {
	where := embedded(t, commands())
	var last []*bake.Result
	for range 7 {
		var err error
		if last, err = bakeFleet(t.Context(), where, &bake.Options{Clock: where.Clock}, fleet(t)); err != nil {
			t.Fatal(err)
		}
		// AMIs are named by the second.
		if err := where.Clock.Sleep(t.Context(), 1e9); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range last {
		configured, err := where.Server.ReadFile(r.Artifact.ID(), "/etc/configured-as")
		if err != nil || strings.TrimSpace(string(configured)) != r.Image.Name {
			t.Errorf("%s: configured as %q, %v", r.Image.Name, configured, err)
		}
	}
	images := 0
	for _, left := range where.Server.Leftovers() {
		if strings.Contains(left, "ami-") {
			images++
		}
	}
	if images != 15 {
		t.Errorf("%d images are left, want 5 of each of 3 nodes: %v", images, where.Server.Leftovers())
	}
}

func TestOneFailedNodeDoesNotLoseTheOthers(t *testing.T) {
	failing := commands()
	failing["puppet"] = func(ctx context.Context, p *ec2test.Process) int {
		if certname(p) == "db" {
			fmt.Fprintln(p.Stderr, "Error: Could not retrieve catalog from remote server")
			return 1
		}
		return puppet(ctx, p)
	}
	where := embedded(t, failing)
	results, err := bakeFleet(t.Context(), where, &bake.Options{Clock: where.Clock}, fleet(t))
	var exit *bake.ExitError
	if !errors.As(err, &exit) || exit.Status != 1 || !strings.Contains(err.Error(), "Could not retrieve catalog") {
		t.Errorf("error %v, want puppet's exit status and message", err)
	}
	for i, want := range []bake.Status{bake.StatusBaked, bake.StatusFailed, bake.StatusBaked} {
		if results[i].Status != want {
			t.Errorf("%s: %s, want %s", results[i].Image.Name, results[i].Status, want)
		}
	}
}

func TestRunAsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-json"}, &out); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(&out)
	for _, node := range []string{"web", "db", "worker"} {
		var line struct {
			Node, Status string
			AMI          struct{ ID, Name string }
		}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Node != node || line.Status != "baked" || !strings.HasPrefix(line.AMI.Name, node+" ") || line.AMI.ID == "" {
			t.Errorf("result of %s: %+v", node, line)
		}
	}
}

// TestWithRealPuppet has the real agent configure a Debian as the node "web".
func TestWithRealPuppet(t *testing.T) {
	testenv.Need(t, "puppet")
	m := testenv.Guest(t, nil).Machine(t, nil)
	settings := fmt.Sprintf("[main]\nserverport = %d\ncertificate_revocation = false\n", testenv.Puppet(t, puppetServer).Port)
	for _, err := range []error{
		m.Put(t.Context(), &bake.Upload{Dest: "/etc/puppet/puppet.conf", Content: strings.NewReader(settings), Sudo: true}),
		m.Run(t.Context(), &bake.Cmd{Line: "echo 127.0.0.1 " + puppetServer + " >>/etc/hosts", Sudo: true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	web := fleet(t)[0]
	for range 2 {
		for _, p := range image(nil, web, nil).Provisioners {
			if err := p.Provision(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if name, err := bake.Output(t.Context(), m, bake.Sh("cat /etc/configured-as")); err != nil || name != web.Name {
		t.Errorf("configured as %q, want %q (%v)", name, web.Name, err)
	}
}
