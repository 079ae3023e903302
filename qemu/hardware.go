package qemu

import (
	"cmp"
	"fmt"

	"github.com/bakestone-go/bakestone/qemu/internal/ovf"
)

// Hardware is the disk controller and the network adapter of a machine. The guest must
// have its drivers, for the disk in its initramfs: Debian's cloud kernel, for example,
// has neither AHCI nor E1000.
type Hardware int

// The kinds of hardware.
const (
	DefaultHardware     Hardware = iota // what the comment of the field says
	VirtioHardware                      // virtio, of QEMU
	CommonHardware                      // AHCI and E1000, which VMware and VirtualBox have
	ParavirtualHardware                 // PVSCSI and VMXNET3, of VMware only
	IDEHardware                         // IDE and E1000, which all have; at most two disks
)

// devices describes hardware to QEMU, in OVF descriptors and in VMX files.
type devices struct {
	bus        string         // QEMU's controller; empty if each disk has its own
	disk       string         // QEMU's disk
	nic        string         // QEMU's network adapter
	controller ovf.Controller // its Type is zero if there is none
	adapter    string         // of OVF
	vmx        string         // the bus of disks
	vmxType    string         // of a SCSI bus
}

const (
	cimIDE   = 5
	cimSCSI  = 6
	cimOther = 20
)

// devices returns the description; nil for an unknown kind.
func (h Hardware) devices() *devices {
	switch h {
	case VirtioHardware:
		return &devices{disk: "virtio-blk-pci", nic: "virtio-net-pci"}
	case CommonHardware:
		return &devices{
			bus: "ich9-ahci", disk: "ide-hd", nic: "e1000", adapter: "E1000", vmx: "sata0",
			controller: ovf.Controller{Type: cimOther, SubType: "AHCI", Name: "SATA Controller"},
		}
	case ParavirtualHardware:
		return &devices{
			bus: "pvscsi", disk: "scsi-hd", nic: "vmxnet3", adapter: "VmxNet3", vmx: "scsi0", vmxType: "pvscsi",
			controller: ovf.Controller{Type: cimSCSI, SubType: "VirtualSCSI", Name: "SCSI Controller"},
		}
	case IDEHardware:
		return &devices{
			bus: "piix3-ide", disk: "ide-hd", nic: "e1000", adapter: "E1000", vmx: "ide0",
			controller: ovf.Controller{Type: cimIDE, SubType: "PIIX4", Name: "IDE Controller"},
		}
	case DefaultHardware:
	}
	return nil
}

// at returns the place of the n-th disk on the bus, as QEMU's properties.
func (d *devices) at(n int) string {
	const perChannel = 2
	switch d.bus {
	case "":
		return ""
	case "piix3-ide":
		return fmt.Sprintf(",bus=disks.%d,unit=%d", n/perChannel, n%perChannel)
	case "ich9-ahci":
		return fmt.Sprintf(",bus=disks.%d", n)
	}
	return fmt.Sprintf(",bus=disks.0,scsi-id=%d", n)
}

// mostDisks returns how many disks the controller has places for, besides the seed.
func (d *devices) mostDisks() int {
	const ide, sata, scsi = 2, 5, 6 // a seventh would be VMware's own SCSI id
	switch d.bus {
	case "piix3-ide":
		return ide
	case "ich9-ahci":
		return sata
	}
	return scsi
}

// command returns QEMU's arguments for the disks, the network and, if there is one, the
// seed of the machine. The first disk boots.
func (d *devices) command(disks []machineDisk, hasSeed bool) []string {
	var args []string
	if d.bus != "" {
		args = append(args, "-device", d.bus+",id=disks")
	}
	for i, disk := range disks {
		device := d.disk + ",drive=" + disk.node() + ",serial=" + disk.node() + d.at(i)
		if i == 0 {
			device += ",bootindex=1"
		}
		args = append(args, "-device", device)
	}
	seed := "virtio-blk-pci"
	if d.bus != "" { // its disks cannot be read-only
		seed = map[string]string{"ide-hd": "ide-cd", "scsi-hd": "scsi-cd"}[d.disk]
	}
	if hasSeed {
		args = append(args, "-device", seed+",drive=seed,serial=seed"+d.at(len(disks)))
	}
	return append(args, "-device", d.nic+",netdev=net,romfile=")
}

// orVirtio returns the devices of a machine that bakes; nil if h is unknown.
func (h Hardware) orVirtio() *devices { return cmp.Or(h, VirtioHardware).devices() }

// orCommon returns the devices that an output describes; nil if h is unknown or no
// hardware of VMware and VirtualBox.
func (h Hardware) orCommon() *devices {
	d := cmp.Or(h, CommonHardware).devices()
	if d == nil || d.controller.Type == 0 {
		return nil
	}
	return d
}
