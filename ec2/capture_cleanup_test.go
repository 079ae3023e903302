package ec2_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/provision"
)

// traces are files as a machine leaves them, by the trace that they are.
func traces() map[string]ec2.CleanupItem {
	return map[string]ec2.CleanupItem{
		"/var/lib/cloud/data/instance-id":             ec2.CloudInit,
		"/etc/ssh/ssh_host_rsa_key":                   ec2.HostKeys,
		"/etc/machine-id":                             ec2.MachineID,
		"/var/lib/dbus/machine-id":                    ec2.MachineID,
		"/root/.bash_history":                         ec2.Histories,
		"/home/ubuntu/.lesshst":                       ec2.Histories,
		"/var/log/auth.log":                           ec2.Logs,
		"/var/log/nginx/access.log.2.gz":              ec2.Logs,
		"/var/log/journal/0123456789abcdef/x.journal": ec2.Logs,
		"/tmp/a file/in a directory":                  ec2.TemporaryFiles,
		"/var/tmp/.hidden":                            ec2.TemporaryFiles,
		"/var/lib/systemd/random-seed":                ec2.Leases,
		"/var/cache/apt/archives/nginx.deb":           ec2.PackageCaches,
		"/var/lib/apt/lists/archive_dists_InRelease":  ec2.PackageCaches,
	}
}

// littered is an image on whose machine all traces were left.
func littered(cloud *ec2.Cloud, h ec2.GuestCleanup) *bake.Image {
	img := &bake.Image{Name: "littered", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), GuestCleanup: h}}
	for path := range traces() {
		img.Provisioners = append(img.Provisioners, provision.File{Content: "a trace\n", Dest: path, Sudo: true})
	}
	img.Provisioners = append(img.Provisioners,
		provision.File{Content: "stays\n", Dest: "/var/lib/cloud/scripts/per-boot/ours", Sudo: true},
		provision.Shell("mkdir -p /home/deploy/.ssh", "echo 'ssh-ed25519 AAAA team' >>/home/ubuntu/.ssh/authorized_keys").AsRoot())
	return img
}

func TestGuestCleanup(t *testing.T) {
	for name, test := range map[string]struct {
		hygiene ec2.GuestCleanup
		stay    []ec2.CleanupItem
		keys    string // what is left of the keys
	}{
		"by default": {stay: []ec2.CleanupItem{ec2.PackageCaches}, keys: "ssh-ed25519 AAAA team\n"},
		"all":        {hygiene: ec2.GuestCleanup{Also: []ec2.CleanupItem{ec2.PackageCaches, ec2.AuthorizedKeys}}},
		"some kept": {
			hygiene: ec2.GuestCleanup{Keep: []ec2.CleanupItem{ec2.Logs, ec2.HostKeys}},
			stay:    []ec2.CleanupItem{ec2.Logs, ec2.HostKeys, ec2.PackageCaches}, keys: "ssh-ed25519 AAAA team\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, nil)
			reported := map[string]string{}
			results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
				if trace, paths, ok := strings.Cut(strings.TrimPrefix(e.Text, "clean-up: removed "), ": "); ok && e.Step == "clean guest" {
					reported[trace] = paths
				}
			}}, littered(newCloud(server), test.hygiene))
			if err != nil {
				t.Fatal(err)
			}
			id := results[0].Artifact.ID()
			for path, trace := range traces() {
				got, err := server.ReadFile(id, path)
				if stays := err == nil && len(got) > 0; stays != slices.Contains(test.stay, trace) {
					t.Errorf("%s: %q, %v", path, got, err)
				}
				if told := strings.Contains(reported[string(trace)], strings.TrimSuffix(path, "/in a directory")) ||
					strings.Contains(reported[string(trace)], filepath.Dir(path)); told == slices.Contains(test.stay, trace) {
					t.Errorf("%s is reported as %q", path, reported[string(trace)])
				}
			}
			if keys, err := server.ReadFile(id, "/home/ubuntu/.ssh/authorized_keys"); err != nil || string(keys) != test.keys {
				t.Errorf("keys %q, %v; want %q", keys, err, test.keys)
			}
			if _, err := server.ReadFile(id, "/var/lib/cloud/scripts/per-boot/ours"); err != nil {
				t.Errorf("a per-boot script is gone: %v", err)
			}
			if _, err := server.ReadFile(id, "/var/log/auth.log"); err != nil {
				t.Errorf("a log that is written to is gone: %v", err)
			}
		})
	}
}

// An instance of a clean image comes up again, with keys of its own.
func TestCleanedImageBoots(t *testing.T) {
	server := newServer(t, nil)
	img := littered(newCloud(server), ec2.GuestCleanup{})
	img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
		return m.Run(ctx, bake.Sh("test -s /etc/ssh/ssh_host_ed25519_key && test ! -e /root/.bash_history"))
	}}}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Fatal(err)
	}
}

func TestGuestCleanupOff(t *testing.T) {
	server := newServer(t, nil)
	results, err := bake.Bake(t.Context(), nil, littered(newCloud(server), ec2.GuestCleanup{Off: true}))
	if err != nil {
		t.Fatal(err)
	}
	for path := range traces() {
		if got, err := server.ReadFile(results[0].Artifact.ID(), path); err != nil || len(got) == 0 {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestValidateGuestCleanup(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	for want, h := range map[string]ec2.GuestCleanup{
		`Builder.GuestCleanup.Keep: unknown item "cookies"`:          {Keep: []ec2.CleanupItem{"cookies"}},
		"Builder.GuestCleanup.Also: logs is in Keep as well":         {Keep: []ec2.CleanupItem{ec2.Logs}, Also: []ec2.CleanupItem{ec2.Logs}},
		"Builder.GuestCleanup.Also: cannot be set together with Off": {Off: true, Also: []ec2.CleanupItem{ec2.PackageCaches}},
	} {
		err := bake.Validate(nil, &bake.Image{Name: "valid", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), GuestCleanup: h}})
		wantError(t, "Validate", err, want)
	}
}
