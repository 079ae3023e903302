// Command appliance bakes a product for several platforms from one definition: an AMI,
// and from a virtual machine a qcow2 image, an OVA and a Vagrant box.
//
//	go run ./examples/appliance                       # the AMI, on an embedded EC2
//	go run ./examples/appliance -disk debian.qcow2    # all of them, at the same time
//
// The virtual machines start from a disk whose guest has cloud-init, such as Debian's
// genericcloud image, and need QEMU. The files are written to the directory dist.
//
// Each machine made from the images imports the product's state at its first boot. The
// state is part of the images; flag -state replaces it, for example by that of a
// customer who moves to a new release.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
	"github.com/bakestone-go/bakestone/qemu"
)

//go:embed product
var product embed.FS

//go:embed state
var firstState embed.FS

// vagrantKey is the public key with which Vagrant logs in to new machines. Everybody has
// the private one; Vagrant replaces it at once.
//
//go:embed vagrant.pub
var vagrantKey string

// guestbook defines the product, whatever the platform.
//
//readme:begin guestbook
func guestbook(name string, state fs.FS, b bake.Builder) (*bake.Image, error) {
	unit, err := fs.ReadFile(product, "product/guestbook-state.service")
	if err != nil {
		return nil, err
	}
	img := &bake.Image{
		Name:    name,
		Builder: b,
		Provisioners: []bake.Provisioner{
			provision.File{FS: product, Source: "product/guestbook", Dest: "/usr/local/bin/guestbook", Mode: 0o755, Sudo: true},
			provision.File{FS: product, Source: "product/import-state", Dest: "/usr/share/guestbook/import-state", Mode: 0o755, Sudo: true},
			provision.Dir{FS: state, Dest: "/usr/share/guestbook/state", Owner: "root", Group: "root", Sudo: true},
			provision.Service{Name: "guestbook-state", Unit: string(unit), Enable: true},
			check.All(check.File{Path: "/var/lib/guestbook", Absent: true}), // left to the first boot
		},
		Checks: []bake.Check{check.All(
			check.Command{Line: "guestbook", Contains: "Grace"},
			check.File{Path: "/var/lib/guestbook/secret", Owner: "root", Mode: 0o600},
		).AsRoot().Within(time.Minute)},
	}
	inputs, err := bake.InputsOf(img.Provisioners...)
	if err != nil {
		return nil, err
	}
	img.Fingerprint = inputs.Sum()
	return img, nil
}

//readme:end guestbook

// ami defines the product as an AMI.
func ami(cloud *ec2.Cloud, state fs.FS) (*bake.Image, error) {
	return guestbook("guestbook-ami", state, ec2.Builder{
		Cloud:  cloud,
		Source: ec2.Newest{Owners: []string{ec2.Debian}, Name: "debian-13-amd64-*"},
	})
}

// machines defines the product as virtual machines: one for qcow2 and OVA, and on top of
// it one for Vagrant, since no other image may have the user whose key is public.
func machines(host *qemu.Host, disk, dist string, compress bool, state fs.FS) ([]*bake.Image, error) {
	machine, err := guestbook("guestbook", state, qemu.Builder{Host: host, Source: qemu.DiskFile(disk)})
	if err != nil {
		return nil, err
	}
	machine.Publishers = []bake.Publisher{
		qemu.QCOW2{Path: filepath.Join(dist, "guestbook.qcow2"), Compress: compress},
		qemu.OVA{Path: filepath.Join(dist, "guestbook.ova")},
	}
	vagrant := &bake.Image{
		Name:    "guestbook-vagrant",
		From:    machine,
		Builder: qemu.Builder{Host: host},
		Provisioners: []bake.Provisioner{
			provision.User{Name: "vagrant", Shell: "/bin/bash", AuthorizedKeys: []string{strings.TrimSpace(vagrantKey)}},
			provision.File{Content: "vagrant ALL=(ALL) NOPASSWD: ALL\n", Dest: "/etc/sudoers.d/vagrant", Mode: 0o440, Sudo: true},
		},
		Publishers: []bake.Publisher{qemu.Box{
			Provider: qemu.Libvirt,
			Path:     filepath.Join(dist, "guestbook-libvirt.box"),
			Catalog:  &qemu.BoxCatalog{Path: filepath.Join(dist, "guestbook.json"), Name: "bakestone/guestbook", Version: "1.0.0"},
		}},
	}
	return []*bake.Image{machine, vagrant}, nil
}

// Settings say what to bake.
type Settings struct {
	State fs.FS      // imported by each machine at its first boot
	Host  *qemu.Host // bakes virtual machines; nil means the AMI only
	Disk  string     // the disk that virtual machines start from
	Dist  string     // the directory for their files

	// Compress makes the qcow2 smaller, at the expense of time.
	Compress bool
}

// images returns the product on all platforms.
func images(cloud *ec2.Cloud, settings Settings) ([]*bake.Image, error) {
	first, err := ami(cloud, settings.State)
	if err != nil || settings.Host == nil {
		return []*bake.Image{first}, err
	}
	others, err := machines(settings.Host, settings.Disk, settings.Dist, settings.Compress, settings.State)
	return append(others, first), err
}

func main() { demo.Main("appliance", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("appliance", flag.ContinueOnError)
	onAWS := flags.Bool("aws", false, "bake the AMI on AWS, with the default configuration of the AWS SDK")
	region := flags.String("region", "", "`name` of the AWS region (default eu-west-1 on the embedded EC2)")
	disk := flags.String("disk", "", "`file` that virtual machines start from, with cloud-init: qcow2, raw or VMDK (default: bake the AMI only)")
	state := flags.String("state", "", "`directory` with the state that machines import (default: the first state)")
	dist := flags.String("dist", "dist", "`directory` for the files of virtual machines")
	compress := flags.Bool("compress", true, "compress the qcow2")
	images := flags.String("images", "", "`directory` that keeps baked images and makes layers on them possible (default: images below -dist)")
	if err := demo.Parse(flags, args); err != nil {
		return err
	}
	env, err := open(ctx, *onAWS, *region)
	if err != nil {
		return err
	}
	defer env.Close()
	settings := Settings{Disk: *disk, Dist: *dist, Compress: *compress}
	if settings.State, err = stateOf(*state); err != nil {
		return err
	}
	if *disk == "" {
		fmt.Fprint(out, noDisk, "\n")
	} else {
		settings.Host = qemu.NewHost(cmp.Or(*images, filepath.Join(*dist, "images")), nil)
		const mode = 0o755
		if err := os.MkdirAll(*dist, mode); err != nil {
			return err
		}
	}
	return bakeAll(ctx, env, settings, out)
}

const noDisk = `Without -disk only the AMI is baked, on an embedded EC2 unless -aws is given. For the qcow2, the OVA and the Vagrant box:

	apt-get install qemu-system-x86 qemu-utils
	curl -LO https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-amd64.qcow2
	go run ./examples/appliance -disk debian-13-genericcloud-amd64.qcow2
`

// open opens AWS or an embedded EC2. Its operations take no time, since the time of
// virtual machines cannot be scaled.
func open(ctx context.Context, onAWS bool, region string) (*demo.Demo, error) {
	if onAWS {
		return demo.AWS(ctx, region)
	}
	return demo.New(ec2test.New(nil), cmp.Or(region, "eu-west-1"), clock.System()), nil
}

// stateOf returns the state in a directory, or the first state.
func stateOf(dir string) (fs.FS, error) {
	if dir == "" {
		return fs.Sub(firstState, "state")
	}
	return os.DirFS(dir), nil
}

func bakeAll(ctx context.Context, env *demo.Demo, settings Settings, out io.Writer) error {
	images, err := images(env.Cloud, settings)
	if err != nil {
		return err
	}
	view := terminal.New(out, &terminal.Options{Images: len(images), Clock: env.Clock})
	results, err := bake.Bake(ctx, &bake.Options{Observe: view.Observe, Clock: env.Clock}, images...)
	if err := errors.Join(err, view.Close(results)); err != nil || settings.Host == nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(settings.Dist, "guestbook*"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nFiles:\n\t%s\n", strings.Join(files, "\n\t"))
	return nil
}
