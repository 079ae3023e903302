package qemu

import (
	"cmp"
	"encoding/json"
	"strconv"
)

func (b Builder) memory() int64 { return cmp.Or(b.Memory, defaultMemory) }

// installArgs is what QEMU is told while an installer runs.
type installArgs struct {
	installation

	installer *Installer
	append    string
}

// command returns QEMU's arguments. Names of files are relative to the machine's
// directory, where QEMU is started: the path of a socket must be short.
func (s *session) command(a Accelerator) []string {
	b := s.builder
	const mib = 20
	firmware, properties := s.firmwareArgs()
	args := []string{
		"-no-user-config", "-nodefaults", "-display", "none",
		"-name", "bakestone-" + s.run.ID,
		"-uuid", s.Machine.Mark,
		"-machine", s.machineType() + ",accel=" + string(a) + properties,
		"-cpu", b.cpu(a),
		"-smp", strconv.Itoa(cmp.Or(b.CPUs, defaultCPUs)),
		"-m", strconv.FormatInt(b.memory()>>mib, 10) + "M",
		"-pidfile", pidName,
		"-chardev", "socket,id=qmp,path=" + socketName + ",server=on,wait=off",
		"-mon", "chardev=qmp,mode=control",
		"-chardev", "socket,id=events,path=" + eventsName + ",server=on,wait=off",
		"-mon", "chardev=events,mode=control",
		"-chardev", "file,id=console,path=" + consoleName + ",append=on",
		"-serial", "chardev:console",
		// A panic ends QEMU with an error; pvpanic tells of it.
		"-device", "pvpanic-pci", "-action", "panic=exit-failure",
		"-device", "virtio-rng-pci",
		// QEMU chooses the port, so no other process can take it.
		"-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22",
	}
	if s.Machine.Arch == x86 {
		args = append(args, "-device", "VGA") // boot loaders may need one
	}
	if s.detached() { // for the person who looks at it
		args = append(args, "-vnc", "unix:"+screenName)
	}
	args = append(append(append(args, firmware...), s.tpmArgs()...), s.ignitionArgs()...)
	for _, d := range s.Machine.Disks {
		// A disk that is being installed need not survive a crash of the host.
		args = append(args, disk(d.node(), d.file(), "qcow2", options{
			"discard": "unmap", "detect-zeroes": "unmap", "cache": options{"no-flush": s.installing != nil},
		})...)
	}
	seed := seedName
	if s.installing != nil {
		args = append(args, s.installing.args(s.Machine.Arch)...)
		if seed = ""; s.installing.installer.Label != "" {
			seed = answersName
		}
	}
	if seed != "" {
		args = append(args, disk("seed", seed, "raw", options{"read-only": true})...)
	}
	args = append(args, s.hardware().command(s.Machine.Disks, seed != "")...)
	args = append(args, b.networks(s.hardware())...)
	return append(args, b.Args...)
}

// hardware returns the devices of the machine.
func (s *session) hardware() *devices {
	if h := s.builder.CheckHardware; s.run.Checks && h != DefaultHardware {
		return h.devices()
	}
	return s.builder.Hardware.orVirtio()
}

// args returns the arguments for the media of an installer, which ends QEMU instead of
// rebooting.
func (i *installArgs) args(arch string) []string {
	args := []string{"-no-reboot"}
	if i.Kernel != "" {
		args = append(args, "-kernel", i.Kernel, "-append", i.append)
	}
	if i.Initrd != "" {
		args = append(args, "-initrd", i.Initrd)
	}
	if i.ISO != "" {
		args = append(args, disk("iso", i.ISO, "raw", options{"read-only": true})...)
		// Installers have drivers for CDs of SATA and SCSI; kernels for clouds only of SCSI.
		device := "ide-cd,drive=iso,bootindex=2"
		if arch != x86 {
			device = "scsi-cd,drive=iso,bootindex=2"
			args = append(args, "-device", "virtio-scsi-pci")
		}
		args = append(args, "-device", device)
	}
	if arch != x86 && len(i.installer.Keys) > 0 {
		args = append(args, "-device", "virtio-keyboard-pci") // PCs have one
	}
	return args
}

func (s *session) machineType() string {
	if s.Machine.Arch == arm64 {
		return cmp.Or(s.builder.Machine, "virt")
	}
	return cmp.Or(s.builder.Machine, "q35")
}

// options are those of a disk.
type options map[string]any

// disk returns the argument for a disk in a file. The options apply to the disk, and
// those that a file has to the file as well. In JSON, names may contain commas.
func disk(node, file, driver string, more options) []string {
	below := options{"driver": "file", "filename": file}
	above := options{"node-name": node, "driver": driver, "file": below}
	for name, value := range more {
		above[name] = value
		if name != "detect-zeroes" {
			below[name] = value
		}
	}
	text, err := json.Marshal(above)
	if err != nil {
		panic("qemu: encode options: " + err.Error()) // strings, booleans and maps of these
	}
	return []string{"-blockdev", string(text)}
}
