package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"-version", "2.1"}, &out); err != nil {
			t.Fatalf("run(-version 2.1) = %v, output:\n%s", err, out.String())
		}
		for _, want := range []string{"\nbase         baked ", "\nhardened     baked ", "\napplication  baked ", "\n3 baked\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("run(-version 2.1): output lacks %q:\n%s", want, out.String())
			}
		}
	})
}

func testSettings() Settings {
	return Settings{Ansible: onMachine, Version: "2.1", Account: "210987654321", Regions: []string{"us-east-1", "us-west-2", "ap-south-1"}}
}

func TestChain(t *testing.T) {
	env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Commands: commands()}})
	images := env.BakeAll(layers(env.Cloud, testSettings())...)
	images[1].Golden("testdata/hardened.txt")
	images[2].Golden("testdata/application.txt")
}

// TestChainWithFailedCheck bakes a layer whose check fails.
func TestChainWithFailedCheck(t *testing.T) {
	failing := commands()
	failing["ansible-playbook"] = func(ctx context.Context, p *ec2test.Process) int {
		status := ansiblePlaybook(ctx, p)
		if slices.Contains(p.Args, "./hardening.yml") {
			_ = p.Chmod("/etc/ssh/sshd_config.d/hardening.conf", 0o644)
		}
		return status
	}
	env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Commands: failing}})
	results, err := bake.Bake(t.Context(), env.BakeOptions(), layers(env.Cloud, testSettings())...)
	var failed *check.FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "hardening.conf") {
		t.Errorf("Bake = %v, want a *check.FailedError about hardening.conf", err)
	}
	for i, want := range []bake.Status{bake.StatusBaked, bake.StatusFailed, bake.StatusSkipped} {
		if results[i].Status != want {
			t.Errorf("%s: status %s, want %s", results[i].Image.Name, results[i].Status, want)
		}
	}
}

// TestRealAnsible provisions a Debian machine as the three layers, one after the
// other, with a real Ansible: first from the baking host, then on the machine, where
// nothing may change.
func TestRealAnsible(t *testing.T) {
	program := testenv.Need(t, "ansible")
	m := testenv.Guest(t, nil).Machine(t, nil)
	settings := testSettings()
	settings.Ansible = func(ansible provision.Ansible) bake.Provisioner {
		ansible.Program = program
		return ansible
	}
	provisionAndCheck(t, m, settings)

	var output bytes.Buffer
	settings.Ansible = func(ansible provision.Ansible) bake.Provisioner {
		ansible.Program = "/opt/ansible/bin/ansible-playbook"
		return provision.AnsibleLocal{Ansible: ansible}
	}
	provisionAndCheck(t, recorder{m, &output}, settings)
	if strings.Contains(output.String(), "changed: [") || strings.Count(output.String(), "changed=0") != 3 {
		t.Errorf("second run made changes:\n%s", output.String())
	}
}

// provisionAndCheck runs the provisioners and checks of all layers on m.
func provisionAndCheck(t *testing.T, m bake.Machine, settings Settings) {
	t.Helper()
	for _, img := range layers(nil, settings) {
		for _, p := range img.Provisioners {
			if err := p.Provision(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", img.Name, err)
			}
		}
		for _, c := range img.Checks {
			if err := c.Check(t.Context(), m); err != nil {
				t.Errorf("%s: %v", img.Name, err)
			}
		}
	}
}

// A recorder is a machine that records the output of its commands.
type recorder struct {
	bake.Machine
	output *bytes.Buffer
}

func (r recorder) Run(ctx context.Context, cmd *bake.Cmd) error {
	recorded := *cmd
	if cmd.Stdout == nil {
		recorded.Stdout = r.output
	}
	return r.Machine.Run(ctx, &recorded)
}
