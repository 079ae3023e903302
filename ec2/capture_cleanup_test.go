package ec2_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/provision"
)

// litteredFiles returns the items that the files of littered belong to, by path.
func litteredFiles() map[string]ec2.CleanupItem {
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

// littered returns an image with files of all items.
func littered(cloud *ec2.Cloud, c ec2.GuestCleanup) *bake.Image {
	img := &bake.Image{Name: "littered", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), GuestCleanup: c}}
	for path := range litteredFiles() {
		img.Provisioners = append(img.Provisioners, provision.File{Content: "a trace\n", Dest: path, Sudo: true})
	}
	img.Provisioners = append(img.Provisioners,
		provision.File{Content: "stays\n", Dest: "/var/lib/cloud/scripts/per-boot/ours", Sudo: true},
		provision.Shell("mkdir -p /home/deploy/.ssh", "echo 'ssh-ed25519 AAAA team' >>/home/ubuntu/.ssh/authorized_keys").AsRoot())
	return img
}

func TestGuestCleanup(t *testing.T) {
	for name, test := range map[string]struct {
		cleanup ec2.GuestCleanup
		kept    []ec2.CleanupItem
		keys    string // left in authorized_keys
	}{
		"default": {kept: []ec2.CleanupItem{ec2.PackageCaches}, keys: "ssh-ed25519 AAAA team\n"},
		"all":     {cleanup: ec2.GuestCleanup{Also: []ec2.CleanupItem{ec2.PackageCaches, ec2.AuthorizedKeys}}},
		"some kept": {
			cleanup: ec2.GuestCleanup{Keep: []ec2.CleanupItem{ec2.Logs, ec2.HostKeys}},
			kept:    []ec2.CleanupItem{ec2.Logs, ec2.HostKeys, ec2.PackageCaches}, keys: "ssh-ed25519 AAAA team\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				reported := map[string]string{}
				results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
					if item, paths, ok := strings.Cut(strings.TrimPrefix(e.Text, "clean-up: removed "), ": "); ok && e.Step == "clean guest" {
						reported[item] = paths
					}
				}}, littered(newCloud(server), test.cleanup))
				if err != nil {
					t.Fatal(err)
				}
				id := results[0].Artifact.ID()
				for path, item := range litteredFiles() {
					wantKept := slices.Contains(test.kept, item)
					got, err := server.ReadFile(id, path)
					if kept := err == nil && len(got) > 0; kept != wantKept {
						t.Errorf("ReadFile(%s) = %q, %v, want it kept: %t", path, got, err, wantKept)
					}
					text := reported[string(item)]
					if removed := strings.Contains(text, strings.TrimSuffix(path, "/in a directory")) || strings.Contains(text, filepath.Dir(path)); removed == wantKept {
						t.Errorf("removal of %s is reported: %t, want %t; the report of %s is %q", path, removed, !wantKept, item, text)
					}
				}
				wantFile(t, server, id, "/home/ubuntu/.ssh/authorized_keys", test.keys)
				wantFile(t, server, id, "/var/lib/cloud/scripts/per-boot/ours", "stays\n")
				if _, err := server.ReadFile(id, "/var/log/auth.log"); err != nil {
					t.Errorf("ReadFile() of a log that is in use: %v, want an empty file", err)
				}
			})
		})
	}
}

// TestCleanedImageBoots checks that an instance of a cleaned image generates host keys.
func TestCleanedImageBoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		img := littered(newCloud(server), ec2.GuestCleanup{})
		img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("test -s /etc/ssh/ssh_host_ed25519_key && test ! -e /root/.bash_history"))
		}}}
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGuestCleanupOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		results, err := bake.Bake(t.Context(), nil, littered(newCloud(server), ec2.GuestCleanup{Off: true}))
		if err != nil {
			t.Fatal(err)
		}
		for path := range litteredFiles() {
			if got, err := server.ReadFile(results[0].Artifact.ID(), path); err != nil || len(got) == 0 {
				t.Errorf("ReadFile(%s) = %q, %v, want it kept", path, got, err)
			}
		}
	})
}

func TestValidateGuestCleanup(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	for want, c := range map[string]ec2.GuestCleanup{
		`Builder.GuestCleanup.Keep: unknown item "cookies"`:          {Keep: []ec2.CleanupItem{"cookies"}},
		"Builder.GuestCleanup.Also: logs is in Keep as well":         {Keep: []ec2.CleanupItem{ec2.Logs}, Also: []ec2.CleanupItem{ec2.Logs}},
		"Builder.GuestCleanup.Also: cannot be set together with Off": {Off: true, Also: []ec2.CleanupItem{ec2.PackageCaches}},
	} {
		err := bake.Validate(nil, &bake.Image{Name: "valid", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), GuestCleanup: c}})
		wantError(t, "Validate", err, want)
	}
}
