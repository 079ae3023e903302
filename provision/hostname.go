package provision

import (
	"context"
	"regexp"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A Hostname sets the host name of the machine and the image as root, in
// /etc/hostname and /etc/hosts. If cloud-init is installed, it also sets
// preserve_hostname, without which cloud-init renames every instance.
type Hostname struct {
	// Name is the host name: "db" or "db.example.com". It is required.
	Name string
}

var (
	_ bake.Provisioner   = Hostname{}
	_ bake.Validator     = Hostname{}
	_ bake.InputDeclarer = Hostname{}
)

// String returns "hostname NAME".
func (h Hostname) String() string { return "hostname " + h.Name }

const maxHostnameLen = 64

// Validate reports an invalid Name.
func (h Hostname) Validate() error {
	label := `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	if len(h.Name) > maxHostnameLen || !regexp.MustCompile(`^`+label+`(\.`+label+`)*$`).MatchString(h.Name) {
		return bake.Invalid("Hostname.Name", "invalid host name %q", h.Name)
	}
	return nil
}

// DeclareInputs declares the name.
func (h Hostname) DeclareInputs(in *bake.Inputs) error {
	in.Value("name", h.Name)
	return nil
}

// Provision sets the name.
func (h Hostname) Provision(ctx context.Context, m bake.Machine) error {
	if err := h.Validate(); err != nil {
		return err
	}
	names := h.Name
	if short, _, long := strings.Cut(h.Name, "."); long {
		names += " " + short
	}
	return runGuestScript(ctx, m, h.String(), "name="+posixsh.Quote(h.Name)+"\nhosts="+posixsh.Quote("127.0.1.1 "+names)+"\n"+hostnameScript)
}

// hostnameScript uses 127.0.1.1, Debian's address for a host's own name, which
// also works on other systems.
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
		echo "the host name changes to $name at the next boot"
	fi
fi
`
