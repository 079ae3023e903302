package provision_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

// Every type that runs as the login names the field that gives it root's permissions.
func TestDeniedNamesField(t *testing.T) {
	tree := fstest.MapFS{"a": {Data: []byte("1")}}
	to := filepath.Join(t.TempDir(), "x")
	for name, test := range map[string]struct {
		with func(sudo bool) bake.Provisioner
		want string
	}{
		"File": {func(sudo bool) bake.Provisioner { return provision.File{Content: "x", Dest: "/etc/new/x", Sudo: sudo} }, "set File.Sudo if it needs root"},
		"owner": {func(sudo bool) bake.Provisioner {
			return provision.File{Content: "x", Dest: "/tmp/x", Owner: "root", Sudo: sudo}
		}, "set File.Sudo if it needs root"},
		"Dir":      {func(sudo bool) bake.Provisioner { return provision.Dir{FS: tree, Dest: "/etc", Sudo: sudo} }, "set Dir.Sudo if it needs root"},
		"Template": {func(sudo bool) bake.Provisioner { return provision.Template{Content: "x", Dest: "/etc/t", Sudo: sudo} }, "set Template.Sudo if it needs root"},
		"Download": {func(sudo bool) bake.Provisioner { return provision.Download{Source: "/etc/key", Dest: to, Sudo: sudo} }, "set Download.Sudo if it needs root"},
		"Script":   {func(sudo bool) bake.Provisioner { return provision.Script{Content: "echo x >/etc/key", Sudo: sudo} }, "set Script.Sudo if the script needs root"},
		"working dir": {func(sudo bool) bake.Provisioner {
			return provision.Script{Content: "true", Dir: "/private", Sudo: sudo}
		}, "check that Script.Dir exists, and set Script.Sudo if only root can enter it"},
		"script's dir": {func(sudo bool) bake.Provisioner {
			return provision.Script{Content: "true", RemoteDir: "/etc", Sudo: sudo}
		}, "set Script.RemoteDir to a directory that the login can write, or Script.Sudo"},
		"in sequence": {func(sudo bool) bake.Provisioner {
			return provision.Sequence{provision.Retry{Provisioner: provision.File{Content: "x", Dest: "/etc/x", Sudo: sudo}, Attempts: 1}}
		}, "set File.Sudo if it needs root"},
	} {
		t.Run(name, func(t *testing.T) {
			m, h := embedded(t, sandbox.Options{})
			if err := h.FS().WriteFile("/etc/key", []byte("k"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := h.FS().Mkdir("/private", 0o700); err != nil {
				t.Fatal(err)
			}
			err := test.with(false).Provision(t.Context(), m)
			if err == nil || strings.Count(err.Error(), "\n\t"+test.want) != 1 {
				t.Errorf("Provision() = %v, want %q once", err, test.want)
			}
			if err := test.with(true).Provision(t.Context(), m); err != nil {
				t.Errorf("with Sudo: Provision() = %v, want nil", err)
			}
		})
	}
}

// There is no remedy to name for other failures, with Sudo, and for a login as root.
func TestDeniedWithoutRemedy(t *testing.T) {
	login := func() *baketest.Machine { return baketest.NewMachine(nil) }
	asRoot := func() *baketest.Machine {
		return baketest.NewMachine(&baketest.MachineOptions{Facts: bake.Facts{User: "root"}})
	}
	const denied = "sh: cannot create /etc/motd: Permission denied\n"
	for name, test := range map[string]struct {
		m      *baketest.Machine
		script provision.Script
		stderr string
		want   bool
	}{
		"login":         {login(), provision.Shell("make"), denied, true},
		"package":       {login(), provision.Shell("make"), "E: Unable to acquire the dpkg frontend lock, are you root?\n", true},
		"sudo":          {login(), provision.Shell("make").AsRoot(), denied, false},
		"root":          {asRoot(), provision.Shell("make"), denied, false},
		"other failure": {login(), provision.Shell("make"), "make: *** No targets\n", false},
		"git":           {login(), provision.Shell("make"), "git@host: Permission denied (publickey).\n", false},
	} {
		test.m.OnScript("make", baketest.Reply{Status: 1, Stderr: test.stderr})
		err := test.script.Provision(t.Context(), test.m)
		if err == nil || strings.Contains(err.Error(), "Script.Sudo") != test.want {
			t.Errorf("%s: Provision() = %v, want a remedy: %v", name, err, test.want)
		}
	}
}

func TestDeniedOnWindows(t *testing.T) {
	for name, test := range map[string]struct {
		script provision.WindowsScript
		want   bool
	}{
		"login":  {provision.PowerShell("Stop-Service x"), true},
		"system": {provision.PowerShell("Stop-Service x").AsSystem(), false},
	} {
		m := baketest.NewMachine(nil)
		m.OnPrefix("powershell.exe", baketest.Reply{Status: 1, Stderr: "Stop-Service : Access is denied\n"})
		err := test.script.Provision(t.Context(), m)
		if err == nil || strings.Contains(err.Error(), "set WindowsScript.Elevated, or use AsSystem") != test.want {
			t.Errorf("%s: Provision() = %v, want a remedy: %v", name, err, test.want)
		}
	}
}

func TestDeniedTaskNamesBecome(t *testing.T) {
	needSSH(t)
	program := fakeProgram(t, `echo '{"task": "write motd", "reached": true, "messages": ["Destination /etc not writable: Permission denied"]}' >>"$BAKESTONE_ANSIBLE_RESULTS"; exit 2`, "ansible-playbook")
	for user, want := range map[string]bool{"ubuntu": true, "root": false} {
		m := baketest.NewMachine(&baketest.MachineOptions{SSH: &bake.SSHAccess{Host: "127.0.0.1", Port: 22, User: user, KnownHosts: "x\n", Key: bake.NewSecret("-----KEY-----")}})
		a := provision.Ansible{Program: program, Dir: files(t, map[string]string{"a.yml": ""}), Playbooks: []string{"a.yml"}}
		err := a.Provision(t.Context(), m)
		if err == nil || strings.Contains(err.Error(), "\n\tset Ansible.Become if the task needs root") != want {
			t.Errorf("login %s: Provision() = %v, want a remedy: %v", user, err, want)
		}
		a.Become = true
		if err := a.Provision(t.Context(), m); err == nil || strings.Contains(err.Error(), "set Ansible.Become") {
			t.Errorf("login %s: with Become: Provision() = %v, want no remedy", user, err)
		}
	}
}
