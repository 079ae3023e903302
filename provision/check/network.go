package check

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
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

// HTTP is a request that must be answered when it is made on the machine. It
// needs curl or wget there.
type HTTP struct {
	// URL is what is asked for, of the schemes http and https.
	URL string

	// Status is that of the answer. Zero is 200. Redirections are not followed
	// by curl.
	Status int

	// Contains is a text in the body, and Matches an extended regular expression
	// of grep that some line of it must match.
	Contains string
	Matches  string

	// InsecureTLS takes any certificate.
	InsecureTLS bool
}

// String is "HTTP URL".
func (h HTTP) String() string { return "HTTP " + h.URL }

const (
	lowestHTTPStatus  = 100
	highestHTTPStatus = 599
)

// Validate reports what is not a URL, and a Status that is none.
func (h HTTP) Validate() error {
	errs := []error{checkLine("HTTP.Matches", h.Matches), checkLine("HTTP.URL", h.URL)}
	if u, err := url.Parse(h.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, bake.Invalid("HTTP.URL", "%q is not a URL of http or https", h.URL))
	}
	if h.Status != 0 && (h.Status < lowestHTTPStatus || h.Status > highestHTTPStatus) {
		errs = append(errs, bake.Invalid("HTTP.Status", "%d is not a status", h.Status))
	}
	return errors.Join(errs...)
}

// script asks with curl, or with wget, whose two kinds agree on no more than to
// print the headers with -S; BusyBox of Debian 12 crashes at -T.
func (h HTTP) script() string {
	want, curl, wget := 200, "", ""
	if h.Status != 0 {
		want = h.Status
	}
	if h.InsecureTLS {
		curl, wget = "-k ", "--no-check-certificate "
	}
	return fmt.Sprintf(`url=%s
if have curl; then
	out=$(curl -sS -m 10 %s-w '\n%%{http_code}' "$url" 2>&1) || { bad "no answer: $out"; exit; }
	status=$(printf '%%s\n' "$out" | tail -n 1)
elif have wget; then
	limit=
	if timeout 10 true 2>/dev/null; then limit="timeout 10"; fi
	head=$($limit wget -S %s-O /dev/null "$url" 2>&1) || :
	status=$(printf '%%s\n' "$head" | sed -n 's|.*HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' | tail -n 1)
	[ -n "$status" ] || { bad "no answer: $head"; exit; }
	out=$($limit wget -q %[3]s-O - "$url" 2>/dev/null)
else
	bad "neither curl nor wget is on the machine"
	exit
fi
is "the status" "$status" %[4]d
`, posixsh.Quote(h.URL), curl, wget, want) + contentScript("the body", h.Contains, h.Matches)
}
