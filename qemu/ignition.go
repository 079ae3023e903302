package qemu

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
)

// ignitionVersion matches the versions of configurations that Ignition 2 and later read.
var ignitionVersion = regexp.MustCompile(`^3\.[0-9]+\.[0-9]+(-experimental)?$`)

// validateIgnition reports a configuration that no Ignition reads. Ignition itself reports the
// rest on the console of the machine.
func validateIgnition(config []byte) error {
	var head struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if err := json.Unmarshal(config, &head); err != nil {
		return fmt.Errorf("is not JSON: %w (translate YAML by butane)", err)
	}
	if v := head.Ignition.Version; !ignitionVersion.MatchString(v) {
		return fmt.Errorf("ignition.version is %q, want 3.0.0 or later", v)
	}
	return nil
}

// An ignitionConfig is the part of Ignition's configuration that Bakestone writes, of version 3.0.0.
type ignitionConfig struct {
	Ignition struct {
		Version string `json:"version"`
		Config  struct {
			Merge []ignitionSource `json:"merge,omitempty"`
		} `json:"config"`
	} `json:"ignition"`
	Passwd struct {
		Users []ignitionUser `json:"users,omitempty"`
	} `json:"passwd"`
	Storage struct {
		Files []ignitionFile `json:"files,omitempty"`
	} `json:"storage"`
}

type ignitionSource struct {
	Source string `json:"source"`
}

type ignitionUser struct {
	Name              string   `json:"name"`
	SSHAuthorizedKeys []string `json:"sshAuthorizedKeys"`
}

type ignitionFile struct {
	Path      string         `json:"path"`
	Mode      int            `json:"mode"`
	Overwrite bool           `json:"overwrite"`
	Contents  ignitionSource `json:"contents"`
}

// inline returns content as a source of Ignition's.
func inline(content []byte) ignitionSource {
	return ignitionSource{"data:;base64," + base64.StdEncoding.EncodeToString(content)}
}

// ignition returns the machine's configuration: the keys of the build, with which Ignition
// merges the caller's configuration of whatever version. A machine that was configured gets
// the keys alone, since Ignition does not write files that exist, and may wipe file systems:
// one that is started again, and the one that checks.
func (s *session) ignition() ([]byte, error) {
	var c ignitionConfig
	c.Ignition.Version = "3.0.0"
	if s.Machine.Fresh && !s.run.Checks {
		c.Ignition.Config.Merge = []ignitionSource{inline(s.builder.Ignition)}
	}
	user := ignitionUser{Name: s.Machine.Login}
	for _, key := range []string{s.Keys.ClientPublic, s.Keys.ClientECDSAPublic} {
		if key != "" {
			user.SSHAuthorizedKeys = append(user.SSHAuthorizedKeys, key)
		}
	}
	if len(user.SSHAuthorizedKeys) > 0 {
		c.Passwd.Users = []ignitionUser{user}
	}
	const private, public = 0o600, 0o644
	for _, f := range []struct {
		name, content string
		mode          int
	}{
		{"ed25519_key", s.Keys.HostPrivate, private},
		{"ed25519_key.pub", s.Keys.HostPublic, public},
		{"ecdsa_key", s.Keys.HostECDSAPrivate, private},
		{"ecdsa_key.pub", s.Keys.HostECDSAPublic, public},
	} {
		if f.content != "" {
			c.Storage.Files = append(c.Storage.Files, ignitionFile{"/etc/ssh/ssh_host_" + f.name, f.mode, true, inline([]byte(f.content + "\n"))})
		}
	}
	return json.Marshal(c)
}

// prepareIgnition writes the configuration that ignitionArgs gives to the machine. Where Ignition
// may have been interrupted by the end of an earlier process, its machine gets new disks.
func (s *session) prepareIgnition(ctx context.Context) error {
	if s.builder.Ignition == nil || s.installing != nil {
		return nil
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if s.resumed && s.Machine.Fresh && s.installer() == nil {
		s.run.Say("Ignition may have been interrupted: starting again from the source")
		if err := s.createLayers(ctx); err != nil {
			return err
		}
	}
	config, err := s.ignition()
	if err != nil {
		return err
	}
	return atomicfile.Write(s.path(ignitionName), config, privateFile)
}

// ignitionArgs returns QEMU's arguments for the names by which Ignition of CoreOS and Ignition of
// Flatcar look for their configuration. An installer has answers of its own.
func (s *session) ignitionArgs() []string {
	if s.builder.Ignition == nil || s.installing != nil {
		return nil
	}
	return []string{
		"-fw_cfg", "name=opt/com.coreos/config,file=" + ignitionName,
		"-fw_cfg", "name=opt/org.flatcar-linux/config,file=" + ignitionName,
	}
}

// rearmIgnition makes Ignition run when the image boots for the first time. The file systems for
// booting may be read-only. CoreOS removes the stamp of the machine's own first boot while sshd
// starts, which is waited for.
const rearmIgnition = `stamp=/boot/ignition.firstboot
if grep -q '^ID=flatcar' /etc/os-release 2>/dev/null; then stamp=/boot/flatcar/first_boot; fi
if [ -e "$stamp" ]; then
	for unit in coreos-ignition-firstboot-complete ignition-firstboot-complete; do systemctl start "$unit" 2>/dev/null; done
fi
make() { mkdir -p "${stamp%/*}" && touch "$stamp"; }
if ! make 2>/dev/null; then mount -o remount,rw /boot && make || exit; fi
rm -f /etc/.ignition-result.json && sync`

// rearm makes the guest be configured again, if Ignition has configured it.
func (s *session) rearm(ctx context.Context, m bake.Machine) error {
	return s.runForIgnition(ctx, m, rearmIgnition)
}

// forgetFirstBoot follows the clean-up. With an empty /etc/machine-id systemd would not enable what
// Ignition tells it to enable; CoreOS and Flatcar come without the file.
func (s *session) forgetFirstBoot(ctx context.Context, m bake.Machine) error {
	return s.runForIgnition(ctx, m, "[ -s /etc/machine-id ] || rm -f /etc/machine-id")
}

// keepIgnition makes what Ignition has written outlive QEMU: it will not write it again.
func (s *session) keepIgnition(ctx context.Context, m bake.Machine) error {
	if s.builder.Ignition == nil || !s.Machine.Fresh {
		return nil
	}
	return m.Run(ctx, bake.Sh("sync"))
}

func (s *session) runForIgnition(ctx context.Context, m bake.Machine, line string) error {
	if s.builder.Ignition == nil {
		return nil
	}
	if err := m.Run(ctx, &bake.Cmd{Line: line, Sudo: true}); err != nil {
		return fmt.Errorf("prepare the guest for Ignition: %w", err)
	}
	return nil
}
