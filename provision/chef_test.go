package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

// Chef is not available from a registry. These tests check what chef-client receives
// and simulate its exit statuses.

const foundChef = "/opt/chef/bin/chef-client"

// chefMachine returns a machine with a fake chef-client, which answers with reply,
// and a map of the files of the run, filled when chef-client runs.
func chefMachine(t *testing.T, reply baketest.Reply) (m *baketest.Machine, given map[string]string) {
	t.Helper()
	m = baketest.NewMachine(nil)
	given = map[string]string{}
	m.OnPrefix("command -v 'chef-client'", baketest.Reply{Stdout: foundChef + "\n"})
	m.OnPrefix("command -v 'chef-solo'", baketest.Reply{Stdout: "/opt/chef/bin/chef-solo\n"})
	see := func() {
		for _, name := range m.Files() {
			file, err := m.Stat(name)
			if err != nil {
				t.Error(err)
			}
			if _, short, found := strings.Cut(name[1:], "/bakestone-"); found {
				_, short, _ = strings.Cut(short, "/")
				given[short] = string(file.Content)
				if file.Owner != "root" {
					t.Errorf("owner of %s = %s, want root", name, file.Owner)
				}
				if !strings.Contains(short, "/") && file.Mode.Perm() != 0o600 {
					t.Errorf("mode of %s = %v, want 0600", name, file.Mode)
				}
			}
		}
	}
	reply.Do = func(context.Context, *bake.Cmd) error { see(); return nil }
	m.OnPrefix("/opt/chef/bin/chef-", reply)
	return m, given
}

func cookbooks() fstest.MapFS {
	return fstest.MapFS{
		"cookbooks/web/recipes/default.rb": {Data: []byte("package 'nginx'")},
		"cookbooks/web/.git/HEAD":          {Data: []byte("ref")},
		"vendor/base/recipes/default.rb":   {Data: []byte("")},
		"bags/users/app.json":              {Data: []byte("{}")},
		"environments/prod.json":           {Data: []byte("{}")},
		"roles/web.json":                   {Data: []byte("{}")},
	}
}

func TestChefZero(t *testing.T) {
	m, given := chefMachine(t, baketest.Reply{})
	c := provision.ChefZero{
		FS: cookbooks(), Cookbooks: []string{"cookbooks", "vendor"}, RunList: []string{"recipe[web::default@1.0]", "role[web]", "base"},
		Attributes: map[string]any{"web": map[string]int{"port": 80}}, DataBags: "bags", Environments: "environments", Roles: "roles",
		Environment: "prod", NodeName: "it's", DataBagSecret: bake.NewSecret("open sesame"), AcceptLicense: true,
		Args: []string{"--why-run"}, Env: map[string]string{"A": "b"}, Secrets: bake.Secrets(map[string]string{"TOKEN": "hidden"}),
		Exclude: []string{".git"},
	}
	run(t, m, c)
	var chef baketest.Call
	for _, call := range m.Calls() {
		if strings.HasPrefix(call.Command, foundChef) {
			chef = call
		}
	}
	dir, _, _ := strings.Cut(strings.TrimPrefix(chef.Command, foundChef+" --config "), "/client.rb")
	if want := strings.ReplaceAll(foundChef+" --config D/client.rb --json-attributes D/attributes.json --no-color --once --chef-license accept-no-persist --why-run --local-mode", "D/", dir+"/"); chef.Command != want || !chef.Sudo {
		t.Errorf("command = %q, want %q as root", chef.Command, want)
	}
	if chef.Env["A"] != "b" || chef.Env["TOKEN"] != "hidden" || len(chef.Secrets) != 1 {
		t.Errorf("environment = %v, want A and TOKEN", chef.Env)
	}
	want := strings.ReplaceAll(`chef_repo_path 'D'
cookbook_path ['D/cookbooks-1', 'D/cookbooks-2']
data_bag_path 'D/data_bag_path'
role_path 'D/role_path'
environment_path 'D/environment_path'
node_path 'D/nodes'
file_cache_path 'D/cache'
node_name 'it\'s'
environment 'prod'
encrypted_data_bag_secret 'D/data_bag_secret'
`, "D", dir)
	if given["client.rb"] != want {
		t.Errorf("configuration =\n%swant\n%s", given["client.rb"], want)
	}
	var attributes map[string]any
	if err := json.Unmarshal([]byte(given["attributes.json"]), &attributes); err != nil || len(attributes) != 2 || given["data_bag_secret"] != "open sesame" {
		t.Errorf("attributes = %s (error %v), want two and the data bag secret", given["attributes.json"], err)
	}
	for name, there := range map[string]bool{
		"cookbooks-1/web/recipes/default.rb": true, "cookbooks-1/web/.git/HEAD": false, "cookbooks-2/base/recipes/default.rb": true,
		"data_bag_path/users/app.json": true, "role_path/web.json": true, "environment_path/prod.json": true,
	} {
		if _, is := given[name]; is != there {
			t.Errorf("%s uploaded = %v, want %v", name, is, there)
		}
	}
	nothingLeft(t, m)

	c.Solo = true
	run(t, m, c)
	if last := lastOf(m, "/opt/chef/bin/chef-solo"); !strings.HasSuffix(last, "--why-run") {
		t.Errorf("chef-solo command = %q, want no --local-mode", last)
	}
}

// lastOf returns the last command with the prefix.
func lastOf(m *baketest.Machine, prefix string) (last string) {
	for _, command := range m.Commands() {
		if strings.HasPrefix(command, prefix) {
			last = command
		}
	}
	return last
}

func TestChefFails(t *testing.T) {
	c := provision.ChefZero{FS: cookbooks(), Cookbooks: []string{"cookbooks"}, RunList: []string{"web"}}
	for status, want := range map[int]string{1: "the run failed", 35: "started to restart", 37: "must be restarted", 172: "AcceptLicense", 99: "status 99"} {
		m, _ := chefMachine(t, baketest.Reply{Status: status, Stdout: strings.Join([]string{
			"Recipe: web::default", "    Error executing action `install` on resource 'apt_package[nginx]'",
			"[2026-01-01T00:00:00+00:00] FATAL: Mixlib::ShellOut::ShellCommandFailed: no nginx", "",
		}, "\n")})
		err := c.Provision(t.Context(), m)
		var exit *bake.ExitError
		if !errors.As(err, &exit) || exit.Status != status {
			t.Errorf("Provision() = %v, want status %d", err, status)
			continue
		}
		for _, want := range []string{want, "`install` on resource 'apt_package[nginx]'; Mixlib::ShellOut::ShellCommandFailed: no nginx: exit status"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Provision() = %v\nwant it to contain %q", err, want)
			}
		}
		nothingLeft(t, m)
		c := c
		c.ExitCodes = []int{0, status}
		run(t, m, c)
	}
	m := baketest.NewMachine(nil)
	m.OnPrefix("command -v", baketest.Reply{Times: 1})
	m.On("apk add chef", baketest.Reply{})
	m.OnPrefix("command -v", baketest.Reply{Stdout: foundChef})
	m.OnPrefix(foundChef, baketest.Reply{})
	m.On("apk del chef", baketest.Reply{})
	c.Install, c.Remove = provision.Shell("apk add chef"), provision.Shell("apk del chef")
	run(t, m, c)
	if commands := strings.Join(m.Commands(), "\n"); !strings.Contains(commands, "apk add chef") || !strings.HasSuffix(commands, "apk del chef") {
		t.Errorf("commands do not install and remove Chef:\n%s", commands)
	}
}

func chefServer() provision.ChefClient {
	return provision.ChefClient{
		ServerURL: "https://chef.internal/organizations/house", NodeName: "bake-web", ValidationKey: bake.NewSecret("-----KEY-----"),
		PolicyName: "web", PolicyGroup: "bake", InsecureSkipVerify: true,
	}
}

func TestChefClient(t *testing.T) {
	m, given := chefMachine(t, baketest.Reply{})
	m.OnPrefix("/opt/chef/bin/knife", baketest.Reply{})
	run(t, m, chefServer())
	for _, want := range []string{
		"chef_server_url 'https://chef.internal/organizations/house'\n", "node_name 'bake-web'\n", "/client.pem'\n",
		"validation_client_name 'chef-validator'\n", "/validation.pem'\n", "policy_name 'web'\npolicy_group 'bake'\n", "ssl_verify_mode :verify_none\n",
	} {
		if !strings.Contains(given["client.rb"], want) {
			t.Errorf("%q is missing from the configuration:\n%s", want, given["client.rb"])
		}
	}
	if given["validation.pem"] != "-----KEY-----" {
		t.Errorf("validation.pem = %q", given["validation.pem"])
	}
	knives := func(m *baketest.Machine) string {
		var kinds []string
		for _, call := range m.Calls() {
			if len(call.Args) > 3 && call.Args[0] == "/opt/chef/bin/knife" {
				kinds = append(kinds, strings.Join(call.Args[1:4], " "))
			}
		}
		return strings.Join(kinds, ", ")
	}
	if got := knives(m); got != "node delete bake-web, client delete bake-web" {
		t.Errorf("knife commands = %q, want removal of node and client", got)
	}
	nothingLeft(t, m)

	for name, test := range map[string]struct {
		change func(*provision.ChefClient)
		knives string
	}{
		"keeps both":   {func(c *provision.ChefClient) { c.KeepNode, c.KeepClient = true, true }, ""},
		"own client":   {func(c *provision.ChefClient) { c.ValidationKey, c.ClientKey = bake.Secret{}, bake.NewSecret("own") }, "node delete bake-web"},
		"keeps client": {func(c *provision.ChefClient) { c.KeepClient = true }, "node delete bake-web"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := chefMachine(t, baketest.Reply{})
			m.OnPrefix("/opt/chef/bin/knife", baketest.Reply{})
			c := chefServer()
			test.change(&c)
			run(t, m, c)
			if got := knives(m); got != test.knives {
				t.Errorf("knife commands = %q, want %q", got, test.knives)
			}
		})
	}

	// A missing node is an error only after a successful run.
	missing := baketest.Reply{Status: 100, Stderr: "ERROR: The object you are looking for could not be found\n"}
	m, _ = chefMachine(t, baketest.Reply{Status: 1})
	m.OnPrefix("/opt/chef/bin/knife", missing)
	if err := chefServer().Provision(t.Context(), m); err == nil || strings.Contains(err.Error(), "remove the node") || knives(m) == "" {
		t.Errorf("Provision() of a failed run = %v, want no error of knife", err)
	}
	m, _ = chefMachine(t, baketest.Reply{})
	m.OnPrefix("/opt/chef/bin/knife", missing)
	if err := chefServer().Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), "remove the node bake-web") {
		t.Errorf("Provision() = %v, want the error of knife", err)
	}
}

func TestChefValidate(t *testing.T) {
	zero := func(change func(*provision.ChefZero)) provision.ChefZero {
		c := provision.ChefZero{FS: cookbooks(), Cookbooks: []string{"cookbooks"}, RunList: []string{"web"}}
		change(&c)
		return c
	}
	client := func(change func(*provision.ChefClient)) provision.ChefClient {
		c := chefServer()
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		p    bake.Provisioner
		want []string
	}{
		"good":        {zero(func(*provision.ChefZero) {}), nil},
		"good client": {client(func(*provision.ChefClient) {}), nil},
		"nothing":     {provision.ChefZero{}, []string{"ChefZero.Cookbooks: is required"}},
		"directories": {zero(func(c *provision.ChefZero) { c.Cookbooks = append(c.Cookbooks, "x"); c.DataBags, c.Roles = "y", "z" }), []string{"ChefZero.Cookbooks: open x", "ChefZero.DataBags: open y", "ChefZero.Roles: open z"}},
		"cookbook":    {zero(func(c *provision.ChefZero) { c.RunList = []string{"recipe[nginx::x]"} }), []string{`ChefZero.RunList: cookbook "nginx" not found in ["cookbooks"]`}},
		"run list":    {zero(func(c *provision.ChefZero) { c.RunList = []string{"web", ""} }), []string{`ChefZero.RunList: invalid recipe or role ""`}},
		"environment": {zero(func(c *provision.ChefZero) { c.Environment = "prod" }), []string{"ChefZero.Environment: requires Environments"}},
		"values": {zero(func(c *provision.ChefZero) {
			c.Attributes, c.ExitCodes, c.Args, c.Env = "x", []int{256}, []string{"\x00"}, map[string]string{"": ""}
		}), []string{"ChefZero.Attributes: ", "ChefZero.ExitCodes: ", "ChefZero.Args: ", "ChefZero.Env: "}},
		"install":   {zero(func(c *provision.ChefZero) { c.Install = provision.Script{} }), []string{"ChefZero.Install: Script"}},
		"no server": {provision.ChefClient{}, []string{"ChefClient.ServerURL: is required", "ChefClient.NodeName: is required", "ChefClient: exactly one of ValidationKey"}},
		"server": {client(func(c *provision.ChefClient) {
			c.ServerURL, c.NodeName, c.PolicyGroup, c.ClientKey = "chef", "-a", "", bake.NewSecret("x")
		}), []string{`ChefClient.ServerURL: invalid server URL "chef"`, `ChefClient.NodeName: invalid node name "-a"`, "ChefClient: PolicyName and", "ChefClient: exactly one"}},
		"policy": {client(func(c *provision.ChefClient) { c.RunList = []string{"x"} }), []string{"ChefClient.PolicyName: conflicts with"}},
	} {
		t.Run(name, func(t *testing.T) { invalid(t, test.p, test.want) })
	}
}
