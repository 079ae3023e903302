package sshmachine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A guestInfo holds the machine's facts and the tools found on it.
type guestInfo struct {
	facts bake.Facts
	tools map[string]bool
	sudo  string // the program's path; empty if there is none
}

// has reports whether the machine has all of the given tools.
func (g *guestInfo) has(tools ...string) bool {
	for _, tool := range tools {
		if !g.tools[tool] {
			return false
		}
	}
	return true
}

// guestScript prints lines of the form "name=value", one for each fact and each
// tool found. openssl needs libraries and a configuration, so it is tried.
const guestScript = `IFS= read -r l; echo "input=$l"
echo "os=$(uname -s)"
echo "arch=$(uname -m)"
echo "kernel=$(uname -r)"
echo "hostname=$(hostname 2>/dev/null || uname -n)"
echo "user=$(id -un)"
echo "uid=$(id -u)"
echo "home=$HOME"
if [ -r /proc/sys/kernel/random/boot_id ]; then echo "boot=$(cat /proc/sys/kernel/random/boot_id)"; fi
if [ -r /etc/os-release ]; then (. /etc/os-release; echo "distro=$ID"; echo "version=$VERSION_ID"); fi
if command -v sudo >/dev/null 2>&1; then echo "sudo=$(command -v sudo)"; fi
for t in tar gzip sha256sum xargs find scp; do
if command -v $t >/dev/null 2>&1; then echo "tool=$t"; fi
done
if openssl dgst -sha256 -r </dev/null >/dev/null 2>&1; then echo "tool=openssl"; fi
exit 42
`

const (
	// probeStatus is the status with which guestScript and probeSudo exit, to
	// detect a login shell, forced command or sudo that does not pass it on.
	probeStatus = 42

	probeSudo = cleanEnvironment + `id -u; exit 42`
)

// A ShellError reports that the login shell, its start-up files or a forced command
// treat commands in a way that makes results unreliable.
type ShellError struct {
	Reason string // what the shell does
}

// Error names the cause.
func (e *ShellError) Error() string { return "login shell or forced command " + e.Reason }

// guestInfo reads facts and tools, once for each connection.
func (c *conn) guestInfo(ctx context.Context) (*guestInfo, error) {
	return c.info.get(ctx, func() (*guestInfo, error) {
		var out answer
		input := newTag()
		p := c.newScript(nil, guestScript, strings.NewReader(input+"\n"))
		p.stdout = &out
		ended, err := c.exec(ctx, p)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read facts: %w", err)
		case strings.Count(out.String(), p.mark) > 0:
			return nil, &ShellError{"merges standard error into standard output"}
		case !strings.Contains(out.String(), "input="+input+"\n"):
			return nil, &ShellError{"reads the standard input of commands, or start-up files such as .bashrc do"}
		case ended.status != probeStatus:
			return nil, &ShellError{fmt.Sprintf("does not pass on exit statuses: got %d, want %d", ended.status, probeStatus)}
		}
		g := &guestInfo{tools: map[string]bool{}}
		g.facts.Read = c.cfg.Clock.Now()
		for line := range strings.Lines(out.String()) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			g.set(name, value)
		}
		if g.facts.OS == "" {
			return nil, fmt.Errorf("read facts: unexpected output %.200q (PATH?)", out.String())
		}
		return g, nil
	})
}

func (g *guestInfo) set(name, value string) {
	f := &g.facts
	switch name {
	case "os":
		f.OS = strings.ToLower(value)
	case "distro":
		f.Distro = value
	case "version":
		f.Version = value
	case "arch":
		f.Arch = value
	case "kernel":
		f.Kernel = value
	case "hostname":
		f.Hostname, _, _ = strings.Cut(value, ".")
	case "boot":
		f.BootID = value
	case "user":
		f.User = value
	case "uid":
		// An unreadable id counts as not root.
		uid, err := strconv.Atoi(value)
		if err != nil {
			uid = -1
		}
		f.UID = uid
	case "home":
		f.Home = value
	case "sudo":
		g.sudo = value
	case "tool":
		g.tools[value] = true
	}
}

// Facts implements [bake.Machine]. Facts are read once for each connection, and so
// at least once per boot.
func (m *Machine) Facts(ctx context.Context) (bake.Facts, error) {
	var facts bake.Facts
	err := m.withConn(ctx, func(c *conn) error {
		g, err := c.guestInfo(ctx)
		if err == nil {
			facts = g.facts
		}
		return err
	})
	if err != nil {
		return bake.Facts{}, err
	}
	return facts, nil
}
