package check

import (
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
)

// Port is a port of the machine at which something must listen.
type Port struct {
	// Number is the port.
	Number int

	// UDP is for a port of UDP, at which something must be bound.
	UDP bool

	// Closed wants that nothing is there.
	Closed bool
}

// String is "port NUMBER", with "/udp" for UDP.
func (p Port) String() string {
	if p.UDP {
		return fmt.Sprintf("port %d/udp", p.Number)
	}
	return fmt.Sprintf("port %d", p.Number)
}

const highestPort = 65535

// Validate reports a Number that is none.
func (p Port) Validate() error {
	if p.Number < 1 || p.Number > highestPort {
		return bake.Invalid("Port.Number", "%d is not a port", p.Number)
	}
	return nil
}

// script reads the kernel's own tables, of proc_pid_net(5): the local address
// with the port in hexadecimal, and the state, of which 0A listens. Where there
// are none it asks ss.
func (p Port) script() string {
	protocol, listens, ss := "tcp", "0A", "-ltn"
	if p.UDP {
		protocol, listens, ss = "udp", "*", "-lun"
	}
	answer := `[ -n "$open" ] || bad "nothing listens there"`
	if p.Closed {
		answer = `[ -z "$open" ] || bad "something listens there"`
	}
	return fmt.Sprintf(`open=
if [ -r /proc/net/%[1]s ]; then
	for table in /proc/net/%[1]s /proc/net/%[1]s6; do
		[ -r "$table" ] || continue
		while read -r _ local _ state _; do
			case $local/$state in *:%04[2]X/%[3]s) open=yes ;; esac
		done <"$table"
	done
elif have ss; then
	if ss %[4]s | grep -qE '[:.]%[2]d[[:space:]]'; then open=yes; fi
else
	bad "neither /proc/net/%[1]s nor ss can tell"
	exit
fi
%[5]s`, protocol, p.Number, listens, ss, answer)
}
