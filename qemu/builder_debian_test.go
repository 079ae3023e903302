//go:build unix

package qemu_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
	"github.com/bakestone-go/bakestone/qemu"
)

// identity prints what no two machines of an image may share.
const identity = `cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; cat /var/lib/cloud/data/instance-id`

// TestBakeDebianInQEMU bakes a Debian with systemd and cloud-init: packages, a service, a
// file from the caller's user data and, in the long form, a reboot. The check boots the image, which must
// have nothing of the machine that it was made on.
func TestBakeDebianInQEMU(t *testing.T) {
	t.Parallel()
	disk := testenv.Need(t, "qemudebian")
	packages := filepath.Join(filepath.Dir(disk), "packages")
	found, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil || len(found) == 0 {
		t.Fatalf("packages in %s: %q, %v", packages, found, err)
	}
	install := make([]string, 0, len(found))
	for _, name := range found {
		install = append(install, "/srv/packages/"+filepath.Base(name))
	}
	var machines []string
	identify := func(ctx context.Context, m bake.Machine) error {
		text, err := bake.Output(ctx, m, bake.Sh(identity))
		machines = append(machines, text)
		return err
	}
	const before = "/srv/before"
	rebooted := "true"
	if os.Getenv("BAKESTONE_LONG") != "" {
		rebooted = "if cmp -s " + before + " /proc/sys/kernel/random/boot_id; then exit 1; fi; grep -q boot /srv/boots" // sh -e ignores a ! that fails
	}
	host := qemu.NewHost(t.TempDir(), nil)
	img := &bake.Image{
		Name: "debian",
		Builder: qemu.Builder{
			Host: host, Source: qemu.DiskFile(disk), Memory: 512 << 20, Accelerator: qemu.TCG, DiskSize: 2 << 30, CPUs: 1, Args: directBoot(disk),
			UserData: []byte("#cloud-config\nwrite_files:\n- path: /etc/motd\n  content: from the caller\n"),
		},
		Provisioners: []bake.Provisioner{
			provision.Dir{Source: packages, Dest: "/srv/packages"},
			provision.Packages{Install: install, NoRefresh: true, NoRecommends: true},
			provision.Service{Name: "counter", Enable: true, Unit: "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo boot >>/srv/boots'\n[Install]\nWantedBy=multi-user.target\n"},
			provision.Shell("cat /proc/sys/kernel/random/boot_id >"+before, "grep -q 'from the caller' /etc/motd", "systemctl is-active bakestone-expiry.timer"),
			provision.Reboot{},
			provision.Shell(rebooted, "systemctl is-active bakestone-expiry.timer", "rm -r /srv/packages"),
			bake.ProvisionFunc{Do: identify},
		},
		Checks: []bake.Check{
			check.All(check.Service{Name: "cron", Enabled: true}, check.Service{Name: "ssh"}),
			bake.CheckFunc{Name: "nothing of the build is left", Do: func(ctx context.Context, m bake.Machine) error {
				if err := identify(ctx, m); err != nil {
					return err
				}
				built, _, _ := strings.Cut(machines[0], "\n")
				// One instance, no journal of the build, the keys of one build, and a file system that has grown.
				return m.Run(ctx, bake.Sh(`wrong() { echo "$*" >&2; exit 1; }
ls /var/lib/cloud/instances | wc -l | grep -qx 1 || wrong "instances: $(ls /var/lib/cloud/instances)"
test ! -e /var/log/journal/`+built+` || wrong "journals: $(ls -R /var/log/journal)"
test "$(wc -l </root/.ssh/authorized_keys)" -le 2 || wrong "keys: $(cat /root/.ssh/authorized_keys)"
test "$(df --output=size -B1M / | tail -n 1)" -gt 1100 || wrong "file system: $(df /)"
! test -e /srv/packages || wrong "packages are left"`))
			}},
		},
	}
	if os.Getenv("BAKESTONE_LONG") == "" {
		img.Provisioners = slices.DeleteFunc(img.Provisioners, func(p bake.Provisioner) bool { _, reboots := p.(provision.Reboot); return reboots })
	}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	if len(machines) != 2 {
		t.Fatalf("%d machines were identified, want 2", len(machines))
	}
	for line := range strings.Lines(machines[0]) {
		if strings.TrimSpace(line) == "" || strings.Contains(machines[1], line) {
			t.Errorf("the image has %q of the machine that it was made on:\n%s\n%s", line, machines[0], machines[1])
		}
	}
	d := diskOf(t, results[0])
	if info, err := os.Stat(d.Path); err != nil || info.Size() != d.FileSize {
		t.Errorf("image %s: %v, want %d bytes", d.Path, err, d.FileSize)
	}
	if left := existing(t, host); len(left) != 1 {
		t.Errorf("left after the bake: %v, want the image alone", left)
	}
}
