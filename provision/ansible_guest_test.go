package provision_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// ansible returns the path of ansible-playbook and the directory for temporary
// files. It sets HOME to a directory with an .ansible.cfg, which must be ignored.
func ansible(t *testing.T) (program, tmp string) {
	t.Helper()
	program = testenv.Need(t, "ansible")
	tmp = t.TempDir()
	t.Setenv("TMPDIR", tmp)
	home := files(t, map[string]string{".ansible.cfg": "[defaults]\nhost_key_checking = False\nstdout_callback = none_such\n"})
	t.Setenv("HOME", home)
	return program, tmp
}

// playbooks returns playbooks with roles and variables.
func playbooks() map[string]string {
	return map[string]string{
		"site.yml": `
- hosts: web
  roles: [greeting]
  tasks:
    - name: make the user of the application
      user: {name: app, uid: 4242, shell: /usr/sbin/nologin}
      tags: [users]
    - name: keep the token
      copy: {dest: /etc/token, content: "{{ token }}|{{ vaulted }}", mode: "0600"}
    - name: is left out
      file: {path: /etc/left-out, state: touch}
      tags: [never-here]
    - name: who am I
      command: id -u
      changed_when: false
      register: who
    - name: remember who
      copy: {dest: /etc/who, content: "{{ who.stdout }}"}
`,
		"last.yml":                             "- hosts: all\n  gather_facts: false\n  tasks:\n    - lineinfile: {path: /etc/profile, line: 'UMASK=027'}\n",
		"group_vars/web.yml":                   "listen: 8080\n",
		"roles/greeting/tasks/main.yml":        "- template: {src: greeting.j2, dest: /etc/greeting}\n",
		"roles/greeting/templates/greeting.j2": "{{ inventory_hostname }} {{ listen }} {{ list | join('+') }} {{ color }}\n",
	}
}

func TestAnsible(t *testing.T) {
	program, tmp := ansible(t)
	m := guest(t, nil, nil)
	const token, vault = `a "secret" {{ not a template }} 'token'`, "open sesame, please" //nolint:gosec // made up
	a := provision.Ansible{
		Program: program, Dir: files(t, withVault(t, program, vault)), Playbooks: []string{"site.yml", "last.yml"},
		Host: "oven", Groups: []string{"web"}, Become: true,
		HostVars: map[string]string{"color": "brown"},
		Vars: struct {
			List []int `json:"list"`
		}{[]int{1, 2}},
		SecretVars:    bake.Secrets(map[string]string{"token": token}),
		SkipTags:      []string{"never-here"},
		VaultPassword: bake.NewSecret(vault),
		Args:          []string{"--diff"},
	}
	first, err := bakeReport(t.Context(), t, m, a, nil, token, vault)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"/etc/greeting": "oven 8080 1+2 brown", "/etc/token": token + "|from the vault", "/etc/who": "0",
	} {
		if got := outputOnGuest(t, m, "cat "+file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if got := outputOnGuest(t, m, "id -u app; stat -c %a /etc/token; tail -1 /etc/profile; ls /etc/left-out 2>&1 | tail -c 10"); got != "4242\n600\nUMASK=027\ndirectory" {
		t.Errorf("command output = %q", got)
	}
	if !strings.Contains(first.output(), "TASK [make the user of the application]") || !strings.Contains(first.output(), "changed=4") {
		t.Errorf("output is missing from events:\n%s", first.output())
	}
	nothingOnHost(t, tmp)
	noProcesses(t, m)

	again, err := bakeReport(t.Context(), t, m, a, nil)
	if err != nil || !strings.Contains(again.output(), "changed=0") {
		t.Errorf("second Provision() = %v, output:\n%s", err, again.output())
	}
}

// withVault returns playbooks with an encrypted variable.
func withVault(t *testing.T, program, password string) map[string]string {
	t.Helper()
	dir := files(t, map[string]string{"password": password + "\n", "vars.yml": "vaulted: from the vault\n"})
	run(t, nil, provision.Local{Dir: dir, Args: []string{
		filepath.Join(filepath.Dir(program), "ansible-vault"), "encrypt", "--vault-password-file", "password", "vars.yml",
	}})
	encrypted, err := os.ReadFile(filepath.Join(dir, "vars.yml"))
	if err != nil {
		t.Fatal(err)
	}
	with := playbooks()
	with["host_vars/oven.yml"] = string(encrypted)
	return with
}

func TestAnsibleFails(t *testing.T) {
	program, tmp := ansible(t)
	m := guest(t, nil, nil)
	tests := map[string]struct {
		play   string
		change func(*provision.Ansible)
		status int
		want   []string
	}{
		"a task": {
			play: `
    - name: rescued
      block: [{command: /bin/false}]
      rescue: [{debug: {msg: it did}}]
    - name: break it
      shell: echo to the output; echo to the error >&2; exit 7
`,
			status: 2, want: []string{`task "break it" failed: non-zero return code`, "to the error", "to the output", "exit status 2"},
		},
		"a module": {
			play:   "    - {name: no such group, user: {name: app, group: missing}}\n",
			status: 2, want: []string{`task "no such group" failed: Group missing does not exist`},
		},
		"an item": {
			play:   "    - {name: many, command: 'test {{ item }} = a', loop: [a, b]}\n",
			status: 2, want: []string{`task "many" failed: non-zero return code`},
		},
		"without a log": {
			play:   "    - {name: hush, command: 'ls {{ token }}', no_log: true}\n",
			status: 2, want: []string{`task "hush" failed: the output has been hidden`},
		},
		"with a secret in its message": {
			play:   "    - {name: babble, fail: {msg: 'it is {{ token }}'}}\n",
			status: 2, want: []string{`task "babble" failed: it is [redacted]`},
		},
		"undefined": {play: "    - {name: undefined, debug: {msg: '{{ nothing }}'}}\n", status: 2, want: []string{`task "undefined" failed`, "'nothing' is undefined"}},
		"syntax":    {play: "    - {no_such_module: {}}\n", status: 4, want: []string{"a file could not be parsed", "no_such_module"}},
		"options":   {play: "    - ping:\n", change: func(a *provision.Ansible) { a.Args = []string{"--no-such-option"} }, status: 2, want: []string{"invalid options"}},
		"another user": {
			play:   "    - ping:\n",
			change: func(a *provision.Ansible) { a.HostVars = map[string]string{"ansible_user": "stranger"} },
			status: 4, want: []string{`task "ping" could not reach the machine`, "Permission denied"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := provision.Ansible{
				Program: program, Dir: files(t, map[string]string{"play.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n" + test.play}), Playbooks: []string{"play.yml"},
				SecretVars: bake.Secrets(map[string]string{"token": "correct-horse"}),
			}
			if test.change != nil {
				test.change(&a)
			}
			_, err := bakeReport(t.Context(), t, m, a, nil, "correct-horse")
			var exit *bake.ExitError
			if !errors.As(err, &exit) || exit.Status != test.status {
				t.Fatalf("Provision() = %v, want status %d", err, test.status)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Provision() = %v\nwant %q in it", err, want)
				}
			}
			nothingOnHost(t, tmp)
		})
	}

	a := provision.Ansible{Program: program, Dir: files(t, playbooks()), Playbooks: []string{"site.yml"}, Groups: []string{"wep"}}
	if err := a.Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), "no play of [site.yml] matches host default") {
		t.Errorf("Provision() of a play for another group = %v, want no matching play", err)
	}
}

// The context ends while a task runs as root, with a child in another session.
func TestAnsibleCanceled(t *testing.T) {
	program, tmp := ansible(t)
	for name, opts := range map[string]*testenv.GuestOptions{"sudo": nil, "sudo with a password": {AskSudo: true}} {
		t.Run(name, func(t *testing.T) {
			m := guest(t, opts, func(c *sshmachine.Config) { c.SudoPassword = bake.NewSecret(testenv.GuestPassword) })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a := provision.Ansible{
				Program: program, Become: true, Playbooks: []string{"play.yml"},
				Dir: files(t, map[string]string{"play.yml": `
- hosts: all
  gather_facts: false
  tasks:
    - name: wait
      shell: trap "" TERM; setsid sh -c 'sleep 1000; sleep 1000' & sleep 1000; sleep 1000
`}),
			}
			_, err := bakeReport(ctx, t, m, a, func(e bake.Event) {
				if strings.HasPrefix(e.Text, "TASK [wait]") {
					go func() {
						// Ansible prints the task's name before it starts the task.
						for range 100 {
							if strings.Count(outputOnGuest(t, m, "ps -e -o args="), "\nsleep 1000") > 1 {
								break
							}
						}
						cancel()
					}()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Provision() = %v, want %v", err, context.Canceled)
			}
			nothingOnHost(t, tmp)
			noProcesses(t, m)
		})
	}
}

func TestAnsibleLogins(t *testing.T) {
	program, tmp := ansible(t)
	password := bake.NewSecret(testenv.GuestPassword)
	for name, test := range map[string]struct {
		opts   testenv.GuestOptions
		change func(*sshmachine.Config)
	}{
		"sudo with a password": {testenv.GuestOptions{AskSudo: true}, func(c *sshmachine.Config) { c.SudoPassword = password }},
		"a password": {testenv.GuestOptions{PasswordLogin: true}, func(c *sshmachine.Config) {
			c.Auth = []sshmachine.Auth{sshmachine.Password(password)}
		}},
		"custom dialer": {testenv.GuestOptions{}, func(c *sshmachine.Config) {
			addr := c.Addr
			c.Addr = "oven.invalid:22"
			c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := guest(t, &test.opts, test.change)
			a := provision.Ansible{
				Program: program, Become: true, Playbooks: []string{"play.yml"},
				Dir: files(t, map[string]string{
					"play.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n    - copy: {src: big, dest: /etc/big}\n",
					"big":      strings.Repeat("x", 1<<20),
				}),
			}
			if _, err := bakeReport(t.Context(), t, m, a, nil, testenv.GuestPassword); err != nil {
				t.Fatal(err)
			}
			if got := outputOnGuest(t, m, "stat -c '%s %U' /etc/big"); got != "1048576 root" {
				t.Errorf("stat of the copied file = %q, want 1048576 root", got)
			}
			nothingOnHost(t, tmp)
		})
	}
}

func TestAnsibleGalaxy(t *testing.T) {
	program, tmp := ansible(t)
	m := guest(t, nil, nil)
	shelf := t.TempDir()
	role := filepath.Join(shelf, "baker.tar.gz")
	archive(t, role, map[string]string{
		"baker/tasks/main.yml": "- copy: {dest: /etc/from-role, content: yes indeed}\n",
		"baker/meta/main.yml":  "galaxy_info: {author: me, description: bakes, license: none, min_ansible_version: '2.14', platforms: []}\n",
	})
	a := provision.Ansible{
		Program: program, Become: true, Playbooks: []string{"play.yml"}, Requirements: []string{"roles.yml", "collections.yml"},
		FS: fstest.MapFS{
			"roles.yml":                       {Data: []byte("- {src: 'file://" + role + "', name: baker}\n")},
			"collections.yml":                 {Data: []byte("collections: [{name: ./house, type: dir}]\n")},
			"play.yml":                        {Data: []byte("- hosts: all\n  gather_facts: false\n  roles: [baker, oven.house.warm]\n")},
			"house/galaxy.yml":                {Data: []byte("{namespace: oven, name: house, version: 1.0.0, readme: README.md, authors: [me]}")},
			"house/README.md":                 {Data: []byte("none")},
			"house/roles/warm/tasks/main.yml": {Data: []byte("- copy: {dest: /etc/from-collection, content: it too}\n")},
		},
	}
	if _, err := bakeReport(t.Context(), t, m, a, nil); err != nil {
		t.Fatal(err)
	}
	if got := outputOnGuest(t, m, "cat /etc/from-role; echo; cat /etc/from-collection"); got != "yes indeed\nit too" {
		t.Errorf("command output = %q", got)
	}
	nothingOnHost(t, tmp)

	a.FS = fstest.MapFS{"play.yml": {}, "roles.yml": {Data: []byte("- {src: 'file:///no/such/role.tar.gz', name: baker}\n")}}
	a.Requirements = a.Requirements[:1]
	var exit *bake.ExitError
	if err := a.Provision(t.Context(), m); !errors.As(err, &exit) || !strings.Contains(err.Error(), "install requirements of roles.yml") {
		t.Errorf("Provision() with a missing role = %v, want an *ExitError of the requirements", err)
	}
}

func archive(t *testing.T, to string, contents map[string]string) {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for name, content := range contents {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close(), os.WriteFile(to, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}
