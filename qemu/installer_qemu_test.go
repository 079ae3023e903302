//go:build unix

package qemu_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// cpio returns a cpio archive with one executable file, which replaces that of an earlier
// archive of an initramfs.
func cpio(name, content string) []byte {
	var b bytes.Buffer
	add := func(name, content string, mode int) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(content)
		b.Write(make([]byte, -b.Len()&3))
	}
	add(name, content, 0o100755)
	add("TRAILER!!!", "", 0)
	return b.Bytes()
}

// tinyInstaller returns a Builder that installs the tests' guest: an initramfs fetches
// answers over HTTP and runs them. The disk to copy is /dev/vdb.
func tinyInstaller(t *testing.T, answers string) (qemu.Builder, qemu.Installer) {
	t.Helper()
	disk := testenv.Need(t, "qemu")
	const init = `#!/bin/busybox sh
. /load
for tool in dd grep halt ifconfig poweroff reboot route sh sync wget; do /bin/busybox ln -s busybox /bin/$tool; done
export PATH=/bin
ifconfig eth0 10.0.2.15 netmask 255.255.255.0
route add default gw 10.0.2.2
echo 'installer is up'
for word in $(/bin/busybox cat /proc/cmdline); do
	case $word in answers=*) wget -q -O /answers ${word#answers=} && . /answers ;; esac
done
echo 'What now?'
while :; do /bin/busybox sleep 100; done
`
	early, err := os.ReadFile(filepath.Join(filepath.Dir(disk), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(t.TempDir(), "initrd")
	if err := os.WriteFile(initrd, append(append(early, make([]byte, -len(early)&3)...), cpio("init", init)...), 0o600); err != nil {
		t.Fatal(err)
	}
	i := qemu.Installer{
		Kernel: qemu.DiskFile(filepath.Join(filepath.Dir(disk), "vmlinux")), Initrd: qemu.DiskFile(initrd),
		Append: "console=ttyS0 quiet panic=-1 net.ifnames=0 no_timer_check answers={{.HTTP}}/answers.sh",
		Files: fstest.MapFS{
			"answers.sh.tmpl": {Data: []byte(answers)},
			"greeting":        {Data: []byte("installed by answers\n")},
		},
		Timeout: 15 * time.Minute, // of a machine that others keep busy
	}
	b := qemu.Builder{
		Host: qemu.NewHost(t.TempDir(), nil), Source: i, CPUs: 1, Memory: 256 << 20, DiskSize: 1 << 30, Accelerator: qemu.TCG,
		Args: []string{"-blockdev", `{"driver":"qcow2","node-name":"copied","read-only":true,"file":{"driver":"file","filename":"` + disk + `"}}`, "-device", "virtio-blk-pci,drive=copied"},
	}
	return b, i
}

// TestInstallInQEMU installs a guest, provisions it and checks the image. Then it bakes
// again: an image with the same installer is reused, one with other answers is not. The
// short form has no check and no other answers.
func TestInstallInQEMU(t *testing.T) {
	t.Parallel()
	b, i := tinyInstaller(t, `wget -O - {{.HTTP}}/greeting; wget -q -O - {{.HTTP}}/missing; dd if=/dev/vdb of=/dev/vda bs=1M; sync; poweroff -f`)
	img := &bake.Image{
		Name: "installed", Builder: b, Fingerprint: "1",
		Provisioners: []bake.Provisioner{provision.Shell("echo provisioned >/etc/provisioned")},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("test -s /etc/provisioned"))
		}}},
	}
	short := os.Getenv("BAKESTONE_LONG") == ""
	if short {
		img.Checks = nil
	}
	var said []string
	observe := &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.Message && e.Step == "install" {
			said = append(said, e.Text)
		}
	}}
	results, err := bake.Bake(t.Context(), observe, img)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"has fetched answers.sh", "has fetched greeting", `asked for "missing"`, "the installation has ended: guest-shutdown"} {
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("the install step says %q, want %q", said, want)
		}
	}
	if d := diskOf(t, results[0]); d.Size != 1<<30 || d.Source.Format != "installer" {
		t.Errorf("image %+v, want a disk of 1 GiB made by an installer", d)
	}
	if left := existing(t, b.Host); len(left) != 1 {
		t.Errorf("left after the bake: %v, want the image alone", left)
	}
	again, err := bake.Bake(t.Context(), nil, img)
	if err != nil || again[0].Status != bake.StatusReused {
		t.Errorf("second Bake = %v, %v, want the image reused", again[0].Status, err)
	}
	if short {
		return
	}
	i.Files = fstest.MapFS{"answers.sh.tmpl": {Data: []byte("echo 'Oops: no disk found'; reboot -f")}}
	b.Source = i
	img.Builder = b
	_, err = bake.Bake(t.Context(), nil, img)
	wantError(t, err, "machine is ended (guest-reset), but the disk has no boot sector: nothing was installed")
	wantError(t, err, "Oops: no disk found")
}

// TestInstallerFailures expects errors with the end of the console from installers that
// panic, reset, wait and take too long.
func TestInstallerFailures(t *testing.T) {
	for name, test := range map[string]struct {
		answers string
		change  func(*qemu.Installer)
		want    []string
	}{
		"waits": {
			answers: "echo 'Continent or region:'; while :; do /bin/busybox sleep 100; done",
			change:  func(i *qemu.Installer) { i.StallTimeout = 25 * time.Second },
			want:    []string{"(Installer.StallTimeout): it hangs or waits for an answer", "Continent or region:"},
		},
		"takes too long": {
			answers: "echo working; while :; do dd if=/dev/vdb of=/dev/null bs=64k count=1 2>/dev/null; /bin/busybox sleep 1; done",
			change:  func(i *qemu.Installer) { i.Timeout = 30 * time.Second },
			want:    []string{"still installing after 30s (Installer.Timeout)", "working"},
		},
		"panics": {
			answers: "echo c >/proc/sysrq-trigger",
			want:    []string{"sysrq_handle_crash"},
		},
		"finds no answers": {
			answers: "true",
			change: func(i *qemu.Installer) {
				i.Append, i.StallTimeout = "console=ttyS0 quiet no_timer_check", 25*time.Second
			},
			want: []string{"it has asked for none of Installer.Files", "What now?"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "panics" { // the others end by a timeout
				longOnly(t)
			}
			t.Parallel()
			b, i := tinyInstaller(t, test.answers)
			if test.change != nil {
				test.change(&i)
			}
			b.Source = i
			_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "failing", Builder: b})
			for _, want := range test.want {
				wantError(t, err, want)
			}
			if left := existing(t, b.Host); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
