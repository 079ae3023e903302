//go:build linux

package ec2machine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/audit"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// TestAMIOfQEMUImage bakes an image with QEMU, makes an AMI of its disk without an
// instance, looks for keys on it, and checks it on a virtual machine.
func TestAMIOfQEMUImage(t *testing.T) {
	if !long() {
		t.Skip("takes long: set BAKESTONE_LONG=1")
	}
	srv, cloud := start(t, t.TempDir())
	web := &bake.Image{
		Name: "web",
		Builder: qemu.Builder{
			Host: qemu.NewHost(t.TempDir(), nil), Source: qemu.DiskFile(testenv.Need(t, "qemu")), CPUs: 1, Memory: 256 << 20, Accelerator: qemu.TCG,
		},
		Provisioners: []bake.Provisioner{provision.File{Content: "baked by QEMU\n", Dest: "/etc/baked"}},
	}
	ami := &bake.Image{
		Name: "web-ami", From: web, Builder: ec2.Builder{Cloud: cloud, Source: ec2.Disk{}, SSH: ec2.SSH{User: "root"}},
		Checks: []bake.Check{audit.Disks{}, bake.CheckFunc{Name: "baked", Do: func(ctx context.Context, m bake.Machine) error {
			out, err := bake.Output(ctx, m, bake.Sh("uname -s; cat /etc/baked"))
			if err == nil && out != "Linux\nbaked by QEMU" {
				err = errors.New("output: " + out)
			}
			return err
		}}},
	}
	results, err := bake.Bake(t.Context(), nil, web, ami)
	if err != nil {
		t.Fatal(err)
	}
	launched := 0
	for _, call := range srv.Calls() {
		if call.Action == "RunInstances" {
			launched++
		}
	}
	if launched != 1 {
		t.Errorf("%d instances were launched, want that of the check alone", launched)
	}
	id := results[1].Artifact.IDs()[region]
	if left := srv.LeftoversExcept(id); len(left) > 0 || !strings.HasPrefix(id, "ami-") {
		t.Errorf("made %q; Leftovers = %q, want none", id, left)
	}
}
