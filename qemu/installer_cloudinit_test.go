//go:build unix

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

// TestInstallByCloudInitInQEMU gives answers to a real cloud-init, through which Ubuntu's
// autoinstall gets its answers: on a medium and over HTTP. The installer is Debian, which runs
// from a disk of its own.
func TestInstallByCloudInitInQEMU(t *testing.T) {
	longOnly(t)
	live := testenv.Need(t, "qemudebian")
	const early = `#!/bin/busybox sh
. /load
/bin/busybox mount -t sysfs sysfs /sys || { /bin/busybox mkdir /sys; /bin/busybox mount -t sysfs sysfs /sys; }
for disk in /sys/block/vd*; do
	[ "$(/bin/busybox cat $disk/serial)" != live ] || /bin/busybox mount -t ext4 /dev/${disk##*/}2 /mnt
done
/bin/busybox umount /sys
/bin/busybox mount -o move /dev /mnt/dev
/bin/busybox mount -o move /proc /mnt/proc
exec /bin/busybox switch_root /mnt /sbin/init
`
	const answers = `#cloud-config
autoinstall: {version: 1}
runcmd:
- for disk in /sys/block/vd*; do [ "$(cat $disk/serial)" != copied ] || dd if=/dev/${disk##*/} of=/dev/vda bs=1M; done
- sync
- echo "installed by $(cloud-id) $(hostname)" >/dev/ttyS0
- systemctl poweroff
`
	for name, change := range map[string]func(*qemu.Installer){
		"medium": func(i *qemu.Installer) { i.Label = "cidata" },
		"HTTP":   func(i *qemu.Installer) { i.Append += " ds=nocloud-net;s={{.HTTP}}/" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, i := tinyInstaller(t, "")
			dir := t.TempDir()
			layer := filepath.Join(dir, "live.qcow2")
			if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-f", "qcow2", "-b", live, "-F", "qcow2", layer).CombinedOutput(); err != nil {
				t.Fatalf("qemu-img: %v\n%s", err, out)
			}
			initrd, err := os.ReadFile(i.Initrd.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "initrd"), append(initrd, cpio("early", early)...), 0o600); err != nil {
				t.Fatal(err)
			}
			i.Initrd, i.Append = qemu.DiskFile(filepath.Join(dir, "initrd")), "console=ttyS0 panic=-1 net.ifnames=0 no_timer_check rdinit=/early"
			i.Files = fstest.MapFS{"user-data": {Data: []byte(answers)}, "meta-data": {Data: []byte("instance-id: one\nlocal-hostname: answered\n")}}
			i.Timeout = 20 * time.Minute
			change(&i)
			b.Source, b.Memory = i, 512<<20
			disk := `{"driver":"qcow2","node-name":"%s","file":{"driver":"file","filename":"%s"}}`
			b.Args = []string{
				"-blockdev", fmt.Sprintf(disk, "live", layer), "-device", "virtio-blk-pci,drive=live,serial=live",
				"-blockdev", strings.Replace(fmt.Sprintf(disk, "copied", testenv.Need(t, "qemu")), `"node-name"`, `"read-only":true,"node-name"`, 1), "-device", "virtio-blk-pci,drive=copied,serial=copied",
			}
			_, err = bake.Bake(t.Context(), nil, &bake.Image{
				Name: "answered", Builder: b,
				Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
					logs, err := filepath.Glob(filepath.Join(b.Host.Dir(), "building/*/install.log"))
					if err != nil || len(logs) != 1 {
						return fmt.Errorf("logs of the installer: %q, %w", logs, err)
					}
					text, err := os.ReadFile(logs[0])
					if err == nil && !strings.Contains(string(text), "installed by nocloud answered") {
						err = fmt.Errorf("the installer's console lacks its answers' last word:\n%s", text)
					}
					return err
				}}},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
