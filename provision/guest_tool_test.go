package provision_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// nothingOnGuest fails t if processes or staging directories remain on the machine.
func nothingOnGuest(t *testing.T, m bake.Machine) {
	t.Helper()
	noProcesses(t, m)
	if got := outputOnGuest(t, m, "ls -d /tmp/bakestone-* 2>/dev/null || true"); got != "" {
		t.Errorf("directories left on the machine: %s", got)
	}
}

// cancelOnGuest provisions m, cancels the context once a command line with the prefix
// begun runs on the machine, and checks that nothing remains.
func cancelOnGuest(t *testing.T, m bake.Machine, p bake.Provisioner, begun string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := bakeReport(ctx, t, m, p, nil)
		done <- err
	}()
	for range 1000 {
		if strings.Contains("\n"+outputOnGuest(t, m, "ps -e -o args="), "\n"+begun) {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Provision() = %v, want %v", err, context.Canceled)
	}
	nothingOnGuest(t, m)
}

// wantExitError provisions m and checks the exit status and texts of the error.
func wantExitError(t *testing.T, m bake.Machine, p bake.Provisioner, status int, wants ...string) {
	t.Helper()
	_, err := bakeReport(t.Context(), t, m, p, nil)
	var exit *bake.ExitError
	if !errors.As(err, &exit) || exit.Status != status {
		t.Errorf("Provision() = %v, want status %d", err, status)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Provision() = %v\nwant it to contain %q", err, want)
		}
	}
	nothingOnGuest(t, m)
}

const manifest = `
class { 'greeting': }
group { 'bakers': ensure => present, gid => 4242 }
-> user { 'baker2': ensure => present, gid => 4242, managehome => true }
file { '/etc/fact': content => "${facts['oven']} ${facts['hidden_fact'].length}\n" }
`

func puppetSite() map[string]string {
	return map[string]string{
		"site.pp":                            manifest,
		"modules/greeting/manifests/init.pp": "class greeting (String $text) { file { '/etc/greeting': content => \"${text}\\n\", mode => '0640' } }\n",
		"hiera/hiera.yaml":                   "{version: 5, defaults: {datadir: data, data_hash: yaml_data}, hierarchy: [{name: common, path: common.yaml}]}\n",
		"hiera/data/common.yaml":             "greeting::text: from Hiera\n",
	}
}

func TestPuppetApply(t *testing.T) {
	testenv.Need(t, "puppet")
	m := guest(t, nil, nil)
	dir := files(t, puppetSite())
	p := provision.PuppetApply{
		Manifest: dir + "/site.pp", Modules: []string{dir + "/modules"}, Hiera: dir + "/hiera",
		Facts: map[string]string{"oven": "hot stone"}, Secrets: bake.Secrets(map[string]string{"FACTER_hidden_fact": "correct-horse"}),
		Args: []string{"--show_diff"},
	}
	first, err := bakeReport(t.Context(), t, m, p, nil, "correct-horse")
	if err != nil {
		t.Fatal(err)
	}
	got := outputOnGuest(t, m, "cat /etc/greeting /etc/fact; stat -c %a /etc/greeting; id -gn baker2; ls -d /home/baker2")
	if want := "from Hiera\nhot stone 13\n640\nbakers\n/home/baker2"; got != want {
		t.Errorf("command output = %q, want %q", got, want)
	}
	if !strings.Contains(first.output(), "User[baker2]/ensure: created") {
		t.Errorf("output is missing from events:\n%s", first.output())
	}
	nothingOnGuest(t, m)

	again, err := bakeReport(t.Context(), t, m, p, nil)
	if err != nil || strings.Contains(again.output(), "created") || strings.Contains(again.output(), "changed") {
		t.Errorf("second Provision() = %v, output:\n%s", err, again.output())
	}
	for name, test := range map[string]struct {
		manifest string
		status   int
		want     string
	}{
		"resource": {"exec { '/bin/false': }", 4, "resources failed: "},
		"some":     {"file { '/etc/x': content => 'x' } exec { '/bin/false': }", 6, "some resources failed, others changed: "},
		"syntax":   {"file {", 1, "Syntax error at end of input"},
		"class":    {"include missing", 1, "Could not find class ::missing"},
	} {
		t.Run(name, func(t *testing.T) {
			wantExitError(t, m, provision.PuppetApply{Manifest: files(t, map[string]string{"site.pp": test.manifest}) + "/site.pp"}, test.status, test.want)
		})
	}
	cancelOnGuest(t, m, provision.PuppetApply{
		Manifest: files(t, map[string]string{"site.pp": "exec { '/bin/sleep 1000': }"}) + "/site.pp",
	}, "/bin/sleep 1000")
}

// Puppet is missing before and after the run.
func TestPuppetInstallAndRemove(t *testing.T) {
	testenv.Need(t, "puppet")
	m := guest(t, nil, nil)
	outputOnGuest(t, m, "dpkg --purge puppet-agent")
	p := provision.PuppetApply{Manifest: files(t, map[string]string{"site.pp": "file { '/etc/baked': content => 'yes' }"}) + "/site.pp"}
	if err := p.Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), "puppet not found on the machine: set PuppetApply.Install") {
		t.Errorf("Provision() without Puppet = %v, want a hint", err)
	}
	p.Install = provision.Packages{Install: []string{"puppet-agent"}, NoRecommends: true, NoRefresh: true}
	p.Remove = provision.Packages{Remove: []string{"puppet-agent"}, Purge: true}
	if _, err := bakeReport(t.Context(), t, m, p, nil); err != nil {
		t.Fatal(err)
	}
	if got := outputOnGuest(t, m, "cat /etc/baked; command -v puppet || echo; dpkg -l puppet-agent 2>/dev/null | grep ^ii || true"); got != "yes" {
		t.Errorf("command output = %q", got)
	}
	p.Install = provision.Shell("echo cannot >&2; exit 3").AsRoot()
	wantExitError(t, m, p, 3, "install puppet: ", "cannot")
}

func saltTree() map[string]string {
	return map[string]string{
		"states/top.sls": "base:\n  'rails-*': [motd, app.users]\n",
		"states/motd.sls": `
/etc/motd:
  file.managed:
    - source: salt://files/motd.j2
    - template: jinja
/etc/token:
  file.managed:
    - contents_pillar: token
    - mode: "0600"
    - show_changes: false
`,
		"states/files/motd.j2":      "{{ grains.id }} {{ grains.color }} {{ pillar.greeting }} {{ pillar.number }}\n",
		"states/app/users/init.sls": "app:\n  user.present:\n    - uid: 4242\n    - home: /srv/app\n",
		"states/broken.sls":         "break it:\n  cmd.run:\n    - name: echo to the error >&2; exit 7\nfine:\n  test.nop: []\n",
		"states/bad.sls":            "{{ pillar.nothing.there }}:\n  test.nop: []\n",
		"states/slow.sls":           "sleep 1000:\n  cmd.run: []\n",
		"pillar/top.sls":            "base:\n  '*': [common]\n",
		"pillar/common.sls":         "greeting: hello\nnumber: 1\n",
		"minion":                    "hash_type: sha512\nid: not this\n",
	}
}

func TestSalt(t *testing.T) {
	testenv.Need(t, "salt")
	m := guest(t, nil, nil)
	const config = "id: its own\nmaster: elsewhere\n"
	outputOnGuest(t, m, "mkdir -p /etc/salt; printf '"+strings.ReplaceAll(config, "\n", `\n`)+"' >/etc/salt/minion")
	dir := files(t, saltTree())
	const token = `a "secret" {{ value }}` //nolint:gosec // made up
	s := provision.Salt{
		Program: "/opt/salt/bin/salt-call", States: dir + "/states", Pillar: dir + "/pillar", ID: "rails-base",
		Grains: map[string]string{"color": "brown"}, PillarData: struct {
			Number int `json:"number"`
		}{2},
		PillarSecrets: bake.Secrets(map[string]string{"token": token}), MinionConfig: dir + "/minion",
	}
	first, err := bakeReport(t.Context(), t, m, s, nil, token)
	if err != nil {
		t.Fatal(err)
	}
	got := outputOnGuest(t, m, "cat /etc/motd /etc/token; stat -c %a /etc/token; getent passwd app | cut -d: -f3,6")
	if want := "rails-base brown hello 2\n" + token + "\n600\n4242:/srv/app"; got != want {
		t.Errorf("command output = %q, want %q", got, want)
	}
	if !strings.Contains(first.text.String(), "salt: 0 of 3 states failed, 3 made changes") {
		t.Errorf("summary is missing from events:\n%s", first.text.String())
	}
	if got := outputOnGuest(t, m, "cat /etc/salt/minion; ls /etc/salt /var/cache/salt /var/log/salt 2>/dev/null || true"); got != config+"/etc/salt:\nminion" && got != config+"minion" {
		t.Errorf("files of Salt on the machine = %q, want only the original minion", got)
	}
	nothingOnGuest(t, m)

	again, err := bakeReport(t.Context(), t, m, s, nil)
	if err != nil || !strings.Contains(again.text.String(), "0 of 3 states failed, 0 made changes") {
		t.Errorf("second Provision() = %v, output:\n%s", err, again.text.String())
	}
	s.Apply = []string{"broken"}
	wantExitError(t, m, s, 2, "1 of 2 states failed, 1 made changes: ", "break it (cmd.run in broken)", "exit status 2")
	s.Apply = []string{"bad"}
	wantExitError(t, m, s, 1, "the states could not be rendered: ", "Rendering SLS 'base:bad' failed")
	s.Apply = []string{"slow"}
	cancelOnGuest(t, m, s, "sleep 1000")
}

func TestAnsibleLocal(t *testing.T) {
	m := guest(t, nil, nil)
	testenv.Need(t, "ansible")
	const token, vault = `a "secret" {{ not a template }} 'token'`, "open sesame, please" //nolint:gosec // made up
	a := provision.AnsibleLocal{Ansible: provision.Ansible{
		Program: "/opt/ansible/bin/ansible-playbook", Dir: files(t, withVault(t, testenv.Need(t, "ansible"), vault)), Playbooks: []string{"site.yml"},
		Host: "oven", Groups: []string{"web"}, HostVars: map[string]string{"color": "brown"}, Vars: map[string][]int{"list": {1, 2}},
		SecretVars: bake.Secrets(map[string]string{"token": token}), VaultPassword: bake.NewSecret(vault), SkipTags: []string{"never-here"},
	}}
	a.Program = "ansible-playbook"
	a.Install = provision.Shell("ln -s /opt/ansible/bin/ansible-playbook /usr/local/bin/").AsRoot()
	a.Remove = provision.Shell("rm /usr/local/bin/ansible-playbook").AsRoot()
	if _, err := bakeReport(t.Context(), t, m, a, nil, token, vault); err != nil {
		t.Fatal(err)
	}
	if got := outputOnGuest(t, m, "cat /etc/greeting /etc/token; id -u app; command -v ansible-playbook || true"); got != "oven 8080 1+2 brown\n"+token+"|from the vault4242" {
		t.Errorf("command output = %q", got)
	}
	nothingOnGuest(t, m)

	a.Program, a.Install, a.Remove = "/opt/ansible/bin/ansible-playbook", nil, nil
	again, err := bakeReport(t.Context(), t, m, a, nil)
	if err != nil || !strings.Contains(again.output(), "changed=0") {
		t.Errorf("second Provision() = %v, output:\n%s", err, again.output())
	}
	play := func(tasks string) provision.AnsibleLocal {
		a := provision.AnsibleLocal{Ansible: a.Ansible}
		a.Dir = files(t, map[string]string{"site.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n    " + tasks + "\n"})
		return a
	}
	wantExitError(t, m, play("- {name: break it, shell: echo to the error >&2; exit 7}"), 2, `task "break it" failed: non-zero return code`, "to the error")
	cancelOnGuest(t, m, play("- {command: sleep 1000}"), "sleep 1000")
	nobody := play("- ping:")
	nobody.Dir = files(t, map[string]string{"site.yml": "- hosts: db\n  tasks: [ping: ]\n"})
	if err := nobody.Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), "no play of [site.yml]") {
		t.Errorf("Provision() of a play for another host = %v, want no matching play", err)
	}
}
