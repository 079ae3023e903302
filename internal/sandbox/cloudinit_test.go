package sandbox_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv/pack"
)

const multipart = `Content-Type: multipart/mixed; boundary="outer"
MIME-Version: 1.0

--outer
Content-Type: text/cloud-config; charset="us-ascii"
Content-Disposition: attachment; filename="config.yaml"

#cloud-config
hostname: from-config
runcmd:
  - echo runcmd >>/order
  - [sh, -c, 'echo "list $0" >>/order', 'with space']
bootcmd:
  - echo bootcmd >>/order
--outer
Content-Type: multipart/mixed; boundary="inner"

--inner
Content-Type: text/x-shellscript
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="20-script"

IyEvYmluL3NoCmVjaG8gIiQwIiA+Pi9vcmRlcgo=
--inner--
--outer
Content-Type: text/cloud-boothook

#cloud-boothook
#!/bin/sh
echo "boothook $INSTANCE_ID" >>/order
--outer--
`

func TestUserData(t *testing.T) {
	t.Parallel()
	const script = "#!/bin/sh\necho hello from $(whoami) >/made\necho to the console\n"
	for _, c := range []struct {
		name    string
		data    []byte
		line    string
		out     string
		console string
	}{
		{name: "script", data: []byte(script), line: "cat /made; cloud-init status", out: "hello from root\nstatus: done\n", console: "to the console"},
		{name: "gzip", data: []byte(pack.Gzip(t, script)), line: "cat /made", out: "hello from root\n"},
		{name: "base64", data: []byte(base64.StdEncoding.EncodeToString([]byte(script))), line: "cat /made", out: "hello from root\n"},
		{name: "multipart", data: []byte(multipart), line: "cat /order; hostname", out: "boothook i-7\nbootcmd\nruncmd\nlist with space\n/var/lib/cloud/instances/i-7/scripts/20-script\nfrom-config\n"},
		{name: "part of an unknown kind", data: []byte(strings.Replace(multipart, "--outer\n", "--outer\nContent-Type: text/jinja2\n\n## template: jinja\n#cloud-config\n--outer\n", 1)), line: "hostname; cloud-init status", out: "from-config\nstatus: error\n", console: "not supported by this machine"},
		{name: "gzipped multipart", data: []byte(pack.Gzip(t, multipart)), line: "hostname; cat /etc/hostname", out: "from-config\nfrom-config\n"},
		{name: "failing script", data: []byte("#!/bin/sh\nexit 3\n"), line: "cloud-init status --long || echo $?", out: "status: error\nerrors: script part-001 failed with exit status 3\n1\n", console: "failed with exit status 3"},
		{name: "write_files", data: []byte("#cloud-config\nwrite_files:\n- {path: /a/b, content: \"x\\n\", permissions: '0600', owner: 'ubuntu:adm'}\n- {path: /a/b, content: eQo=, encoding: b64, append: true}\n- {path: /z, encoding: gz+b64, content: " + base64.StdEncoding.EncodeToString([]byte(pack.Gzip(t, "zipped"))) + "}\n"), line: "cat /a/b; stat -c '%a %U:%G' /a/b; cat /z", out: "x\ny\n644 ubuntu:adm\nzipped"},
		{name: "users", data: []byte("#cloud-config\ngroups: [ops]\nusers:\n- default\n- name: deploy\n  groups: ops, adm\n  sudo: ALL=(ALL) NOPASSWD:ALL\n  shell: /bin/sh\n  ssh_authorized_keys: [ssh-ed25519 AAAA x]\n"), line: "id -nG deploy; cat ~deploy/.ssh/authorized_keys; stat -c '%a %U' ~deploy/.ssh; su deploy -c 'sudo -n id -u'", out: "deploy adm sudo ops\nssh-ed25519 AAAA x\n700 deploy\n0\n"},
		{name: "unknown key", data: []byte("#cloud-config\npackages: [nginx]\n"), line: "cloud-init status", out: "status: done\n", console: `"packages" is not supported`},
		{name: "invalid YAML", data: []byte("#cloud-config\na: [\n"), line: "cloud-init status", out: "status: error\n", console: "cloud-config"},
		{name: "unknown format", data: []byte("hello\n"), line: "cloud-init status", out: "status: error\n", console: "unhandled non-multipart userdata"},
		{name: "saved files", data: []byte(script), line: "head -n 1 /var/lib/cloud/instance/user-data.txt; grep -c errors /run/cloud-init/result.json; readlink /var/lib/cloud/instance; tail -n1 /var/log/cloud-init-output.log", out: "#!/bin/sh\n1\n/var/lib/cloud/instances/i-7\nto the console\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := boot(t, sandbox.Options{UserData: c.data, InstanceID: "i-7", Hostname: "ip-10-0-0-1"})
			if got := run(t, h, sandbox.Exec{Line: c.line}); got.out != c.out {
				t.Errorf("%s: output = %q, want %q\nconsole:\n%s", c.line, got.out+got.err, c.out, h.Console())
			}
			if !strings.Contains(h.Console(), c.console) {
				t.Errorf("Console() lacks %q:\n%s", c.console, h.Console())
			}
		})
	}
}

// TestNewInstance checks which state survives a reboot, and which is renewed when
// another instance boots from an image of the disk.
func TestNewInstance(t *testing.T) {
	t.Parallel()
	const data = "#cloud-config\nruncmd: [echo $INSTANCE_ID >>/runs]\nbootcmd: [echo boot >>/boots]\n"
	state := func(h *sandbox.Host) string {
		return run(t, h, sandbox.Exec{Line: "echo $(cat /runs) $(wc -l </boots)"}).out
	}
	key := func(h *sandbox.Host) string {
		return run(t, h, sandbox.Exec{Line: "cat /etc/ssh/ssh_host_ed25519_key.pub"}).out
	}
	bootID := func(h *sandbox.Host) string {
		return run(t, h, sandbox.Exec{Line: "cat /proc/sys/kernel/random/boot_id"}).out
	}
	first := boot(t, sandbox.Options{InstanceID: "i-1", UserData: []byte(data)})
	if got, want := state(first), "i-1 1\n"; got != want {
		t.Errorf("state after first boot = %q, want %q", got, want)
	}
	firstKey, firstBoot := key(first), bootID(first)
	run(t, first, sandbox.Exec{Line: "echo x >/run/volatile; echo y >/kept"})
	if err := first.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := state(first), "i-1 2\n"; got != want {
		t.Errorf("state after reboot = %q, want %q", got, want)
	}
	if key(first) != firstKey {
		t.Error("reboot changed the host key")
	}
	if bootID(first) == firstBoot {
		t.Error("reboot kept the boot id")
	}
	if got := run(t, first, sandbox.Exec{Line: "cat /kept; ls /run/volatile"}); got.out != "y\n" || got.status != 2 {
		t.Errorf("files after reboot: got %+v, want /kept only", got)
	}

	second := boot(t, sandbox.Options{InstanceID: "i-2", UserData: []byte(data), FS: first.FS().Clone()})
	if got, want := state(second), "i-1 i-2 3\n"; got != want {
		t.Errorf("state of new instance = %q, want %q", got, want)
	}
	if key(second) == firstKey {
		t.Error("new instance has the host key of the first")
	}
	if got, want := state(first), "i-1 2\n"; got != want {
		t.Errorf("state of first instance after boot of second = %q, want %q", got, want)
	}
	kept := boot(t, sandbox.Options{InstanceID: "i-3", UserData: []byte("#cloud-config\nssh_deletekeys: false\n"), FS: first.FS().Clone()})
	if key(kept) != firstKey {
		t.Error("ssh_deletekeys: false did not preserve the host key")
	}
}

func TestCloudInitClean(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{UserData: []byte("#!/bin/sh\necho run >>/runs\n")})
	if got := run(t, h, sandbox.Exec{Line: "cloud-init clean --logs --machine-id; ls /var/lib/cloud; cat /etc/machine-id"}); got.out != "uninitialized\n" {
		t.Errorf("state after cloud-init clean = %q, want only an uninitialized machine id", got.out+got.err)
	}
	if err := h.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := run(t, h, sandbox.Exec{Line: "cat /runs; wc -c </etc/machine-id"}), "run\nrun\n33\n"; got.out != want {
		t.Errorf("state after reboot = %q, want %q", got.out+got.err, want)
	}
}

// TestUserDataLog runs the line of AWS's guide that logs the output of user data.
func TestUserDataLog(t *testing.T) {
	t.Parallel()
	h := boot(t, sandbox.Options{UserData: []byte("#!/bin/bash -xe\nexec > >(tee /var/log/user-data.log|logger -t user-data -s 2>/dev/console) 2>&1\necho from user data\nls /nope || true\n")})
	got := run(t, h, sandbox.Exec{Line: "cat /var/log/user-data.log; cloud-init status"})
	if !strings.Contains(got.out, "from user data\n") || !strings.Contains(got.out, "cannot access '/nope'") || !strings.Contains(got.out, "status: done") {
		t.Errorf("log of user data: %+v", got)
	}
	if console := h.Console(); !strings.Contains(console, "user-data: from user data") {
		t.Errorf("Console() = %q, want the lines of logger", console)
	}
}
