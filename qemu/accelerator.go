package qemu

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
)

// An Accelerator is what runs the guest's code.
type Accelerator string

// The accelerators.
const (
	KVM  Accelerator = "kvm"  // Linux
	HVF  Accelerator = "hvf"  // macOS
	WHPX Accelerator = "whpx" // Windows
	TCG  Accelerator = "tcg"  // emulation, everywhere; slower by a factor of about ten
)

// acceleratorVar overrides Builder.Accelerator.
const acceleratorVar = "BAKESTONE_QEMU_ACCEL"

func accelerators() []Accelerator { return []Accelerator{KVM, HVF, WHPX, TCG} }

func (a Accelerator) validate() error {
	for _, from := range []struct {
		name  string
		value Accelerator
	}{{"value", a}, {"value of " + acceleratorVar, Accelerator(os.Getenv(acceleratorVar))}} {
		if from.value != "" && !slices.Contains(accelerators(), from.value) {
			return fmt.Errorf("unknown %s %q, want one of %v", from.name, string(from.value), accelerators())
		}
	}
	return nil
}

// A choice is an accelerator to try, and why the better ones were not.
type choice struct {
	accelerator Accelerator
	reason      string
}

// choices returns the accelerators to try for a guest of the architecture, in order.
func (a Accelerator) choices(arch string) []choice {
	if fixed := cmp.Or(Accelerator(os.Getenv(acceleratorVar)), a); fixed != "" {
		return []choice{{accelerator: fixed}}
	}
	if native := map[string]string{"amd64": x86, "arm64": arm64}[runtime.GOARCH]; native != arch {
		return []choice{{TCG, "the host has another architecture"}}
	}
	switch runtime.GOOS {
	case "linux":
		if reason := kvmTrouble(); reason != "" {
			return []choice{{TCG, reason}}
		}
		return []choice{{accelerator: KVM}, {accelerator: TCG}}
	case "darwin":
		return []choice{{accelerator: HVF}, {accelerator: TCG}}
	case "windows":
		return []choice{{accelerator: WHPX}, {accelerator: TCG}}
	}
	return []choice{{TCG, "no accelerator is known for " + runtime.GOOS}}
}

// kvmTrouble returns why KVM cannot be used, or an empty string.
func kvmTrouble() string {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	_ = device.Close() // only its permission is of interest
	// The device opens with the module of nested machines without hardware support, but
	// guests with ordinary kernels hang.
	if _, err := os.Stat("/sys/module/kvm_pvm"); err == nil {
		return "KVM is provided by kvm-pvm, which does not run ordinary kernels"
	}
	return ""
}

// cpu returns the CPU model for the accelerator.
func (b Builder) cpu(a Accelerator) string {
	if b.CPU != "" {
		return b.CPU
	}
	if a == KVM || a == HVF {
		return "host"
	}
	return "max"
}
