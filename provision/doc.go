// Package provision changes machines: scripts, files, reboots. Its types are
// bake.Provisioners, listed in an image in the order in which they are to run:
//
//	img := &bake.Image{
//		Name:    "web",
//		Builder: ec2.Builder{...},
//		Provisioners: []bake.Provisioner{
//			provision.Shell("apt-get update", "apt-get install -y nginx").AsRoot(),
//			provision.File{Source: "nginx.conf", Dest: "/etc/nginx/nginx.conf", Sudo: true},
//			provision.Dir{Source: "dist", Dest: "/srv/app", Owner: "www-data", Sudo: true, Exclude: []string{"*.map"}},
//			provision.Script{Path: "harden.sh", Args: []string{"--strict"}, Sudo: true},
//			provision.Reboot{},
//			bake.ProvisionFunc{Name: "warm cache", Do: warmCache},
//		},
//	}
//
// Each is a plain value; making one does nothing. Start with Shell for a few
// commands and Script for a file of them. File and Dir copy to the machine,
// Download copies from it, Local runs a command on the baking host, and Func
// is for everything else, since in Go it needs no more than a func. Sequence
// makes one of several.
//
// Packages installs, removes and upgrades by the machine's own manager, and
// Template, User, Service, Hostname and Sysctl do what their names say. They run
// as root, say whether they have changed anything, and change nothing the second
// time. WaitCloudInit waits until a machine has booted to its end.
//
// Ansible runs playbooks from the baking host, over the build's own way to the
// machine, and AnsibleLocal on the machine. PuppetApply, PuppetAgent, Salt,
// ChefZero and ChefClient run those tools on the machine, which they can install
// first and remove afterwards. All of them tell a tool's failure in the tool's
// own words, and leave nothing of their own behind.
//
// PowerShell, Batch and WindowsReboot are for Windows machines.
//
// Retry, Timeout, ContinueOnError and OnlyIf are made around another
// provisioner, and Breakpoint stops the build for a person. What must hold when
// all is done is said by package check.
//
// # Errors
//
// Every type has a method Validate, which Bake calls before anything is
// created: it reports, joined, a missing local file, a wrong mode, a name that
// no environment can have, as *bake.FieldErrors. A command that did not succeed
// is a *bake.ExitError, which holds the last lines it wrote.
//
// # Secrets
//
// The environment, Env and Secrets alike, reaches a command by a private file or
// its input, never in a command line, where anyone on the machine could read
// it. Values of Secrets are masked in everything the build reports; text that
// is part of a script is not.
//
// # Inputs
//
// Every type is a bake.InputDeclarer: it declares its parameters and the digests of
// the files that it uses, from which bake.InputsOf makes the fingerprint of an
// image. Where a file is on the baking host does not count, only what is in it;
// what a provisioner fetches while it runs, nobody knows before.
//
// # Writing your own
//
// A provisioner is anything with a method Provision. Package baketest has a
// fake machine for its test:
//
//	m := baketest.NewMachine(nil)
//	m.On("apt-get update", baketest.Reply{Status: 100})
//	err := provision.Shell("apt-get update").Provision(ctx, m)
//
// Packages, User, Service, Hostname and Sysctl are a single command each, whose
// first line is its name:
//
//	m.OnPrefix("# packages: install nginx", baketest.Reply{Stdout: "changed: installed nginx\n"})
package provision
