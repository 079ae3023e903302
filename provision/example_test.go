package provision_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

// Provision a web server and test it on a fake machine.
func Example() {
	app := fstest.MapFS{
		"server":     {Data: []byte("\x7fELF"), Mode: 0o755},
		"server.map": {Data: []byte("{}"), Mode: 0o644},
	}
	web := provision.Sequence{
		provision.Shell("apt-get update", "apt-get install -y nginx").AsRoot(),
		provision.File{Content: "worker_processes 4;\n", Dest: "/etc/nginx/nginx.conf", Sudo: true},
		provision.Dir{FS: app, Dest: "/srv/app", Owner: "www-data", Sudo: true, Exclude: []string{"*.map"}},
		provision.Reboot{},
		bake.ProvisionFunc{Name: "check nginx", Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("systemctl is-active nginx"))
		}},
	}

	m := baketest.NewMachine(nil)
	m.OnScript("apt-get install", baketest.Reply{})
	m.On("systemctl is-active nginx", baketest.Reply{Stdout: "active\n"})
	if err := web.Provision(context.Background(), m); err != nil {
		fmt.Println(err)
	}
	for _, command := range m.Commands() {
		fmt.Println(command)
	}
	fmt.Println(m.Files())
	// Output:
	// apt-get update
	// apt-get install -y nginx
	// systemctl is-active nginx
	// [/etc/nginx/nginx.conf /srv/app/server]
}

func ExampleShell() {
	m := baketest.NewMachine(nil)
	m.On("apt-get update", baketest.Reply{Status: 100, Stderr: "E: Unable to fetch some archives\n"})

	err := provision.Shell("apt-get update").Provision(context.Background(), m)

	if exit, ok := errors.AsType[*bake.ExitError](err); ok {
		fmt.Println(exit.Status, exit.Output)
	}
	// Output: 100 [E: Unable to fetch some archives]
}

// Puppet exits with status 2 if it made changes.
func ExampleScript() {
	agent := provision.Script{
		Content:   "puppet agent --test --certname \"$NODE\"",
		Env:       map[string]string{"NODE": "web1"},
		Secrets:   map[string]bake.Secret{"PUPPET_TOKEN": bake.NewSecret("s3cret")},
		ExitCodes: []int{0, 2},
		Sudo:      true,
	}

	m := baketest.NewMachine(nil)
	m.OnScript("puppet agent", baketest.Reply{Status: 2})
	fmt.Println(agent.Provision(context.Background(), m))
	// Output: <nil>
}

func ExampleScripts() {
	scripts := fstest.MapFS{
		"10-users.sh":    {Data: []byte("useradd app\n")},
		"20-packages.sh": {Data: []byte("apt-get install -y curl\n")},
	}
	base := provision.Scripts(provision.Script{FS: scripts, Sudo: true}, "10-users.sh", "20-packages.sh")

	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	fmt.Println(base.Provision(context.Background(), m))
	fmt.Println(m.Commands())
	// Output:
	// <nil>
	// [useradd app apt-get install -y curl]
}

// Bake validates provisioners before it creates anything.
func ExampleFile_Validate() {
	config := fstest.MapFS{}
	fmt.Println(provision.File{FS: config, Source: "nginx.conf", Dest: "etc/nginx.conf", Mode: 644}.Validate())
	// Output:
	// File.Source: open nginx.conf: file does not exist
	// File.Dest: "etc/nginx.conf" is not an absolute path on the machine
	// File.Mode: 01204 contains bits other than permissions: write 0o644 for rw-r--r--, and fs.ModeSetuid for set-user-id
}
