//go:build unix

package qemu_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// debianMirror is the URL of a mirror of Debian that has the installer's own packages.
const debianMirror = "BAKESTONE_TEST_DEBIAN_MIRROR"

// TestDebianInstallerInQEMU installs Debian with its network installer and a preseed, of
// Debian's package debian-installer-12-netboot-amd64. It takes half an hour on one CPU, so
// it runs with BAKESTONE_LONG=1 and a mirror only.
func TestDebianInstallerInQEMU(t *testing.T) {
	mirror, err := url.Parse(os.Getenv(debianMirror))
	if os.Getenv("BAKESTONE_LONG") == "" || mirror.Host == "" || err != nil {
		t.Skipf("needs BAKESTONE_LONG=1 and the URL of a mirror in %s: %v", debianMirror, err)
	}
	testenv.Need(t, "qemu-system-x86_64")
	const files = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/"
	if _, err := os.Stat(files + "linux"); err != nil {
		t.Skip(err)
	}
	preseed, err := os.ReadFile("testdata/preseed.cfg.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	preseed = []byte(strings.NewReplacer("MIRROR_HOST", mirror.Host, "MIRROR_DIRECTORY", mirror.Path).Replace(string(preseed)))
	begin := time.Now()
	_, err = bake.Bake(t.Context(), &bake.Options{StepTimeout: 2 * time.Hour, Observe: func(e bake.Event) {
		if e.Kind == bake.Message || e.Kind == bake.StepFinished {
			t.Logf("%4.0f s: %s: %s", time.Since(begin).Seconds(), e.Step, e.Text)
		}
	}}, &bake.Image{
		Name: "debian",
		Builder: qemu.Builder{
			Host: qemu.NewHost(t.TempDir(), nil), Accelerator: qemu.TCG, DiskSize: 4 << 30,
			Source: qemu.Installer{
				Kernel: qemu.DiskFile(files + "linux"), Initrd: qemu.DiskFile(files + "initrd.gz"),
				Append:  "auto=true priority=critical locale=en_US.UTF-8 preseed/url={{.HTTP}}/preseed.cfg DEBIAN_FRONTEND=text console=ttyS0 --- console=ttyS0",
				Files:   fstest.MapFS{"preseed.cfg.tmpl": {Data: preseed}, "installed": {Data: []byte("yes\n")}},
				Timeout: 2 * time.Hour,
			},
		},
		Provisioners: []bake.Provisioner{provision.Shell("grep -qx yes /etc/installed")},
		Checks: []bake.Check{bake.CheckFunc{Name: "the guest boots again", Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("systemctl is-active ssh"))
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}
