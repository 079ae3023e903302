// Command layers bakes an image for each deployment in two layers: primal has
// the operating system and all dependencies, carnivore is primal and the
// application as it was just built.
//
//	go run ./examples/layers
//
// Primal is baked again only when something in it changed, or the Ubuntu that it
// is made from: run the example's test to see a second deployment reuse it.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

//go:embed primal activate.sh
var files embed.FS

//go:embed app
var sources embed.FS

// Settings are what a caller may want different.
type Settings struct {
	Environment string // "staging" or "production"
	NodeVersion string
	Workers     int
	App         fs.FS // the application as it was built
}

// layers is the two images of a deployment.
func layers(cloud *ec2.Cloud, set Settings) (primal, carnivore *bake.Image, err error) {
	primal = &bake.Image{
		Name: "shop-primal",
		Builder: ec2.Builder{
			Cloud:  cloud,
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Provisioners: []bake.Provisioner{
			provision.Script{FS: files, Path: "primal/install.sh", Sudo: true, Env: map[string]string{"NODE_VERSION": set.NodeVersion}},
			provision.File{FS: files, Source: "primal/nginx.conf", Dest: "/etc/nginx/sites-enabled/default", Sudo: true},
		},
	}
	inputs, err := bake.InputsOf(primal.Provisioners...)
	if err != nil {
		return nil, nil, err
	}
	primal.Fingerprint = inputs.Sum()
	carnivore = &bake.Image{
		Name:    "shop-" + set.Environment,
		From:    primal,
		Builder: ec2.Builder{Cloud: cloud},
		Provisioners: []bake.Provisioner{
			provision.Dir{FS: set.App, Dest: "/srv/shop", Owner: "www-data", Group: "www-data", Sudo: true, Exclude: []string{"*.map"}},
			provision.Script{FS: files, Path: "activate.sh", Sudo: true, Env: map[string]string{
				"ENVIRONMENT": set.Environment,
				"WORKERS":     strconv.Itoa(set.Workers),
			}},
		},
		Checks: []bake.Check{bake.CheckFunc{Do: bootsReady}},
		Tags:   map[string]string{"application": "shop", "environment": set.Environment},
	}
	return primal, carnivore, nil
}

// bootsReady is what must hold on a fresh machine before anyone deploys it.
func bootsReady(ctx context.Context, m bake.Machine) error {
	return m.Run(ctx, bake.Sh("test -f /srv/shop/server.js && systemctl is-enabled shop nginx"))
}

func main() { demo.Main("layers", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("layers", flag.ContinueOnError)
	environment := flags.String("environment", "staging", "`name` of the environment to deploy to")
	node := flags.String("node", "18", "`version` of Node.js")
	workers := flags.Int("workers", 4, "worker processes")
	where, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer where.Close()
	app, err := fs.Sub(sources, "app")
	if err != nil {
		return err
	}
	return deploy(ctx, where, out, Settings{Environment: *environment, NodeVersion: *node, Workers: *workers, App: app})
}

// deploy bakes what is needed for one deployment.
func deploy(ctx context.Context, where *demo.Demo, out io.Writer, set Settings) error {
	primal, carnivore, err := layers(where.Cloud, set)
	if err != nil {
		return err
	}
	options := &bake.Options{Observe: bake.Progress(out), Clock: where.Clock}
	results, err := bake.Bake(ctx, options, primal, carnivore)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintf(out, "%s: %s %s\n", r.Image.Name, r.Status, r.Artifact)
	}
	return nil
}
