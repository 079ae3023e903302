package provision_test

import (
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/google/go-cmp/cmp"
)

func TestGuestToolsValidate(t *testing.T) {
	fsys := fstest.MapFS{
		"site.pp": {}, "manifests/a.pp": {}, "modules/m/manifests/init.pp": {}, "hiera/hiera.yaml": {}, "empty/x": {},
		"states/top.sls": {}, "states/web.sls": {}, "states/app/init.sls": {}, "pillar/top.sls": {}, "minion": {},
		"site.yml": {},
	}
	for name, test := range map[string]struct {
		p    bake.Provisioner
		want []string
	}{
		"apply":           {provision.PuppetApply{FS: fsys, Manifest: "site.pp", Modules: []string{"modules"}, Hiera: "hiera"}, nil},
		"a directory":     {provision.PuppetApply{FS: fsys, Manifest: "manifests"}, nil},
		"no manifest":     {provision.PuppetApply{}, []string{"PuppetApply.Manifest: is required"}},
		"missing":         {provision.PuppetApply{Manifest: "x.pp", Modules: []string{"m"}, Hiera: "h"}, []string{"PuppetApply.Manifest: stat x.pp", "PuppetApply.Modules: stat m", "PuppetApply.Hiera: stat h"}},
		"no hiera.yaml":   {provision.PuppetApply{FS: fsys, Manifest: "site.pp", Hiera: "empty"}, []string{"PuppetApply.Hiera: open empty/hiera.yaml"}},
		"facts":           {provision.PuppetApply{FS: fsys, Manifest: "site.pp", Facts: map[string]string{"a b": "", "c": "\x00"}, Args: []string{"\x00"}}, []string{`PuppetApply.Facts: invalid fact name "a b"`, "PuppetApply.Facts: the value of c", "PuppetApply.Args: "}},
		"agent":           {provision.PuppetAgent{Server: "puppet.internal", CertName: "web-1.internal", Environment: "production", WaitForCert: time.Minute}, nil},
		"agent's default": {provision.PuppetAgent{}, nil},
		"agent's names": {provision.PuppetAgent{Server: "a b", CertName: "Web", Environment: "-x", WaitForCert: -1, Install: provision.Script{}}, []string{
			`PuppetAgent.Server: invalid name "a b"`, `PuppetAgent.CertName: "Web" contains upper-case letters`, `PuppetAgent.Environment: invalid name "-x"`, "PuppetAgent.WaitForCert: is negative", "PuppetAgent.Install: Script",
		}},
		"salt":      {provision.Salt{FS: fsys, States: "states", Pillar: "pillar", MinionConfig: "minion"}, nil},
		"states":    {provision.Salt{FS: fsys, States: "states", Apply: []string{"web", "app"}}, nil},
		"no states": {provision.Salt{FS: fsys}, []string{"Salt.States: is required"}},
		"nothing":   {provision.Salt{}, []string{"Salt.States: is required", "Salt.Apply: is empty"}},
		"no tree":   {provision.Salt{States: "x", Apply: []string{"web"}}, []string{"Salt.States: stat x", `Salt.Apply: state "web" not found in x`}},
		"no state":  {provision.Salt{FS: fsys, States: "states", Apply: []string{"web.users"}}, []string{`Salt.Apply: state "web.users" not found in states`}},
		"no top":    {provision.Salt{FS: fsys, States: "empty"}, []string{"Salt.Apply: is empty, but the highstate requires top.sls: "}},
		"pillar": {provision.Salt{FS: fsys, States: "states", Pillar: "empty", MinionConfig: "x", ID: "a/b", PillarData: 1, Grains: []int{}}, []string{
			"Salt.Pillar: open empty/top.sls", "Salt.MinionConfig: open x", `Salt.ID: invalid name "a/b"`, "Salt.PillarData: ", "Salt.Grains: ",
		}},
		"local":    {provision.AnsibleLocal{Ansible: provision.Ansible{FS: fsys, Playbooks: []string{"site.yml"}}}, nil},
		"playbook": {provision.AnsibleLocal{Ansible: provision.Ansible{FS: fsys, Playbooks: []string{"x.yml"}, VaultPasswordFile: "/etc/passwd"}, Remove: provision.Script{}}, []string{"AnsibleLocal.Playbooks: open x.yml", "AnsibleLocal.VaultPasswordFile: ", "AnsibleLocal.Remove: "}},
	} {
		t.Run(name, func(t *testing.T) {
			invalid(t, test.p, test.want)
			if test.want != nil {
				m := baketest.NewMachine(nil)
				if err := test.p.Provision(t.Context(), m); err == nil || len(m.Calls()) > 0 {
					t.Errorf("Provision() = %v after calls %v, want an error and no calls", err, m.Calls())
				}
			}
		})
	}
}

// A nil map or pointer means no variables, as nil does, for every tool and field.
func TestNilVariables(t *testing.T) {
	fsys := fstest.MapFS{"site.yml": {}, "states/top.sls": {}, "cookbooks/web/x": {}}
	type settings struct{ Port int }
	var empty map[string]string
	for name, with := range map[string]func(v any) bake.Provisioner{
		"AnsibleLocal.Vars": func(v any) bake.Provisioner {
			return provision.AnsibleLocal{Ansible: provision.Ansible{FS: fsys, Playbooks: []string{"site.yml"}, Vars: v}}
		},
		"AnsibleLocal.HostVars": func(v any) bake.Provisioner {
			return provision.AnsibleLocal{Ansible: provision.Ansible{FS: fsys, Playbooks: []string{"site.yml"}, HostVars: v}}
		},
		"Ansible.Vars": func(v any) bake.Provisioner {
			return provision.Ansible{FS: fsys, Playbooks: []string{"site.yml"}, HostVars: v, Vars: v}
		},
		"Salt.PillarData": func(v any) bake.Provisioner { return provision.Salt{FS: fsys, States: "states", PillarData: v} },
		"Salt.Grains":     func(v any) bake.Provisioner { return provision.Salt{FS: fsys, States: "states", Grains: v} },
		"ChefZero.Attributes": func(v any) bake.Provisioner {
			return provision.ChefZero{FS: fsys, Cookbooks: []string{"cookbooks"}, RunList: []string{"web"}, Attributes: v}
		},
		"ChefClient.Attributes": func(v any) bake.Provisioner {
			return provision.ChefClient{ServerURL: "https://chef", NodeName: "n", ClientKey: bake.NewSecret("k-e-y"), Attributes: v}
		},
	} {
		want := uploads(t, with(nil))
		for _, v := range []any{map[string]any(nil), empty, &empty, map[string]bool{}, (*settings)(nil), (*map[string]any)(nil)} {
			p := with(v)
			if err := bake.ValidateValue(p); err != nil {
				t.Errorf("%s = %T(nil): Validate() = %v, want nil", name, v, err)
			}
			if got, want := sumOf(t, p), sumOf(t, with(nil)); got != want {
				t.Errorf("%s = %T(nil): other inputs than those of nil", name, v)
			}
			if diff := cmp.Diff(want, uploads(t, p)); diff != "" {
				t.Errorf("%s = %T(nil): uploads (-nil +got):\n%s", name, v, diff)
			}
		}
		for _, v := range []any{[]string(nil), (*[]string)(nil), "x", 1} {
			if err := bake.ValidateValue(with(v)); err == nil || !strings.Contains(err.Error(), "use a struct or a map") {
				t.Errorf("%s = %T: Validate() = %v, want an error", name, v, err)
			}
		}
	}
}

// uploads returns what p sends to a machine whose tools do nothing.
func uploads(t *testing.T, p bake.Provisioner) map[string]string {
	t.Helper()
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	m.OnPrefix("command -v", baketest.Reply{Stdout: "/usr/bin/tool"})
	_ = p.Provision(t.Context(), m) // fails without results
	sent := map[string]string{}
	staging := regexp.MustCompile(`/tmp/bakestone-\w+`)
	for _, call := range m.Calls() {
		if call.Kind == baketest.PutCall {
			sent[staging.ReplaceAllString(call.Path, "DIR")] = staging.ReplaceAllString(call.Content, "DIR")
		}
	}
	return sent
}

// Tools declare their files, parameters, Install and Remove.
func TestGuestToolsInputs(t *testing.T) {
	tree := func(content string) fstest.MapFS {
		file := &fstest.MapFile{Data: []byte(content)}
		return fstest.MapFS{"site.pp": {}, "empty/x": {}, "modules/x": file, "hiera/x": file, "states/x": file, "pillar/x": file, "cookbooks/web/x": file, "bags/x": file, "minion": file}
	}
	sum := func(p bake.Provisioner) string {
		t.Helper()
		in, err := bake.InputsOf(p)
		if err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	a, b := tree("a"), tree("b")
	shell := provision.Shell("true")
	for name, pair := range map[string][2]bake.Provisioner{
		"modules":   {provision.PuppetApply{FS: a, Manifest: "site.pp", Modules: []string{"modules"}}, provision.PuppetApply{FS: b, Manifest: "site.pp", Modules: []string{"modules"}}},
		"hiera":     {provision.PuppetApply{FS: a, Manifest: "site.pp", Hiera: "hiera"}, provision.PuppetApply{FS: b, Manifest: "site.pp", Hiera: "hiera"}},
		"facts":     {provision.PuppetApply{FS: a, Manifest: "site.pp"}, provision.PuppetApply{FS: a, Manifest: "site.pp", Facts: map[string]string{"x": "y"}}},
		"install":   {provision.PuppetApply{FS: a, Manifest: "site.pp"}, provision.PuppetApply{FS: a, Manifest: "site.pp", Install: shell}},
		"certname":  {provision.PuppetAgent{CertName: "a"}, provision.PuppetAgent{CertName: "b"}},
		"secret":    {provision.PuppetAgent{Secrets: bake.Secrets(map[string]string{"A": "a"})}, provision.PuppetAgent{Secrets: bake.Secrets(map[string]string{"A": "b"})}},
		"states":    {provision.Salt{FS: a, States: "states"}, provision.Salt{FS: b, States: "states"}},
		"pillar":    {provision.Salt{FS: a, States: "empty", Pillar: "pillar"}, provision.Salt{FS: b, States: "empty", Pillar: "pillar"}},
		"minion":    {provision.Salt{FS: a, States: "hiera", MinionConfig: "minion"}, provision.Salt{FS: a, States: "hiera"}},
		"grains":    {provision.Salt{FS: a, States: "states"}, provision.Salt{FS: a, States: "states", Grains: map[string]int{"x": 1}}},
		"data":      {provision.Salt{FS: a, States: "states"}, provision.Salt{FS: a, States: "states", PillarSecrets: bake.Secrets(map[string]string{"x": "y"})}},
		"cookbooks": {provision.ChefZero{FS: a, Cookbooks: []string{"cookbooks"}}, provision.ChefZero{FS: b, Cookbooks: []string{"cookbooks"}}},
		"data bags": {provision.ChefZero{FS: a, DataBags: "bags"}, provision.ChefZero{FS: b, DataBags: "bags"}},
		"run list":  {provision.ChefZero{FS: a}, provision.ChefZero{FS: a, RunList: []string{"web"}}},
		"policy":    {provision.ChefClient{PolicyName: "a"}, provision.ChefClient{PolicyName: "b"}},
		"remove":    {provision.AnsibleLocal{Ansible: provision.Ansible{FS: a}}, provision.AnsibleLocal{Ansible: provision.Ansible{FS: a}, Remove: shell}},
	} {
		if sum(pair[0]) == sum(pair[1]) {
			t.Errorf("%s is not an input", name)
		}
	}
}
