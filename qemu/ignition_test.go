//go:build unix

package qemu_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

const ignitionConfig = `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/caller.conf", "contents": {"source": "data:,baked"}}]}}`

// machineFile reads a file in the directory of the running machine of a host.
func machineFile(ctx context.Context, host *qemu.Host, name string) (string, error) {
	machines, err := host.Machines(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range machines {
		if m.Running {
			text, err := os.ReadFile(filepath.Join(m.Dir, name))
			return string(text), err
		}
	}
	return "", errors.New("no machine is running")
}

// An ignitionFile is what the tests read of a configuration that a machine gets.
type ignitionFile struct {
	Ignition struct {
		Version string
		Config  struct{ Merge []struct{ Source string } }
	}
	Passwd struct {
		Users []struct {
			Name              string
			SSHAuthorizedKeys []string
		}
	}
	Storage struct {
		Files []struct {
			Path     string
			Mode     int
			Contents struct{ Source string }
		}
	}
}

// dataURL is the beginning of an inline content.
const dataURL = "data:;base64,"

// readIgnitionFile parses the configuration of the running machine of a host.
func readIgnitionFile(ctx context.Context, host *qemu.Host) (text string, c ignitionFile, err error) {
	if text, err = machineFile(ctx, host, "config.ign"); err == nil {
		err = json.Unmarshal([]byte(text), &c)
	}
	return text, c, err
}

// keys returns the keys of a machine: private and public ones of the host by their files, and the
// public one of the login under its name.
func (c ignitionFile) keys() map[string]string {
	keys := map[string]string{}
	for _, f := range c.Storage.Files {
		content, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f.Contents.Source, dataURL))
		if err == nil {
			keys[f.Path] = strings.TrimSpace(string(content))
		}
	}
	for _, u := range c.Passwd.Users {
		keys[u.Name] = u.SSHAuthorizedKeys[0]
	}
	return keys
}

// TestIgnition expects that a machine gets the caller's configuration merged with the keys of the
// build, and that the machine of the image is configured again, with other keys alone.
func TestIgnition(t *testing.T) {
	host, source := newHost(t)
	var args, text string
	var configs []ignitionFile
	look := func(ctx context.Context, _ bake.Machine) error {
		now, config, err := readIgnitionFile(ctx, host)
		if err != nil {
			return err
		}
		configs = append(configs, config)
		if len(configs) == 1 {
			text = now
			args, err = machineFile(ctx, host, "arguments")
		}
		return err
	}
	const hidden = "/home/ubuntu/.ssh/authorized_keys.d/ignition"
	img := &bake.Image{
		Name:    "coreos",
		Builder: qemu.Builder{Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG, Ignition: []byte(ignitionConfig), SSH: qemu.SSH{User: "ubuntu"}},
		Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Do: look},
			provision.Shell("mkdir -p "+filepath.Dir(hidden), "cp /home/ubuntu/.ssh/authorized_keys "+hidden, "echo ssh-rsa other >>"+hidden, "test -e "+ignitionResult+" && test -e "+ignitionMade).AsRoot(),
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			if err := look(ctx, m); err != nil {
				return err
			}
			return m.Run(ctx, &bake.Cmd{Line: "test -e /boot/ignition.firstboot && test -e " + ignitionMade + " && test \"$(cat " + hidden + ")\" = 'ssh-rsa other'", Sudo: true})
		}}},
	}
	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	image, err := readFakeDisk(diskOf(t, results[0]).Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ignitionResult, "/etc/machine-id"} {
		if f, found := image.Files[name]; found {
			t.Errorf("the image has %s with %q: its machines would not be configured", name, f.Content)
		}
	}
	for _, name := range []string{"opt/com.coreos/config", "opt/org.flatcar-linux/config"} {
		if want := "-fw_cfg\nname=" + name + ",file=config.ign\n"; !strings.Contains(args+"\n", want) {
			t.Errorf("arguments lack %q:\n%s", want, args)
		}
	}
	if len(configs) != 2 {
		t.Fatalf("%d machines had a configuration, want 2", len(configs))
	}
	built, checked := configs[0], configs[1]
	if m := built.Ignition.Config.Merge; built.Ignition.Version != "3.0.0" || len(m) != 1 || m[0].Source != dataURL+base64.StdEncoding.EncodeToString([]byte(ignitionConfig)) {
		t.Errorf("ignition = %+v, want the caller's configuration merged", built.Ignition)
	}
	if m := checked.Ignition.Config.Merge; len(m) > 0 {
		t.Errorf("the machine that checks merges %+v, want the keys alone: Ignition refuses to write a file again", m)
	}
	if u := built.Passwd.Users; len(u) != 1 || u[0].Name != "ubuntu" || len(u[0].SSHAuthorizedKeys) == 0 || !strings.HasPrefix(u[0].SSHAuthorizedKeys[0], "ssh-ed25519 ") {
		t.Errorf("users = %+v, want ubuntu with the build's key", u)
	}
	for _, f := range built.Storage.Files {
		content := built.keys()[f.Path]
		if private := strings.Contains(content, "PRIVATE KEY"); content == "" || private != (f.Mode == 0o600) || private == strings.HasSuffix(f.Path, ".pub") {
			t.Errorf("%s has the mode %o and a private key: %t", f.Path, f.Mode, private)
		}
	}
	for _, name := range []string{"/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub", "ubuntu"} {
		if a, b := built.keys()[name], checked.keys()[name]; a == "" || b == "" || a == b {
			t.Errorf("%s: keys of the machines are %q and %q, want two", name, a, b)
		}
	}
	readIgnition(t, text)
}

// readIgnition reads a configuration, and those merged with it, by Ignition's own parser.
func readIgnition(t *testing.T, config string) {
	t.Helper()
	parser := testenv.Need(t, "ignition-validate")
	for _, text := range []string{config, ignitionConfig} {
		path := filepath.Join(t.TempDir(), "config.ign")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), parser, path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("ignition-validate: %v, %s\n%s", err, out, text)
		}
	}
}

// TestStuckGuest expects an error at once from guests that wait for a person.
func TestStuckGuest(t *testing.T) {
	for name, test := range map[string]struct{ console, want string }{
		"CoreOS":          {"\nDisplaying logs from failed units: sysroot.mount\nPress Enter for emergency shell or wait 5 minutes for reboot.      \r", "Press Enter for emergency shell"},
		"Ignition":        {"\n[   17.6] ignition[620]: CRITICAL : Ignition failed: failed to fetch config\r\n", "Ignition failed: failed to fetch config\n"},
		"systemd":         {"\r\nYou are in emergency mode. After logging in, type \"journalctl -xb\" to view\r\n", "You are in emergency mode"},
		"initramfs-tools": {"\r\nALERT! /dev/vda1 does not exist.\r\n\r\n(initramfs) ", "(initramfs)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, source := newHost(t)
			_, err := bake.Bake(t.Context(), nil, &bake.Image{
				Name: "stuck", Builder: qemu.Builder{Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG, Args: []string{fakeConsole, test.console}},
			})
			wantError(t, err, "machine is stuck while it boots: "+test.want)
			if left := existing(t, host); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestIgnitionValidate(t *testing.T) {
	host, source := newHost(t)
	for want, b := range map[string]qemu.Builder{
		"Builder.Ignition: is not JSON":                     {Ignition: []byte("variant: fcos\nversion: 1.5.0\n"), SSH: qemu.SSH{User: "core"}},
		`Builder.Ignition: ignition.version is "2.2.0"`:     {Ignition: []byte(`{"ignition": {"version": "2.2.0"}}`), SSH: qemu.SSH{User: "core"}},
		`Builder.Ignition: ignition.version is "", want 3.`: {Ignition: []byte(`{}`), SSH: qemu.SSH{User: "core"}},
		"Builder.SSH.User: is required by Builder.Ignition": {Ignition: []byte(ignitionConfig)},
	} {
		b.Host, b.Source = host, qemu.DiskFile(source)
		_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "coreos", Builder: b})
		wantError(t, err, want)
	}
	if left := existing(t, host); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
