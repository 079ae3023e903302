// Command quickstart bakes an image, boots it and reads back a file.
//
//	go run ./examples/quickstart
//
// It bakes on an EC2 embedded in this process and needs only Go. With -aws and
// -region it bakes the same definition on AWS: this launches two small instances
// for some minutes, and keeps the AMI unless -destroy is given.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

const page = "/var/www/index.html"

// hello defines an Ubuntu image with a web page. Its check copies the page from a
// machine booted from the image to readBack.
//
//readme:begin bake
func hello(cloud *ec2.Cloud, readBack io.Writer) *bake.Image {
	return &bake.Image{
		Name: "hello",
		Builder: ec2.Builder{
			Cloud: cloud,
			Source: ec2.Newest{
				Owners: []string{ec2.Canonical},
				Name:   "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
			},
		},
		Provisioners: []bake.Provisioner{
			provision.Shell("mkdir -p /var/www", "echo built on $(uname -s) by $(whoami)").AsRoot(),
			provision.File{Content: "<h1>Hello from Bakestone</h1>\n", Dest: page, Sudo: true},
		},
		Checks: []bake.Check{bake.CheckFunc{
			Name: "page is readable",
			Do: func(ctx context.Context, m bake.Machine) error {
				return m.Get(ctx, &bake.Download{Source: page, Content: readBack})
			},
		}},
	}
}

//readme:end bake

func main() { demo.Main("quickstart", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	destroy := flags.Bool("destroy", false, "remove the AMI at the end")
	env, err := demo.Open(ctx, flags, args, nil)
	if err != nil {
		return err
	}
	defer env.Close()

	cloud := env.Cloud
	view := terminal.New(out, &terminal.Options{Images: 1, Clock: env.Clock})
	options := &bake.Options{Observe: view.Observe, Clock: env.Clock}
	var readBack bytes.Buffer
	//readme:begin run
	results, err := bake.Bake(ctx, options, hello(cloud, &readBack))
	//readme:end run
	if err := errors.Join(err, view.Close(results)); err != nil {
		return err
	}
	ami := results[0].Artifact
	fmt.Fprintf(out, "\nBaked %s.\nOn an instance of it, %s contains:\n%s", ami, page, readBack.String())
	if *destroy {
		fmt.Fprintf(out, "Removing %s.\n", ami.ID())
		return ami.Destroy(ctx)
	}
	return nil
}
