// Command hardened bakes a chain of three images with Ansible: a base, what the
// house demands of every machine on top of it, and an application on top of
// that. Each is booted and checked before the next one uses it; the last one is
// shared with another account and copied to three regions.
//
//	go run ./examples/hardened
//
// On AWS (-aws) Ansible runs on the baking host. The machines of the embedded
// EC2 have no Python, so that there a command of the example's stands for an
// Ansible on the machine: the playbooks are the same.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

//go:embed ansible
var playbooks embed.FS

// Settings are what a caller may want different.
type Settings struct {
	Ansible func(play provision.Ansible) bake.Provisioner // where Ansible runs
	Version string                                        // of the application
	Account string                                        // may launch the application, too
	Regions []string                                      // get a copy of it
}

// fromHere and onTheMachine are where Ansible can run.
func fromHere(play provision.Ansible) bake.Provisioner { return play }

func onTheMachine(play provision.Ansible) bake.Provisioner {
	return provision.AnsibleLocal{Ansible: play, Install: provision.Packages{Install: []string{"ansible-core"}}}
}

// layers is the chain, from the ground up.
func layers(cloud *ec2.Cloud, set Settings) []*bake.Image {
	play := func(playbook string, vars any) []bake.Provisioner {
		return []bake.Provisioner{set.Ansible(provision.Ansible{
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
			Copies:            ec2.CopyTo(set.Regions...),
			LaunchPermissions: ec2.Permissions{Accounts: []string{set.Account}},
		}},
		Provisioners: play("application.yml", map[string]string{"version": set.Version}),
		Checks: []bake.Check{check.All(
			check.File{Path: "/srv/application/VERSION", Contains: set.Version},
			check.User{Name: "application"},
		)},
		Tags: map[string]string{"version": set.Version},
	}
	return []*bake.Image{base, hardened, application}
}

func main() { demo.Main("hardened", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("hardened", flag.ContinueOnError)
	version := flags.String("version", "1.0", "`version` of the application")
	account := flags.String("share", "210987654321", "`account` that may launch the application")
	copies := flags.String("copy", "eu-central-1,us-east-1,ap-southeast-2", "`regions` to copy it to")
	where, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer where.Close()
	set := Settings{Ansible: onTheMachine, Version: *version, Account: *account, Regions: strings.Split(*copies, ",")}
	if where.Server == nil {
		set.Ansible = fromHere
	}
	options := &bake.Options{Observe: bake.Progress(out), Clock: where.Clock}
	results, err := bake.Bake(ctx, options, layers(where.Cloud, set)...)
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintf(out, "%s: %s %v\n", r.Image.Name, r.Status, r.Artifact)
	}
	return err
}
