//go:build linux

package qemu_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/ext4"
	"github.com/bakestone-go/bakestone/internal/partition"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// ignitionStages is the init of an initramfs that runs Ignition as CoreOS does: if the boot loader
// finds the stamp of a first boot, stage by stage as its units are ordered, with a base
// configuration of the distribution. If a stage fails, it waits as the emergency shell of CoreOS.
const ignitionStages = `#!/bin/busybox sh
. /load
export PATH=/bin
busybox --install -s /bin
mkdir -p /sysroot /system
mount -t ext4 /dev/vda2 /sysroot
stage() {
	chroot /system /usr/bin/env PATH=/helpers:/usr/sbin:/usr/bin IGNITION_SYSTEM_CONFIG_DIR=/etc/ignition \
		ignition --log-to-stdout --root=/sysroot --platform=qemu --stage=$1 && return
	echo 'Press Enter for emergency shell or wait 5 minutes for reboot.'
	while :; do sleep 100; done
}
if [ -e /sysroot/boot/ignition.firstboot ]; then
	cd /system
	mkdir -p usr proc sys dev run sysroot helpers tmp etc/ignition/base.d
	for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done
	mount -t sysfs sysfs sys
	mount -t tmpfs tmpfs run
	for dir in proc dev; do mount -o bind /$dir $dir; done
	mount -o bind /sysroot/usr usr
	mount -o bind /sysroot sysroot
	mv /ignition helpers/ignition
	printf '#!/bin/sh\ngrep -q "^$1 " /proc/modules\n' >helpers/modprobe # /load has loaded it
	chmod 755 helpers/*
	cat >etc/ignition/base.d/00-core.ign <<'END'
{"ignition": {"version": "3.0.0"}, "passwd": {"users": [{"name": "core", "gecos": "CoreOS Admin", "groups": ["adm", "sudo"], "shell": "/bin/bash"}]}}
END
	stage fetch-offline
	[ ! -e run/ignition/neednet ] || stage fetch
	for name in kargs disks mount files umount; do stage $name; done
	cd /
	for dir in sysroot usr dev proc run sys; do umount /system/$dir; done
fi
mount -o move /dev /sysroot/dev
mount -o move /proc /sysroot/proc
exec switch_root /sysroot /sbin/init
`

// likeCoreOS makes a Debian boot, let in and end its first boot as CoreOS does. Nothing but
// Ignition gives it keys.
const likeCoreOS = `touch /etc/cloud/cloud-init.disabled
rm -f /etc/systemd/network/* /etc/machine-id
mkdir -p /etc/systemd/system-preset
echo 'disable *' >/etc/systemd/system-preset/99-default-disable.preset
systemctl mask systemd-firstboot
printf '[Match]\nName=eth0\n[Network]\nDHCP=yes\n' >/etc/systemd/network/dhcp.network
echo 'AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys.d/ignition' >/etc/ssh/sshd_config.d/ignition.conf
echo '%sudo ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/sudo
cat >/etc/systemd/system/coreos-ignition-firstboot-complete.service <<'END'
[Unit]
ConditionPathExists=/boot/ignition.firstboot
[Service]
Type=oneshot
RemainAfterExit=yes
# So that a bake may be faster.
ExecStart=/bin/sh -c 'sleep 20; rm /boot/ignition.firstboot'
[Install]
WantedBy=basic.target
END
systemctl enable coreos-ignition-firstboot-complete
touch /boot/ignition.firstboot
rm -rf /root/.ssh`

// callersKey is a login key of the caller's.
const callersKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Y7Zsg2Qd0cXb7w8Yt8e0C8z1mMmTrU1qUQm5f1n2q caller"

// callersIgnition has what Ignition refuses to make twice.
const callersIgnition = `{
	"ignition": {"version": "3.4.0"},
	"passwd": {"users": [
		{"name": "core", "sshAuthorizedKeys": ["` + callersKey + `"]},
		{"name": "baker", "groups": ["adm"], "sshAuthorizedKeys": ["` + callersKey + `"]}
	]},
	"storage": {"files": [{"path": "/etc/caller.conf", "mode": 384, "user": {"name": "baker"}, "contents": {"source": "data:,from%20the%20caller%0A"}}]},
	"systemd": {"units": [{"name": "caller.service", "enabled": true, "contents": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo ran >>/srv/caller'\n[Install]\nWantedBy=multi-user.target\n"}]}
}`

// secondIgnition configures machines of an image that callersIgnition is in already.
const secondIgnition = `{
	"ignition": {"version": "3.0.0"},
	"storage": {"files": [{"path": "/etc/second.conf", "contents": {"source": "data:,"}}]},
	"systemd": {"units": [{"name": "second.service", "enabled": true, "contents": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"}]}
}`

// ignitionGuest bakes a Debian with Ignition and returns it as the source of a Builder.
func ignitionGuest(t *testing.T) qemu.Builder {
	t.Helper()
	disk := testenv.Need(t, "qemudebian")
	program, err := os.ReadFile(testenv.Ignition(t))
	if err != nil {
		t.Fatal(err)
	}
	initrd, err := os.ReadFile(filepath.Join(filepath.Dir(disk), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"init": ignitionStages, "ignition": string(program)} {
		initrd = append(append(initrd, make([]byte, -len(initrd)&3)...), cpio(name, content)...)
	}
	b := qemu.Builder{Host: qemu.NewHost(t.TempDir(), nil), Source: qemu.DiskFile(disk), Memory: 512 << 20, Accelerator: qemu.TCG, CPUs: 1, Args: directBoot(disk), GuestCleanup: qemu.GuestCleanup{Keep: []qemu.CleanupItem{qemu.MachineID}}}
	results, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "like-coreos", Builder: b, Provisioners: []bake.Provisioner{provision.Shell(likeCoreOS)}})
	if err != nil {
		t.Fatal(err)
	}
	// The files of a guest are in one directory.
	dir := t.TempDir()
	source := filepath.Join(dir, "disk.qcow2")
	if err := errors.Join(
		os.Rename(diskOf(t, results[0]).Path, source),
		os.Symlink(filepath.Join(filepath.Dir(disk), "vmlinux"), filepath.Join(dir, "vmlinux")),
		os.WriteFile(filepath.Join(dir, "initrd"), initrd, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	b.Source, b.Args, b.SSH.User, b.GuestCleanup = qemu.DiskFile(source), directBoot(source), "core", qemu.GuestCleanup{}
	b.Args[len(b.Args)-1] += " ignition.platform.id=qemu"
	return b
}

// TestIgnitionInQEMU has the real Ignition configure the machine of a build and that of its image.
// A configuration that fails must be the error of its bake.
func TestIgnitionInQEMU(t *testing.T) {
	longOnly(t)
	b := ignitionGuest(t)
	t.Run("bakes", func(t *testing.T) { t.Parallel(); bakeWithIgnition(t, b) })
	// With its keys removed, the guest lets in again only by Ignition.
	t.Run("resumes", func(t *testing.T) {
		t.Parallel()
		host := qemu.NewHost(t.TempDir(), nil)
		d := resumeAfter(t, "clean-up: the guest has been cleaned", host, b.Source.String(), "", false)
		err := d.ReadDisks(t.Context(), func(disks bake.SystemDisks) error {
			files, err := rootOf(disks.Disks[0])
			if err == nil {
				_, err = files.Stat(ignitionMade)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	for name, test := range map[string]struct{ config, want string }{
		"other content": {
			config: `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/caller.conf", "contents": {"source": "data:,other", "verification": {"hash": "sha512-` + strings.Repeat("0", 128) + `"}}}]}}`,
			want:   "hash verification failed",
		},
		"future version": {config: `{"ignition": {"version": "3.99.0"}}`, want: "unsupported config version"},
		"existing file":  {config: `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/motd", "contents": {"source": "data:,baked"}}]}}`, want: "A file exists there already and overwrite is false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b
			b.Host, b.Ignition = qemu.NewHost(t.TempDir(), nil), []byte(test.config)
			key := ""
			_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(bake.Event) {
				if _, c, err := readIgnitionFile(t.Context(), b.Host); err == nil {
					key = c.keys()["/etc/ssh/ssh_host_ed25519_key"]
				}
			}}, &bake.Image{Name: "fails", Builder: b})
			stuck, ok := errors.AsType[*qemu.MachineError](err)
			if !ok || !strings.Contains(stuck.State, "stuck while it boots: Ignition failed: ") || !strings.Contains(stuck.State, test.want) {
				t.Fatalf("Bake = %v\nwant a MachineError with %q", err, test.want)
			}
			if console := strings.Join(stuck.Console, "\n"); !strings.Contains(console, test.want) {
				t.Errorf("console ends with %q, want %q", console, test.want)
			}
			if key == "" {
				t.Fatal("the machine had no configuration")
			}
			for name, secret := range map[string]string{"key": strings.Split(key, "\n")[2], "coded key": base64.StdEncoding.EncodeToString([]byte(key))[200:300]} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error has the %s of the host:\n%v", name, err)
				}
			}
			if left := existing(t, b.Host); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// bakeWithIgnition bakes an image and checks it, and another one from it.
func bakeWithIgnition(t *testing.T, b qemu.Builder) {
	t.Helper()
	b.Host, b.Ignition = qemu.NewHost(t.TempDir(), nil), []byte(callersIgnition)
	var machines []ignitionFile
	var results []string
	look := func(ctx context.Context, m bake.Machine) error {
		_, config, err := readIgnitionFile(ctx, b.Host)
		if err != nil {
			return err
		}
		host, err := bake.Output(ctx, m, &bake.Cmd{Line: "cat /etc/ssh/ssh_host_ed25519_key.pub", Sudo: true})
		if want := config.keys()["/etc/ssh/ssh_host_ed25519_key.pub"]; err != nil || host != want {
			t.Errorf("the guest has the host key %q, %v, want %q", host, err, want)
		}
		boot, err := bake.Output(ctx, m, bake.Sh("cat /proc/sys/kernel/random/boot_id"))
		if err != nil {
			return err
		}
		result, err := bake.Output(ctx, m, &bake.Cmd{Line: "cat /etc/.ignition-result.json", Sudo: true})
		if !strings.Contains(result, `"provisioningBootID": "`+boot+`"`) || strings.Contains(result, "previousReport") {
			t.Errorf("Ignition's result is %s, %v, want one of the boot %s alone", result, err, boot)
		}
		machines, results = append(machines, config), append(results, result)
		return err
	}
	// The caller's file, user and unit, at a build and in its image.
	const merged = `wrong() { echo "$*" >&2; exit 1; }
test "$(id -un)" = core || wrong "login: $(id)"
test "$(stat -c '%U %a' /etc/caller.conf) $(sudo cat /etc/caller.conf)" = 'baker 600 from the caller' || wrong "file: $(ls -l /etc/caller.conf)"
id -nG baker | grep -qw adm || wrong "user: $(id baker)"
sudo grep -q caller /home/baker/.ssh/authorized_keys.d/ignition || wrong "the caller's key is missing"
systemctl is-active caller || wrong "unit: $(systemctl status caller)"
`
	img := &bake.Image{
		Name: "ignited", Builder: b,
		Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Do: look},
			provision.Shell(merged, "grep -q caller ~/.ssh/authorized_keys.d/ignition", "sudo sh -c 'echo baked >/etc/baked'"),
		},
		Checks: []bake.Check{
			diskCheck(func(disk bake.Disk) error { return nothingOfBuild(disk, machines[0].keys()) }),
			bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
				if err := look(ctx, m); err != nil {
					return err
				}
				return m.Run(ctx, bake.Sh(merged+`test "$(cat /etc/baked)" = baked || wrong "what was baked is missing"`))
			}},
		},
	}
	second := b
	second.Source, second.Ignition = nil, []byte(secondIgnition)
	from := &bake.Image{Name: "again", Builder: second, From: img, Provisioners: []bake.Provisioner{
		provision.Shell(merged, "test -e /etc/second.conf", "systemctl is-active second", "test -s /etc/baked"),
	}}
	if _, err := bake.Bake(t.Context(), nil, img, from); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0] == results[1] {
		t.Errorf("results of Ignition %q, want two", results)
	}
	if len(machines[0].Ignition.Config.Merge) != 1 || len(machines[1].Ignition.Config.Merge) != 0 {
		t.Errorf("merged are %+v, want the caller's configuration on the first machine alone", machines)
	}
	if left := existing(t, b.Host); len(left) != 2 {
		t.Errorf("left after the bake: %v, want the images alone", left)
	}
}

// A diskCheck checks the first disk of an artifact.
type diskCheck func(disk bake.Disk) error

func (c diskCheck) Check(context.Context, bake.Machine) error { return nil }

func (c diskCheck) CheckArtifact(ctx context.Context, a bake.Artifact) error {
	reader, ok := bake.As[bake.DiskReader](a)
	if !ok {
		return fmt.Errorf("%T is not a DiskReader", a)
	}
	return reader.ReadDisks(ctx, func(disks bake.SystemDisks) error { return c(disks.Disks[0]) })
}

// nothingOfBuild reports what an image has of the machine that it was made of, and if Ignition will
// not configure its machines.
func nothingOfBuild(disk bake.Disk, keys map[string]string) error {
	files, err := rootOf(disk)
	if err != nil {
		return err
	}
	var errs []error
	if _, err := files.Stat("/boot/ignition.firstboot"); err != nil {
		errs = append(errs, err)
	}
	for _, name := range []string{"/etc/.ignition-result.json", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key"} {
		if _, err := files.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("image has %s: %w", name, err))
		}
	}
	const most = 1 << 16
	if left, err := files.ReadFile("/home/core/.ssh/authorized_keys.d/ignition", most); err != nil || string(left) != callersKey+"\n" {
		errs = append(errs, fmt.Errorf("image lets in %q, %w, want %q", left, err, callersKey))
	}
	secrets := map[string][]byte{"the login's key": []byte(strings.Fields(keys["core"])[1])}
	for _, name := range []string{"/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key"} {
		secrets[name] = []byte(strings.Split(keys[name], "\n")[2])
	}
	return errors.Join(append(errs, files.Walk(func(name string, i *ext4.Inode, err error) error {
		if err != nil || !i.Mode.IsRegular() {
			return err
		}
		const longest = 64 << 20
		content, err := files.Read(i, longest)
		for what, secret := range secrets {
			if bytes.Contains(content, secret) {
				err = errors.Join(err, fmt.Errorf("%s of the build is in %s", what, name))
			}
		}
		return err
	}))...)
}

// rootOf opens the root file system of the tests' guest.
func rootOf(disk bake.Disk) (*ext4.FS, error) {
	table, err := partition.Read(disk, disk.Size())
	if err != nil {
		return nil, err
	}
	root := table.Partitions[1]
	return ext4.Open(io.NewSectionReader(disk, root.Start, root.Size), root.Size)
}
