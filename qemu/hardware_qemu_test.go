//go:build unix

package qemu_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// importedGuest returns an image of the tests' guest, as if it was baked.
func importedGuest(t *testing.T) *qemu.Disk {
	t.Helper()
	disk := testenv.Need(t, "qemu")
	info, err := os.Stat(disk)
	if err != nil {
		t.Fatal(err)
	}
	host := qemu.NewHost(t.TempDir(), nil)
	dir := filepath.Join(host.Dir(), "images", "guest", "b1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(disk, filepath.Join(dir, "disk.qcow2")); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"image": "guest", "build": "b1", "format": "qcow2", "size": 768 << 20, "file_size": info.Size()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "artifact.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := host.Newest("guest")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOVABootsOnItsHardware boots the disk of each OVA on the hardware that its descriptor
// names.
func TestOVABootsOnItsHardware(t *testing.T) {
	longOnly(t)
	t.Parallel()
	d := importedGuest(t)
	for _, kind := range []qemu.Hardware{qemu.CommonHardware, qemu.ParavirtualHardware, qemu.IDEHardware} {
		t.Run(map[qemu.Hardware]string{qemu.CommonHardware: "common", qemu.ParavirtualHardware: "paravirtual", qemu.IDEHardware: "IDE"}[kind], func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "guest.ova")
			publish(t, qemu.OVA{Path: path, CPUs: 1, Memory: 256 << 20, Hardware: kind}, d)
			dir, names := unpack(t, path, false)
			b, drivers := machineOf(t, read(t, dir, names[0]))
			b.Host, b.Source = qemu.NewHost(t.TempDir(), nil), qemu.DiskFile(filepath.Join(dir, names[2]))
			_, err := bake.Bake(t.Context(), nil, &bake.Image{
				Name: "booted", Builder: b, ProvisionOnly: true,
				Provisioners: []bake.Provisioner{provision.Shell(
					fmt.Sprintf("test $(nproc) = %d", b.CPUs),
					"ls -d /sys/bus/pci/drivers/"+drivers[0]+"/0*",
					"readlink /sys/class/net/eth0/device/driver | grep '/"+drivers[1]+"$'",
					"grep -q '^/dev/sda2 / ' /proc/mounts",
				)},
			})
			if err != nil {
				t.Errorf("Bake from the disk of the OVA on %v: %v", drivers, err)
			}
		})
	}
}

// machineOf returns the machine that a descriptor describes, and Linux's drivers of its
// disk controller and its network adapter.
func machineOf(t *testing.T, descriptor string) (b qemu.Builder, drivers [2]string) {
	t.Helper()
	var envelope struct {
		Items []struct {
			Type     int    `xml:"ResourceType"`
			SubType  string `xml:"ResourceSubType"`
			Quantity string `xml:"VirtualQuantity"`
		} `xml:"VirtualSystem>VirtualHardwareSection>Item"`
	}
	if err := xml.Unmarshal([]byte(descriptor), &envelope); err != nil {
		t.Fatal(err)
	}
	b.Accelerator, b.SSH.ConnectTimeout = qemu.TCG, 2*time.Minute
	for _, i := range envelope.Items {
		quantity, _ := strconv.Atoi(i.Quantity)
		switch known := fmt.Sprintf("%d %s", i.Type, i.SubType); known {
		case "3 ":
			b.CPUs = quantity
		case "4 ":
			b.Memory = int64(quantity) << 20
		case "5 PIIX4":
			b.Hardware, drivers[0] = qemu.IDEHardware, "ata_piix"
		case "6 VirtualSCSI":
			b.Hardware, drivers[0] = qemu.ParavirtualHardware, "vmw_pvscsi"
		case "20 AHCI":
			b.Hardware, drivers[0] = qemu.CommonHardware, "ahci"
		case "10 E1000", "10 VmxNet3":
			drivers[1] = map[string]string{"E1000": "e1000", "VmxNet3": "vmxnet3"}[i.SubType]
		case "17 ":
		default:
			t.Errorf("unknown hardware %q in the descriptor", known)
		}
	}
	return b, drivers
}
