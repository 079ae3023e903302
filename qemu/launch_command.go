package qemu

import (
	"cmp"
	"encoding/json"
	"strconv"
)

func (b Builder) memory() int64 { return cmp.Or(b.Memory, defaultMemory) }

// command returns QEMU's arguments. Names of files are relative to the machine's
// directory, where QEMU is started: the path of a socket must be short.
func (s *session) command(a Accelerator) []string {
	b := s.builder
	machine := cmp.Or(b.Machine, "q35")
	if s.Machine.Arch == arm64 {
		machine = cmp.Or(b.Machine, "virt")
	}
	const mib = 20
	args := []string{
		"-no-user-config", "-nodefaults", "-display", "none",
		"-name", "bakestone-" + s.run.ID,
		"-uuid", s.Machine.Mark,
		"-machine", machine + ",accel=" + string(a),
		"-cpu", b.cpu(a),
		"-smp", strconv.Itoa(cmp.Or(b.CPUs, defaultCPUs)),
		"-m", strconv.FormatInt(b.memory()>>mib, 10) + "M",
		"-pidfile", pidName,
		"-chardev", "socket,id=qmp,path=" + socketName + ",server=on,wait=off",
		"-mon", "chardev=qmp,mode=control",
		"-chardev", "file,id=console,path=" + consoleName + ",append=on",
		"-serial", "chardev:console",
		// A panic ends QEMU with an error; pvpanic tells of it.
		"-device", "pvpanic-pci", "-action", "panic=exit-failure",
		"-device", "virtio-rng-pci",
		"-blockdev", blockdev(map[string]any{
			"node-name": "seed", "driver": "raw", "read-only": true,
			"file": map[string]any{"driver": "file", "filename": seedName, "read-only": true},
		}),
		// QEMU chooses the port, so no other process can take it.
		"-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:0-:22",
	}
	for _, d := range s.Machine.Disks {
		args = append(args, "-blockdev", blockdev(map[string]any{
			"node-name": d.node(), "driver": "qcow2", "discard": "unmap", "detect-zeroes": "unmap",
			"file": map[string]any{"driver": "file", "filename": d.file(), "discard": "unmap"},
		}))
	}
	args = append(args, s.hardware().command(s.Machine.Disks)...)
	args = append(args, b.networks(s.hardware())...)
	if s.Machine.Arch == x86 {
		args = append(args, "-device", "VGA") // boot loaders may need one
	}
	if s.detached() { // for the person who looks at it
		args = append(args, "-vnc", "unix:"+screenName)
	}
	return append(args, b.Args...)
}

// hardware returns the devices of the machine.
func (s *session) hardware() *devices {
	if h := s.builder.CheckHardware; s.run.Checks && h != DefaultHardware {
		return h.devices()
	}
	return s.builder.Hardware.orVirtio()
}

// blockdev encodes the options of a disk. In JSON, names may contain commas.
func blockdev(options map[string]any) string {
	text, err := json.Marshal(options)
	if err != nil {
		panic("qemu: encode options: " + err.Error()) // strings, booleans and maps of these
	}
	return string(text)
}
