// Command hardened bakes a chain of three images with Ansible: base, hardened from
// base, and application from hardened. Each is booted and checked before the next
// starts from it. The last is shared with another account and copied to three
// regions.
//
//	go run ./examples/hardened
//
// On AWS (-aws) Ansible runs on the baking host. The machines of the embedded EC2
// have no Python; there a stand-in for Ansible runs on the machine, with the same
// playbooks.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"io"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

//go:embed ansible
var playbooks embed.FS

// Settings are the parameters of the chain.
type Settings struct {
	Ansible func(provision.Ansible) bake.Provisioner // where Ansible runs
	Version string                                   // of the application
	Account string                                   // may launch the application
	Regions []string                                 // get a copy of the application
}

// fromBakingHost runs Ansible on the baking host.
func fromBakingHost(ansible provision.Ansible) bake.Provisioner { return ansible }

// onMachine runs Ansible on the machine.
func onMachine(ansible provision.Ansible) bake.Provisioner {
	return provision.AnsibleLocal{Ansible: ansible, Install: provision.Packages{Install: []string{"ansible-core"}}}
}

// layers defines the images of the chain, the lowest first.
func layers(cloud *ec2.Cloud, settings Settings) []*bake.Image {
	play := func(playbook string, vars any) []bake.Provisioner {
		return []bake.Provisioner{settings.Ansible(provision.Ansible{
			FS: playbooks, Dir: "ansible", Playbooks: []string{playbook}, Groups: []string{"bakery"}, Vars: vars, Become: true,
		})}
	}
	base := &bake.Image{
		Name: "base",
		Builder: ec2.Builder{
			Cloud:  cloud,
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Provisioners: play("base.yml", nil),
		Checks:       []bake.Check{check.All(check.File{Path: "/etc/motd", Contains: "bakery"})},
	}
	hardened := &bake.Image{
		Name:         "hardened",
		From:         base,
		Builder:      ec2.Builder{Cloud: cloud},
		Provisioners: play("hardening.yml", map[string]int{"minimum_password_length": 14}),
		Checks: []bake.Check{check.All(
			check.File{Path: "/etc/ssh/sshd_config.d/hardening.conf", Owner: "root", Mode: 0o600},
			check.File{Path: "/etc/sysctl.d/90-hardening.conf", Contains: "kernel.dmesg_restrict = 1"},
		).AsRoot()},
	}
	application := &bake.Image{
		Name: "application",
		From: hardened,
		Builder: ec2.Builder{Cloud: cloud, Distribute: ec2.Distribution{
			Copies:            ec2.CopyTo(settings.Regions...),
			LaunchPermissions: ec2.Permissions{Accounts: []string{settings.Account}},
		}},
		Provisioners: play("application.yml", map[string]string{"version": settings.Version}),
		Checks: []bake.Check{check.All(
			check.File{Path: "/srv/application/VERSION", Contains: settings.Version},
			check.User{Name: "application"},
		)},
		Tags: map[string]string{"version": settings.Version},
	}
	return []*bake.Image{base, hardened, application}
}

func main() { demo.Main("hardened", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("hardened", flag.ContinueOnError)
	version := flags.String("version", "1.0", "`version` of the application")
	account := flags.String("share", "210987654321", "`account` that may launch the application")
	regions := flags.String("copy", "eu-central-1,us-east-1,ap-southeast-2", "comma-separated `regions` to copy the application to")
	env, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer env.Close()
	settings := Settings{Ansible: fromBakingHost, Version: *version, Account: *account, Regions: strings.Split(*regions, ",")}
	if env.Server != nil {
		settings.Ansible = onMachine
	}
	images := layers(env.Cloud, settings)
	view := terminal.New(out, &terminal.Options{Images: len(images), Clock: env.Clock})
	results, err := bake.Bake(ctx, &bake.Options{Observe: view.Observe, Clock: env.Clock}, images...)
	return errors.Join(err, view.Close(results))
}
