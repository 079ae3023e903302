//go:build unix

package qemu_test

import (
	"context"
	"os"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

// TestSecureBootInQEMU bakes a guest that UEFI with Secure Boot and Microsoft's keys starts
// by the shim, and that has a TPM. It takes long without hardware support.
func TestSecureBootInQEMU(t *testing.T) {
	longOnly(t)
	t.Parallel()
	b := diskBuilder(t)
	testenv.Need(t, "ovmf")
	testenv.Need(t, "swtpm")
	b.Memory = 512 << 20 // the loaders need more than the guest
	b.Firmware, b.TPM = qemu.Firmware{Type: qemu.SecureBoot, KeepVars: true}, true
	secure := func(ctx context.Context, m bake.Machine) error {
		return m.Run(ctx, bake.Sh(`set -e
dmesg | grep -i 'secure boot enabled'
test -e /sys/firmware/acpi/tables/TPM2`))
	}
	results, err := bake.Bake(t.Context(), nil, &bake.Image{
		Name: "secure", Builder: b,
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: secure}},
		Checks:       []bake.Check{bake.CheckFunc{Do: secure}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := diskOf(t, results[0])
	if info, err := os.Stat(d.Vars); err != nil || info.Size() == 0 || d.Firmware != qemu.SecureBoot {
		t.Errorf("image with the firmware %q and variables %s: %v", d.Firmware, d.Vars, err)
	}
	if left := existing(t, b.Host); len(left) != 1 {
		t.Errorf("left after the bake: %v, want the image alone", left)
	}
}
