package provision_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

const oneKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE deploy's key"

func TestUser(t *testing.T) {
	m, h := embedded(t, sandbox.Options{})
	plain := provision.User{
		Name: "deploy", UID: 1500, Groups: []string{"www-data", "fresh"}, Home: "/srv/deploy", Shell: "/bin/sh", Comment: "It's deploy",
		AuthorizedKeys: []string{oneKey, "ssh-rsa B other\n"}, LockPassword: true,
	}
	provisionTwice(t, m, plain, "changed group fresh, created, member of www-data, member of fresh, an authorized key, an authorized key")
	line := "deploy:x:1500:1500:It's deploy:/srv/deploy:/bin/sh\n"
	if got := readDisk(t, h, "/etc/passwd"); !strings.HasSuffix(got, line) {
		t.Errorf("/etc/passwd = %q, want the line %q", got, line)
	}
	if got, want := readDisk(t, h, "/srv/deploy/.ssh/authorized_keys"), oneKey+"\nssh-rsa B other\n"; got != want {
		t.Errorf("authorized_keys = %q, want %q", got, want)
	}
	out, err := bake.Output(t.Context(), m, &bake.Cmd{Line: "cd /srv/deploy && stat -c '%a %U %G' .ssh .ssh/authorized_keys; id -nG deploy", Sudo: true})
	if want := "700 deploy deploy\n600 deploy deploy\ndeploy www-data fresh"; err != nil || out != want {
		t.Errorf("modes and groups = %q (error %v), want %q", out, err, want)
	}

	// Empty fields change nothing.
	provisionTwice(t, m, provision.User{Name: "deploy", Shell: "/bin/bash", Group: "www-data", AuthorizedKeys: []string{oneKey}}, "changed shell, group")
	line = "deploy:x:1500:33:It's deploy:/srv/deploy:/bin/bash\n"
	if got := readDisk(t, h, "/etc/passwd"); !strings.HasSuffix(got, line) {
		t.Errorf("/etc/passwd = %q, want the line %q", got, line)
	}

	// A last line without a newline stays a separate line.
	writeFiles(t, h, map[string]string{"/srv/deploy/.ssh/authorized_keys": "ssh-rsa C old"})
	provisionTwice(t, m, provision.User{Name: "deploy", AuthorizedKeys: []string{oneKey}}, "changed an authorized key")
	if got, want := readDisk(t, h, "/srv/deploy/.ssh/authorized_keys"), "ssh-rsa C old\n"+oneKey+"\n"; got != want {
		t.Errorf("authorized_keys = %q, want %q", got, want)
	}

	provisionTwice(t, m, provision.User{Name: "app", System: true}, "changed created")
	if _, err := h.FS().Stat("/home/app"); err == nil {
		t.Error("a system account has a home directory")
	}
	writeFiles(t, h, map[string]string{"/etc/shadow": "root:*:1::::::\napp:$6$hash:19000:0:99999:7:::\ndeploy:!:1::::::\n"})
	provisionTwice(t, m, provision.User{Name: "app", LockPassword: true}, "changed password locked")
}

// Names with a dot do not match other accounts and groups.
func TestUserWithDot(t *testing.T) {
	m, h := embedded(t, sandbox.Options{})
	run(t, m, provision.User{Name: "jane-doe", Groups: []string{"web-admin"}})
	provisionTwice(t, m, provision.User{Name: "jane.doe", Group: "web.admin"}, "changed group web.admin, created")
	out, err := bake.Output(t.Context(), m, bake.Sh("id -un jane.doe; id -gn jane.doe"))
	if want := "jane.doe\nweb.admin"; err != nil || out != want {
		t.Errorf("id printed %q (error %v), want %q\n%s", out, err, want, readDisk(t, h, "/etc/passwd"))
	}
}

func TestUserWithoutUsermod(t *testing.T) {
	m, _ := embedded(t, sandbox.Options{Missing: []string{"usermod"}})
	_, err := bakeMessages(t, m, provision.User{Name: "nobody", Shell: "/bin/sh"})
	if err == nil || !strings.Contains(err.Error(), "usermod not found: cannot change the shell of nobody to /bin/sh") {
		t.Errorf("Provision() = %v, want usermod not found", err)
	}
}

// BusyBox has other commands, which are faked here.
func TestUserOnBusyBox(t *testing.T) {
	var calls []string
	note := func(_ context.Context, p *sandbox.Process) int {
		calls = append(calls, strings.Join(p.Args, "|"))
		switch {
		case p.Args[0] == "adduser":
			return p.Run(t.Context(), "sh", "-c", "echo app:x:900:900:An app:/srv/app:/bin/sh >>/etc/passwd")
		case len(p.Args) < 4:
			return p.Run(t.Context(), "sh", "-c", "echo "+p.Args[len(p.Args)-1]+":x:900: >>/etc/group")
		}
		return 0
	}
	m, _ := embedded(t, sandbox.Options{
		Missing:  []string{"useradd", "usermod", "groupadd"},
		Commands: map[string]sandbox.Command{"adduser": note, "addgroup": note},
	})
	run(t, m, provision.User{Name: "app", System: true, Group: "app", Groups: []string{"staff"}, Home: "/srv/app", Shell: "/bin/sh", Comment: "An app", UID: 900})
	want := []string{"addgroup|-S|app", "adduser|-D|-S|-h|/srv/app|-s|/bin/sh|-g|An app|-u|900|-G|app|app", "addgroup|app|staff"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestUserValidate(t *testing.T) {
	invalid(t, provision.User{}, []string{"User.Name"})
	invalid(t, provision.User{
		Name: "-x", UID: -1, Group: "a:b", Groups: []string{"ok", "$(id)"}, Home: "home", Shell: "sh", Comment: "a:b",
		AuthorizedKeys: []string{"one\ntwo", " "},
	}, []string{"User.Name", "User.Group", "User.Groups", "User.UID", "User.Home", "User.Shell", "User.Comment", "AuthorizedKeys[0]", "AuthorizedKeys[1]"})
	invalid(t, provision.User{Name: "app", AuthorizedKeys: []string{"~/.ssh/id_ed25519.pub"}}, []string{"User.AuthorizedKeys[0]: \"~/.ssh/id_ed25519.pub\" is not a public key"})
	invalid(t, provision.User{Name: "app", System: true, AuthorizedKeys: []string{oneKey}}, []string{"User.AuthorizedKeys: requires Home for a System account"})
}

// systemd returns a fake systemctl for one unit.
func systemd(state map[string]bool, calls *[]string) sandbox.Command {
	return func(_ context.Context, p *sandbox.Process) int {
		verb := p.Args[1]
		switch verb {
		case "is-enabled":
			word := "disabled"
			switch {
			case state["masked"]:
				word = "masked"
			case state["enabled"]:
				word = "enabled"
			}
			_, _ = fmt.Fprintln(p.Stdout, word)
			if word != "enabled" {
				return 1
			}
			return 0
		case "is-active":
			if !state["active"] {
				return 3
			}
			return 0
		case "show":
			_, _ = fmt.Fprintln(p.Stdout, "NeedDaemonReload=no")
			return 0
		}
		*calls = append(*calls, strings.Join(p.Args[1:], " "))
		switch verb {
		case "enable", "disable":
			state["enabled"] = verb == "enable"
		case "mask", "unmask":
			state["masked"] = verb == "mask"
		case "start", "stop", "restart":
			state["active"] = verb != "stop"
		}
		return 0
	}
}

func TestService(t *testing.T) {
	for name, test := range map[string]struct {
		service provision.Service
		before  string // states of the unit
		offline bool
		want    string // reported changes
		calls   []string
	}{
		"enable and start": {provision.Service{Name: "nginx", Enable: true, Start: true}, "", false, "enabled, started", []string{"enable nginx.service", "start nginx.service"}},
		"disable and stop": {provision.Service{Name: "a.timer", Disable: true, Stop: true}, "enabled active", false, "disabled, stopped", []string{"disable a.timer", "stop a.timer"}},
		"mask":             {provision.Service{Name: "x", Mask: true}, "enabled", false, "masked", []string{"mask x.service"}},
		"unmask":           {provision.Service{Name: "php8.1-fpm", Unmask: true, Enable: true}, "masked", false, "unmasked, enabled", []string{"unmask php8.1-fpm.service", "enable php8.1-fpm.service"}},
		"offline":          {provision.Service{Name: "x", Enable: true, Start: true}, "", true, "enabled", []string{"enable x.service"}},
		"a unit":           {provision.Service{Name: "x", Unit: "[Service]\nExecStart=/bin/x 'y'\n[Install]\nWantedBy=multi-user.target\n", Enable: true}, "", false, "/etc/systemd/system/x.service, enabled", []string{"daemon-reload", "enable x.service"}},
		"a unit offline":   {provision.Service{Name: "x", Unit: "[Service]\nExecStart=/bin/x 'y'\n"}, "", true, "/etc/systemd/system/x.service", nil},
	} {
		t.Run(name, func(t *testing.T) {
			state, calls := map[string]bool{}, []string(nil)
			for word := range strings.FieldsSeq(test.before) {
				state[word] = true
			}
			m, h := embedded(t, sandbox.Options{Commands: map[string]sandbox.Command{"systemctl": systemd(state, &calls)}})
			if !test.offline {
				writeFiles(t, h, map[string]string{"/run/systemd/system/x": ""})
			}
			provisionTwice(t, m, test.service, "changed "+test.want)
			if diff := cmp.Diff(test.calls, calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if test.service.Unit != "" && readDisk(t, h, "/etc/systemd/system/x.service") != test.service.Unit {
				t.Error("the unit file differs from Unit")
			}
		})
	}
}

func TestServiceRestart(t *testing.T) {
	var calls []string
	m, h := embedded(t, sandbox.Options{Commands: map[string]sandbox.Command{"systemctl": systemd(map[string]bool{}, &calls)}})
	writeFiles(t, h, map[string]string{"/run/systemd/system/x": ""})
	for range 2 {
		run(t, m, provision.Service{Name: "x", Restart: true})
	}
	if len(calls) != 2 {
		t.Errorf("calls = %q, want two restarts", calls)
	}
	m, _ = embedded(t, sandbox.Options{Missing: []string{"systemctl"}})
	var exit *bake.ExitError
	if err := (provision.Service{Name: "x", Enable: true}).Provision(t.Context(), m); !errors.As(err, &exit) || !strings.Contains(err.Error(), "no systemd") {
		t.Errorf("Provision() = %v, want no systemd", err)
	}
}

func TestServiceValidate(t *testing.T) {
	invalid(t, provision.Service{}, []string{"Service.Name", "Service: nothing to do"})
	invalid(t, provision.Service{Name: "a/b", Enable: true, Disable: true, Mask: true, Unmask: true, Start: true, Stop: true, Restart: true, Unit: "\x00"}, []string{
		"Service.Name", "Enable: conflicts with Disable", "Mask: conflicts with Unmask", "Mask: conflicts with Enable", "Mask: conflicts with Unit",
		"Stop: conflicts with Start", "Stop: conflicts with Restart", "Mask: conflicts with Start and Restart", "Service.Enable: Unit has no [Install]", "Service.Unit",
	})
	invalid(t, provision.Service{Name: "x", Unit: "[Service]\nExecStart=/bin/x\n#[Install]\n", Enable: true}, []string{"Service.Enable: Unit has no [Install] section"})
	invalid(t, provision.Service{Name: "x", Unit: "[Service]\r\n[Install] \r\nWantedBy=x\r\n", Enable: true}, nil)
}

func TestHostname(t *testing.T) {
	m, h := embedded(t, sandbox.Options{})
	writeFiles(t, h, map[string]string{"/etc/cloud/cloud.cfg.d/05_x.cfg": ""})
	provisionTwice(t, m, provision.Hostname{Name: "db.example.com"},
		"changed /etc/hostname, /etc/hosts, /etc/cloud/cloud.cfg.d/99-bakestone-hostname.cfg, the running system")
	for name, want := range map[string]string{
		"/etc/hostname": "db.example.com\n",
		"/etc/hosts":    "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n127.0.1.1 db.example.com db\n",
		"/etc/cloud/cloud.cfg.d/99-bakestone-hostname.cfg": "preserve_hostname: true\n",
	} {
		if got := readDisk(t, h, name); got != want {
			t.Errorf("content of %s = %q, want %q", name, got, want)
		}
	}
	if got, err := bake.Output(t.Context(), m, bake.Sh("uname -n")); err != nil || got != "db.example.com" {
		t.Errorf("uname -n = %q (error %v), want db.example.com", got, err)
	}
	run(t, m, provision.Hostname{Name: "web"})
	if got := readDisk(t, h, "/etc/hosts"); strings.Contains(got, "db") || !strings.HasSuffix(got, "\n127.0.1.1 web\n") {
		t.Errorf("/etc/hosts = %q, want 127.0.1.1 web", got)
	}
	for _, bad := range []string{"", "a_b", "-a", "a..b", strings.Repeat("a", 65), "a b", "a'$(id)"} {
		invalid(t, provision.Hostname{Name: bad}, []string{"Hostname.Name"})
	}
}

func TestSysctl(t *testing.T) {
	m, h := embedded(t, sandbox.Options{})
	writeFiles(t, h, map[string]string{"/proc/sys/vm/swappiness": "60\n", "/proc/sys/net/ipv4/tcp_mem": "1\t2\t3\n", "/proc/sys/net/ipv4/conf/eth0.1/forwarding": "0\n"})
	p := provision.Sysctl{File: "60-web", Parameters: map[string]string{
		"vm.swappiness": "10", "net.ipv4.tcp_mem": "1  2 3", "net.nosuch.thing": "1", "net/ipv4/conf/eth0.1/forwarding": "1",
	}}
	provisionTwice(t, m, p, "changed /etc/sysctl.d/60-web.conf, net/ipv4/conf/eth0.1/forwarding, vm.swappiness")
	want := "net.ipv4.tcp_mem = 1 2 3\nnet.nosuch.thing = 1\nnet/ipv4/conf/eth0.1/forwarding = 1\nvm.swappiness = 10\n"
	if got := readDisk(t, h, "/etc/sysctl.d/60-web.conf"); got != want {
		t.Errorf("content of the file = %q, want %q", got, want)
	}
	if got := readDisk(t, h, "/proc/sys/vm/swappiness"); got != "10\n" {
		t.Errorf("vm.swappiness = %q, want 10", got)
	}
	invalid(t, provision.Sysctl{}, []string{"Sysctl.File", "Sysctl.Parameters: is required"})
	invalid(t, provision.Sysctl{File: "../x", Parameters: map[string]string{"a b": "1", "nodots": "1", "vm.x": " ", "vm.y": "1\n2"}},
		[]string{"Sysctl.File", `parameter "a b"`, `parameter "nodots"`, `of vm.x`, `of vm.y`})
}
