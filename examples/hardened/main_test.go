package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-version", "2.1"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"base: baked ami-", "hardened: baked ami-", "application: baked ami-"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
}

func settings() Settings {
	return Settings{Ansible: onTheMachine, Version: "2.1", Account: "210987654321", Regions: []string{"us-east-1", "us-west-2", "ap-south-1"}}
}

func TestChain(t *testing.T) {
	server := ec2test.New(&ec2test.Options{Commands: commands()})
	defer server.Close()
	where := demo.New(server, "eu-west-1", clock.System())
	results, err := bake.Bake(t.Context(), nil, layers(where.Cloud, settings())...)
	if err != nil {
		t.Fatal(err)
	}
	last := results[2].Artifact
	for name, want := range map[string]string{
		"/etc/motd": "This machine comes from the bakery.", "/etc/ssh/sshd_config.d/hardening.conf": "PasswordAuthentication no", "/srv/application/VERSION": "2.1",
	} {
		if got, err := server.ReadFile(last.ID(), name); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s of the application is %q (%v), want %q", name, got, err, want)
		}
	}
	regions := slices.Sorted(func(yield func(string) bool) {
		for region := range last.IDs() {
			if !yield(region) {
				return
			}
		}
	})
	if got := strings.Join(regions, " "); got != "ap-south-1 eu-west-1 us-east-1 us-west-2" {
		t.Errorf("the application is in %s", got)
	}
}

// A layer that does not keep its promise is used by none.
func TestNothingIsMadeFromAnUncheckedLayer(t *testing.T) {
	lax := commands()
	lax["ansible-playbook"] = func(ctx context.Context, p *ec2test.Process) int {
		status := ansible(ctx, p)
		if slices.Contains(p.Args, "./hardening.yml") {
			_ = p.Chmod("/etc/ssh/sshd_config.d/hardening.conf", 0o644)
		}
		return status
	}
	server := ec2test.New(&ec2test.Options{Commands: lax})
	defer server.Close()
	where := demo.New(server, "eu-west-1", clock.System())
	results, err := bake.Bake(t.Context(), nil, layers(where.Cloud, settings())...)
	var failed *check.FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "hardening.conf") {
		t.Errorf("error %v, want the check's", err)
	}
	for i, want := range []bake.Status{bake.StatusBaked, bake.StatusFailed, bake.StatusSkipped} {
		if results[i].Status != want {
			t.Errorf("%s is %s, want %s", results[i].Image.Name, results[i].Status, want)
		}
	}
}

// The three layers one after the other on a real Debian, by the real Ansible:
// from here, and then on the machine, where nothing is left to change.
func TestWithRealAnsible(t *testing.T) {
	program := testenv.Need(t, "ansible")
	m := testenv.Guest(t, nil).Machine(t, nil)
	set := settings()
	set.Ansible = func(play provision.Ansible) bake.Provisioner {
		play.Program = program
		return play
	}
	provisionAll(t, m, set)

	var said bytes.Buffer
	set.Ansible = func(play provision.Ansible) bake.Provisioner {
		play.Program = "/opt/ansible/bin/ansible-playbook"
		return provision.AnsibleLocal{Ansible: play}
	}
	provisionAll(t, heard{m, &said}, set)
	if strings.Contains(said.String(), "changed: [") || strings.Count(said.String(), "changed=0") != 3 {
		t.Errorf("the second time something was changed:\n%s", said.String())
	}
}

func provisionAll(t *testing.T, m bake.Machine, set Settings) {
	t.Helper()
	for _, img := range layers(nil, set) {
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

// A heard machine copies what commands write.
type heard struct {
	bake.Machine
	out *bytes.Buffer
}

func (h heard) Run(ctx context.Context, cmd *bake.Cmd) error {
	with := *cmd
	if cmd.Stdout == nil {
		with.Stdout = h.out
	}
	return h.Machine.Run(ctx, &with)
}
