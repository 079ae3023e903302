package qemu

import (
	"fmt"
	"net"
	"regexp"
)

// A Network connects the machine to a network of the baking host, besides the one that
// QEMU provides, over which the machine is baked. The machine that checks the image is
// connected as well. Exactly one of Bridge and Tap must be set.
type Network struct {
	// Bridge is the name of a bridge of the host: "br0". QEMU's bridge helper, which
	// /etc/qemu/bridge.conf must permit to use the bridge, connects the machine.
	Bridge string

	// Tap is the name of a tap device, which exists and may be opened by this user.
	Tap string

	// MAC is the address of the adapter: "52:54:00:12:34:56". If empty, QEMU chooses
	// it, the same for every machine: set it where several machines share a network.
	MAC string
}

// deviceName matches the names of network devices.
var deviceName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,15}$`)

// validateNetworks reports invalid networks.
func (b Builder) validateNetworks(invalid func(field, format string, args ...any)) {
	for i, n := range b.Networks {
		field := fmt.Sprintf("Networks[%d]", i)
		switch {
		case (n.Bridge == "") == (n.Tap == ""):
			invalid(field, "exactly one of Bridge and Tap must be set")
		case !deviceName.MatchString(n.Bridge + n.Tap):
			invalid(field, "invalid device name %q", n.Bridge+n.Tap)
		}
		const length, multicast = 6, 1
		if mac, err := net.ParseMAC(n.MAC); n.MAC != "" && (err != nil || len(mac) != length || mac[0]&multicast != 0) {
			invalid(field+".MAC", "invalid address %q", n.MAC)
		}
	}
}

// networks returns QEMU's arguments for the further networks.
func (b Builder) networks(hardware *devices) []string {
	args := make([]string, 0, 4*len(b.Networks))
	for i, n := range b.Networks {
		id := fmt.Sprintf("net%d", i+1)
		backend := "bridge,br=" + n.Bridge
		if n.Tap != "" {
			backend = "tap,script=no,downscript=no,ifname=" + n.Tap
		}
		device := hardware.nic + ",romfile=,netdev=" + id
		if n.MAC != "" {
			device += ",mac=" + n.MAC
		}
		args = append(args, "-netdev", backend+",id="+id, "-device", device)
	}
	return args
}
