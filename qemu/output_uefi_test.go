package qemu_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/qemu"
)

// firmwareConfig reads the firmware from an OVF descriptor, as VMware does: as
// configuration of the virtual hardware, which other products may ignore.
func firmwareConfig(t *testing.T, descriptor string) map[string]string {
	t.Helper()
	var envelope struct {
		Config []struct {
			Required string `xml:"http://schemas.dmtf.org/ovf/envelope/1 required,attr"`
			Key      string `xml:"http://www.vmware.com/schema/ovf key,attr"`
			Value    string `xml:"http://www.vmware.com/schema/ovf value,attr"`
		} `xml:"VirtualSystem>VirtualHardwareSection>Config"`
	}
	if err := xml.Unmarshal([]byte(descriptor), &envelope); err != nil {
		t.Fatalf("descriptor: %v\n%s", err, descriptor)
	}
	config := map[string]string{}
	for _, c := range envelope.Config {
		if c.Required != "false" {
			t.Errorf("descriptor demands that importers know %s", c.Key)
		}
		config[c.Key] = c.Value
	}
	return config
}

// TestFirmwareOfOutputs expects that OVAs and boxes say which firmware their image needs.
func TestFirmwareOfOutputs(t *testing.T) {
	t.Parallel()
	d := imported(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		firmware       qemu.FirmwareType
		efi, secure    string // of OVF
		vmx, secureVMX bool
	}{{"", "", "", false, false}, {qemu.BIOS, "", "", false, false}, {qemu.UEFI, "efi", "false", true, false}, {qemu.SecureBoot, "efi", "true", true, true}} {
		d.Firmware = tt.firmware
		publish(t, qemu.OVA{Path: filepath.Join(dir, "x.ova")}, d)
		unpacked, _ := unpack(t, filepath.Join(dir, "x.ova"), false)
		got := firmwareConfig(t, read(t, unpacked, "web 1.ovf"))
		if got["firmware"] != tt.efi || got["bootOptions.efiSecureBootEnabled"] != tt.secure {
			t.Errorf("OVA of an image with the firmware %q says %q, want firmware %q, Secure Boot %q", tt.firmware, got, tt.efi, tt.secure)
		}
		for provider, file := range map[qemu.Provider]string{qemu.VirtualBox: "Vagrantfile", qemu.VMware: "box.vmx"} {
			path := filepath.Join(dir, "x.box")
			publish(t, qemu.Box{Provider: provider, Path: path}, d)
			unpacked, _ := unpack(t, path, true)
			text := read(t, unpacked, file)
			uefi := strings.Contains(text, `"modifyvm", :id, "--firmware", "efi"`) || strings.Contains(text, "\nfirmware = \"efi\"\n")
			secure := strings.Contains(text, "\nuefi.secureBoot.enabled = \"TRUE\"\n")
			if uefi != tt.vmx || secure != (tt.secureVMX && provider == qemu.VMware) {
				t.Errorf("%s box of an image with the firmware %q starts with UEFI %t, Secure Boot %t:\n%s", provider, tt.firmware, uefi, secure, text)
			}
		}
	}
}

// TestFirmwareReadByCOT reads the descriptor of an OVA for UEFI with another
// implementation, which keeps the firmware when it writes the package again.
func TestFirmwareReadByCOT(t *testing.T) {
	t.Parallel()
	cot := testenv.Need(t, "cot")
	d, dir := imported(t), t.TempDir()
	d.Firmware = qemu.UEFI
	publish(t, qemu.OVA{Path: filepath.Join(dir, "x.ova")}, d)
	cmd := exec.CommandContext(t.Context(), cot, "edit-hardware", filepath.Join(dir, "x.ova"), "-o", filepath.Join(dir, "y.ova"), "--cpus", "3")
	cmd.Env = append(os.Environ(), "COLUMNS=200", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cot edit-hardware: %v\n%s", err, out)
	}
	unpacked, names := unpack(t, filepath.Join(dir, "y.ova"), false)
	text := read(t, unpacked, names[0])
	if got := firmwareConfig(t, text)["firmware"]; got != "efi" || !strings.Contains(text, "3 virtual CPU") && !strings.Contains(text, "VirtualQuantity>3<") {
		t.Errorf("COT reads the firmware %q:\n%s", got, text)
	}
}
