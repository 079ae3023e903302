package provision_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

func TestDescribe(t *testing.T) {
	long := strings.Repeat("x", 100)
	for want, p := range map[string]bake.Provisioner{
		"shell: apt-get update":         provision.Shell("apt-get update"),
		"shell: apt-get update …":       provision.Shell("", "  apt-get update", "apt-get upgrade"),
		"shell: set -x …":               provision.Script{Content: "#!/bin/sh\n# Installs it.\n\nset -x\nmake"},
		"shell: # nothing else":         provision.Shell("# nothing else"),
		"shell: nothing":                provision.Script{},
		"shell: " + long[:60] + " …":    provision.Shell(long),
		"script a/b.sh":                 provision.Script{Path: "a/b.sh", Secrets: bake.Secrets(map[string]string{"X": "y"})},
		"file /etc/motd":                provision.File{Content: "x", Dest: "/etc/motd"},
		"directory /srv":                provision.Dir{Source: "x", Dest: "/srv"},
		"download /var/log":             provision.Download{Source: "/var/log", Dest: "x"},
		"local: make dist":              provision.Local{Command: "make dist"},
		"local: go build ./...":         provision.Local{Args: []string{"go", "build", "./..."}},
		"ansible: a.yml b.yml":          provision.Ansible{Playbooks: []string{"a.yml", "b.yml"}},
		"ansible on the machine: a.yml": provision.AnsibleLocal{Ansible: provision.Ansible{Playbooks: []string{"a.yml"}}},
		"puppet apply site.pp":          provision.PuppetApply{Manifest: "site.pp"},
		"puppet agent":                  provision.PuppetAgent{},
		"puppet agent web-1":            provision.PuppetAgent{CertName: "web-1"},
		"salt: highstate":               provision.Salt{},
		"salt: web app.users":           provision.Salt{Apply: []string{"web", "app.users"}},
		"chef role[web] base":           provision.ChefZero{RunList: []string{"role[web]", "base"}},
		"chef-solo web":                 provision.ChefZero{RunList: []string{"web"}, Solo: true},
		"chef client bake-web":          provision.ChefClient{NodeName: "bake-web"},
		"warm cache":                    bake.ProvisionFunc{Name: "warm cache"},
		"":                              bake.ProvisionFunc{},
		"named":                         provision.Named{Name: "named", Provisioner: provision.Shell("x")},
		"undoable":                      provision.Undoable{Provisioner: bake.ProvisionFunc{Name: "undoable"}},
		"template /etc/x":               provision.Template{Dest: "/etc/x"},
		"retried":                       provision.Retry{Provisioner: bake.ProvisionFunc{Name: "retried"}},
		"timed":                         provision.Timeout{Provisioner: bake.ProvisionFunc{Name: "timed"}},
		"continued":                     provision.ContinueOnError{Provisioner: bake.ProvisionFunc{Name: "continued"}},
		"conditional":                   provision.OnlyIf{Provisioner: bake.ProvisionFunc{Name: "conditional"}},
		"breakpoint here":               provision.Breakpoint{Note: "here"},
		"breakpoint":                    provision.Breakpoint{},
		"wait for cloud-init":           provision.WaitCloudInit{},
		"user app":                      provision.User{Name: "app"},
		"service x enable start":        provision.Service{Name: "x", Enable: true, Start: true},
		"hostname db":                   provision.Hostname{Name: "db"},
		"sysctl 60-web":                 provision.Sysctl{File: "60-web"},
		"powershell: Get-Item …":        provision.PowerShell("Get-Item", "x"),
		"batch: ver":                    provision.Batch("ver"),
		"script a.ps1":                  provision.WindowsScript{Path: "a.ps1"},
		"packages: repository r, upgrade, install a=1 b, remove c, clean": provision.Packages{
			Repositories: []provision.Repository{{Name: "r"}}, Upgrade: true, Install: []string{"a=1", "b"}, Remove: []string{"c"}, Clean: true,
		},
		"reboot":                            provision.Reboot{Command: "shutdown -r now"},
		"pause 1m30s":                       provision.Pause{For: 90 * time.Second},
		"reboot, pause 1s, func, warm, nil": provision.Sequence{provision.Reboot{}, provision.Pause{For: time.Second}, bake.ProvisionFunc{}, bake.ProvisionFunc{Name: "warm"}, nil},
	} {
		if got := bake.Describe(p); got != want {
			t.Errorf("Describe(%T) = %q, want %q", p, got, want)
		}
	}
}

// run provisions m with p and fails t on errors.
func run(t *testing.T, m bake.Machine, p bake.Provisioner) {
	t.Helper()
	if err := p.Provision(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// nothingLeft fails t if staging directories remain on m.
func nothingLeft(t *testing.T, m *baketest.Machine) {
	t.Helper()
	for _, name := range m.Files() {
		if strings.Contains(name, "bakestone-") {
			t.Errorf("%s was not removed", name)
		}
	}
	for _, call := range m.Calls() {
		if call.Args != nil && call.Args[0] == "mkdir" {
			if _, err := m.Stat(call.Args[len(call.Args)-1]); err == nil {
				t.Errorf("%s was not removed", call.Args[len(call.Args)-1])
			}
		}
	}
}

// invalid checks that Validate reports exactly the errors that contain want, and that
// Provision then returns the same errors without using the machine.
func invalid(t *testing.T, p bake.Provisioner, want []string) {
	t.Helper()
	err := bake.ValidateValue(p)
	if (err == nil) != (len(want) == 0) {
		t.Fatalf("Validate() = %v, want %q", err, want)
	}
	if err == nil {
		return
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("Validate() lacks %q:\n%v", part, err)
		}
	}
	if got := len(strings.Split(err.Error(), "\n")); got != len(want) {
		t.Errorf("Validate() returned %d errors, want %d:\n%v", got, len(want), err)
	}
	if _, ok := errors.AsType[*bake.FieldError](err); !ok {
		t.Errorf("Validate() = %v, want a *bake.FieldError", err)
	}
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	if got := p.Provision(t.Context(), m); got == nil || got.Error() != err.Error() {
		t.Errorf("Provision() = %v, want the error of Validate", got)
	}
	if calls := m.Calls(); len(calls) != 0 {
		t.Errorf("calls of the machine = %v, want none", calls)
	}
}

func anything() *regexp.Regexp { return regexp.MustCompile("") }
