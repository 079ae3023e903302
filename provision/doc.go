// Package provision changes machines: it runs scripts, copies files, installs
// packages and runs configuration management tools. Its types are
// [bake.Provisioner] values. An image lists them in the order in which they run:
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
// All types are plain values; creating one does no I/O. Start with [Shell] for a
// few commands and [Script] for a file of them. [File], [Dir] and [Template] copy to
// the machine, [Download] copies from it, and [Local] runs a command on the baking
// host. For everything else, write a [bake.ProvisionFunc].
//
// [Packages], [User], [Service], [Hostname] and [Sysctl] set up the system. They run
// as root, report what they changed, and change nothing if run again.
// [WaitCloudInit] waits until cloud-init has finished.
//
// [Ansible] runs playbooks from the baking host over the build's SSH connection, and
// [AnsibleLocal] on the machine. [PuppetApply], [PuppetAgent], [Salt], [ChefZero] and
// [ChefClient] run on the machine. They can install their tool first and remove it
// afterwards. Errors contain the tool's own messages, and no files of the run remain
// on the machine.
//
// [PowerShell], [Batch] and [WindowsReboot] are for Windows machines.
//
// [Retry], [Timeout], [ContinueOnError] and [OnlyIf] wrap another provisioner to
// control how it runs, [Named] names its step, [Undoable] cleans up after it, and
// [Sequence] combines several. [Breakpoint] pauses the build for a person. Package
// check verifies the result.
//
// # Paths
//
// A path on the machine is absolute or begins with "~/", which stands for the home of
// the login, even with Sudo. Nothing else is expanded: no "~user/", no $HOME or other
// variable, and no "~/" in paths on the baking host.
//
// # Errors
//
// Every type is a [bake.Validator], which Bake calls before it creates anything.
// Validate reports all invalid fields and missing local files, joined, as
// [*bake.FieldError] values. The programs that [Ansible] and [Local] run on the
// baking host are needed only to bake: see [bake.HostValidator]. A command that fails is a [*bake.ExitError] with its
// last lines of output.
//
// # Secrets
//
// Env and Secrets reach a command through a private file or standard input, never
// in a command line, which any user of the machine could read. The values of
// Secrets are masked in everything the build reports. Secrets in the text of a
// script are not.
//
// A [bake.Secret] prints as "[redacted]". A field that contains this text, in any depth
// and also in base64 or hexadecimal digits, is an error, since the image would contain
// it in place of the secret. Files are not searched.
//
// # Inputs
//
// Every type declares the inputs of an image: its parameters and the content of its
// files. [bake.InputsOf] makes a fingerprint of them. The location of files on the
// baking host is not an input. Neither is what a provisioner downloads while it
// runs, which is unknown before the build.
//
// # Writing your own
//
// Any type with a Provision method is a provisioner. Package baketest has a fake
// machine for its tests:
//
//	m := baketest.NewMachine(nil)
//	m.On("apt-get update", baketest.Reply{Status: 100})
//	err := provision.Shell("apt-get update").Provision(ctx, m)
//
// Packages, User, Service, Hostname and Sysctl each run a single command, whose
// first line is the step's name:
//
//	m.OnPrefix("# packages: install nginx", baketest.Reply{Stdout: "changed: installed nginx\n"})
package provision
