package provision

import (
	"context"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Hostname names the machine, now and in the image, as root: in /etc/hostname
// and /etc/hosts, and for cloud-init, where there is one, as the name to keep
// (preserve_hostname). Without that cloud-init names every instance anew.
type Hostname struct {
	// Name is the name: "db" or "db.example.com".
	Name string
}

// String is "hostname NAME".
func (h Hostname) String() string { return "hostname " + h.Name }

const longestHostname = 64

// Validate reports a Name that is none.
func (h Hostname) Validate() error {
	label := `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	if len(h.Name) > longestHostname || !regexp.MustCompile(`^`+label+`(\.`+label+`)*$`).MatchString(h.Name) {
		return bake.Invalid("Hostname.Name", "%q is not a name of a host", h.Name)
	}
	return nil
}

// DeclareInputs declares the name.
func (h Hostname) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", h.Name)
	return nil
}

// Provision names the machine.
func (h Hostname) Provision(ctx context.Context, m bake.Machine) error {
	if err := h.Validate(); err != nil {
		return err
	}
	names := h.Name
	if short, _, long := strings.Cut(h.Name, "."); long {
		names += " " + short
	}
	return onGuest(ctx, m, h.String(), "name="+posixsh.Quote(h.Name)+"\nhosts="+posixsh.Quote("127.0.1.1 "+names)+"\n"+hostnameScript)
}

// hostnameScript writes the name. 127.0.1.1 is Debian's address for a host's
// own name, and as good as any on other systems.
const hostnameScript = `
put /etc/hostname "$name"
if ! grep -qxF "$hosts" /etc/hosts 2>/dev/null; then
	others=$(grep -v '^127\.0\.1\.1[[:space:]]' /etc/hosts 2>/dev/null || :)
	put /etc/hosts "$others
$hosts"
fi
if [ -d /etc/cloud/cloud.cfg.d ]; then
	put /etc/cloud/cloud.cfg.d/99-bakestone-hostname.cfg 'preserve_hostname: true'
fi
if [ "$(uname -n)" != "$name" ]; then
	if hostname "$name" 2>/dev/null || hostnamectl set-hostname "$name" 2>/dev/null; then
		changed "the running system"
	else
		echo "the machine is called $name from its next boot on"
	fi
fi
`
