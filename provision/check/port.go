package check

import (
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
)

// A Port verifies that a process listens on a TCP port of the machine.
type Port struct {
	// Number is the port number, from 1 to 65535.
	Number int

	// UDP verifies a UDP port instead, to which a socket must be bound.
	UDP bool

	// Closed requires that nothing listens.
	Closed bool
}

var _ Test = Port{}

// String returns "port NUMBER", with "/udp" for UDP.
func (p Port) String() string {
	if p.UDP {
		return fmt.Sprintf("port %d/udp", p.Number)
	}
	return fmt.Sprintf("port %d", p.Number)
}

const maxPort = 65535

// Validate reports an invalid Number.
func (p Port) Validate() error {
	if p.Number < 1 || p.Number > maxPort {
		return bake.Invalid("Port.Number", "invalid port %d", p.Number)
	}
	return nil
}

// script reads the tables described in proc_pid_net(5), which contain the local
// address with the port in hexadecimal and the state, where 0A means listening.
// Without these tables it runs ss.
func (p Port) script() string {
	protocol, listens, ss := "tcp", "0A", "-ltn"
	if p.UDP {
		protocol, listens, ss = "udp", "*", "-lun"
	}
	answer := `[ -n "$open" ] || bad "nothing is listening"`
	if p.Closed {
		answer = `[ -z "$open" ] || bad "a process is listening"`
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
	bad "cannot determine: /proc/net/%[1]s and ss are missing"
	exit
fi
%[5]s`, protocol, p.Number, listens, ss, answer)
}
