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
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

const ignitionConfig = `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/motd", "contents": {"source": "data:,baked"}}]}}`

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

// TestIgnition expects that a machine gets the caller's configuration merged with the keys of the
// build, and that the image is configured again when it boots.
func TestIgnition(t *testing.T) {
	host, source := newHost(t)
	var args, config string
	var configs []string
	look := func(ctx context.Context, _ bake.Machine) (err error) {
		if args, err = machineFile(ctx, host, "arguments"); err == nil {
			config, err = machineFile(ctx, host, "config.ign")
			configs = append(configs, config)
		}
		return err
	}
	const hidden = "/home/ubuntu/.ssh/authorized_keys.d/ignition"
	img := &bake.Image{
		Name:    "coreos",
		Builder: qemu.Builder{Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG, Ignition: []byte(ignitionConfig), SSH: qemu.SSH{User: "ubuntu"}},
		Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Do: look},
			provision.Shell("mkdir -p "+filepath.Dir(hidden), "cp /home/ubuntu/.ssh/authorized_keys "+hidden, "echo ssh-rsa other >>"+hidden, "mkdir -p /etc", "touch /etc/.ignition-result.json").AsRoot(),
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			if err := look(ctx, m); err != nil {
				return err
			}
			return m.Run(ctx, &bake.Cmd{Line: "test -e /boot/ignition.firstboot && ! test -e /etc/.ignition-result.json && test \"$(cat " + hidden + ")\" = 'ssh-rsa other'", Sudo: true})
		}}},
	}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"opt/com.coreos/config", "opt/org.flatcar-linux/config"} {
		if want := "-fw_cfg\nname=" + name + ",file=config.ign\n"; !strings.Contains(args+"\n", want) {
			t.Errorf("arguments lack %q:\n%s", want, args)
		}
	}
	if len(configs) != 2 || configs[0] == configs[1] {
		t.Errorf("configurations of the machines %q, want two with different keys", configs)
	}
	var got struct {
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
	if err := json.Unmarshal([]byte(config), &got); err != nil {
		t.Fatal(err)
	}
	const data = "data:;base64,"
	if m := got.Ignition.Config.Merge; got.Ignition.Version != "3.0.0" || len(m) != 1 || m[0].Source != data+base64.StdEncoding.EncodeToString([]byte(ignitionConfig)) {
		t.Errorf("ignition = %+v, want the caller's configuration merged", got.Ignition)
	}
	if u := got.Passwd.Users; len(u) != 1 || u[0].Name != "ubuntu" || len(u[0].SSHAuthorizedKeys) == 0 || !strings.HasPrefix(u[0].SSHAuthorizedKeys[0], "ssh-ed25519 ") {
		t.Errorf("users = %+v, want ubuntu with the build's key", u)
	}
	var files []string
	for _, f := range got.Storage.Files {
		files = append(files, f.Path)
		content, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(f.Contents.Source, data))
		if private := strings.Contains(string(content), "PRIVATE KEY"); err != nil || private != (f.Mode == 0o600) || private == strings.HasSuffix(f.Path, ".pub") {
			t.Errorf("%s has the mode %o and a private key: %t, %v", f.Path, f.Mode, private, err)
		}
	}
	if !slices.Contains(files, "/etc/ssh/ssh_host_ed25519_key") || !slices.Contains(files, "/etc/ssh/ssh_host_ed25519_key.pub") {
		t.Errorf("files = %q, want sshd's host keys", files)
	}
	readIgnition(t, config)
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
