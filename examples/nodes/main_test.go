package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// start starts an embedded EC2 with the fleet's security groups.
func start(t *testing.T, commands map[string]ec2test.Command) *imagetest.Env {
	t.Helper()
	env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Commands: commands}})
	for _, group := range []string{"front", "back"} {
		env.Server.AddSecurityGroup("eu-west-1", group)
	}
	return env
}

func fleet(t *testing.T) []nodes.Node[Attributes] {
	t.Helper()
	list, err := nodes.LoadFS[Attributes](files, "nodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestFleetKeepsNewestFive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := start(t, commands())
		for range 7 {
			results, err := bakeFleet(t.Context(), env.Cloud, env.BakeOptions(), fleet(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if got := env.Baked(r).ReadFile("/etc/configured-as"); got != r.Image.Name+"\n" {
					t.Errorf("%s: /etc/configured-as contains %q, want the node's name", r.Image.Name, got)
				}
			}
			time.Sleep(time.Second) // image names have a resolution of one second
		}
		images := env.Server.Resources(func(r ec2test.Resource) bool { return r.Type == "image" })
		if len(images) != 15 {
			t.Errorf("%d images after 7 bakes of 3 nodes, want 15: %v", len(images), images)
		}
	})
}

func TestFleetWithFailedNode(t *testing.T) {
	failing := commands()
	failing["puppet"] = func(ctx context.Context, p *ec2test.Process) int {
		if certname(p) == "db" {
			fmt.Fprintln(p.Stderr, "Error: Could not retrieve catalog from remote server")
			return 1
		}
		return puppet(ctx, p)
	}
	env := start(t, failing)
	results, err := bakeFleet(t.Context(), env.Cloud, env.BakeOptions(), fleet(t))
	var exit *bake.ExitError
	if !errors.As(err, &exit) || exit.Status != 1 || !strings.Contains(err.Error(), "Could not retrieve catalog") {
		t.Errorf("bakeFleet = %v, want Puppet's exit status 1 and message", err)
	}
	for i, want := range []bake.Status{bake.StatusBaked, bake.StatusFailed, bake.StatusBaked} {
		if results[i].Status != want {
			t.Errorf("%s: status %s, want %s", results[i].Image.Name, results[i].Status, want)
		}
	}
}

func TestEmptyFleet(t *testing.T) {
	env := start(t, commands())
	if results, err := bakeFleet(t.Context(), env.Cloud, env.BakeOptions(), nil); !errors.Is(err, bake.ErrNoImages) || results != nil {
		t.Errorf("bakeFleet of no nodes = %v, %v, want ErrNoImages", results, err)
	}
}

func TestRunAsJSONWithReport(t *testing.T) {
	t.Setenv("GITHUB_ACTIONS", "")
	var out bytes.Buffer
	page := filepath.Join(t.TempDir(), "nodes.html")
	synctest.Test(t, func(t *testing.T) {
		if err := run(t.Context(), []string{"-json", "-report", page}, &out); err != nil {
			t.Fatal(err)
		}
	})
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
			t.Errorf("run(-json): result %+v, want a baked AMI of %s", line, node)
		}
	}
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "3 baked") || !strings.Contains(string(html), "provision 1: puppet agent") {
		t.Errorf("run(-report): %v, page of %d bytes, want three baked images and their steps", err, len(html))
	}
}

// TestRunInCI bakes as a step of GitHub Actions, with all files for CI.
func TestRunInCI(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"),
	} {
		t.Setenv(name, value)
	}
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		if err := run(t.Context(), []string{"-junit", filepath.Join(dir, "junit.xml"), "-logs", filepath.Join(dir, "logs")}, &out); err != nil {
			t.Fatal(err)
		}
	})
	if text := out.String(); strings.Count(text, "::group::") != 3 || strings.Count(text, "::endgroup::") != 3 || !strings.Contains(text, "::group::web: ") {
		t.Errorf("run printed %s, want a group for each node", text)
	}
	for name, want := range map[string]string{
		"output": `"web":{"eu-west-1":"ami-`, "summary": "**3 baked**", "junit.xml": `tests="3" failures="0"`,
	} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s = %s, %v, want %q in it", name, text, err, want)
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
	if err != nil || len(logs) != 3 {
		t.Errorf("logs = %q, %v, want 3", logs, err)
	}
}

// TestRealPuppet provisions a Debian machine as the node "web", with a real Puppet
// agent and server.
func TestRealPuppet(t *testing.T) {
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
		for _, p := range nodeImage(nil, web, nil).Provisioners {
			if err := p.Provision(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if name, err := bake.Output(t.Context(), m, bake.Sh("cat /etc/configured-as")); err != nil || name != web.Name {
		t.Errorf("/etc/configured-as contains %q (%v), want %q", name, err, web.Name)
	}
}
