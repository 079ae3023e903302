// Command quickstart bakes an image, boots it and reads back a file.
//
//	go run ./examples/quickstart
//
// It bakes on the embedded EC2, in this process, and needs nothing but Go. The
// very same definition goes to AWS with -aws and a region; that launches two
// small instances for some minutes, and leaves the AMI unless -destroy is given.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

const page = "/var/www/index.html"

// hello is the definition: Ubuntu with a page of ours in it.
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
		Checks: []bake.Check{bake.CheckFunc{Name: "page was written", Do: func(ctx context.Context, m bake.Machine) error {
			return m.Get(ctx, &bake.Download{Source: page, Content: readBack})
		}}},
	}
}

//readme:end bake

func main() { demo.Main("quickstart", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	destroy := flags.Bool("destroy", false, "remove the AMI at the end")
	where, err := demo.Open(ctx, flags, args, nil)
	if err != nil {
		return err
	}
	defer where.Close()

	if where.Server != nil {
		fmt.Fprintf(out, "Baking on the embedded EC2, where time runs %d times faster.\n\n", demo.Speed)
	}

	var readBack bytes.Buffer
	options := &bake.Options{Observe: bake.Progress(out), Clock: where.Clock}
	//readme:begin run
	results, err := bake.Bake(ctx, options, hello(where.Cloud, &readBack))
	//readme:end run
	if err != nil {
		return err
	}
	ami := results[0].Artifact
	fmt.Fprintf(out, "\nBaked %s. On an instance of it, %s says:\n%s", ami, page, readBack.String())
	if *destroy {
		fmt.Fprintf(out, "Removing %s.\n", ami.ID())
		return ami.Destroy(ctx)
	}
	return nil
}
