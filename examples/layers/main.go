// Command layers bakes an image for each deployment, in two layers: primal has the
// operating system and all dependencies; carnivore adds the application as it was
// just built.
//
//	go run ./examples/layers
//
// Primal is baked again only if its definition or the Ubuntu image it starts from
// has changed. The example's test deploys repeatedly and shows the reuse.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

//go:embed primal activate.sh
var files embed.FS

//go:embed app
var sources embed.FS

// Settings are the parameters of a deployment.
type Settings struct {
	Environment string // "staging" or "production"
	NodeVersion string // prefix of the version of Node.js: "18"
	Workers     int
	App         fs.FS // the built application
}

// layers defines the two images of a deployment.
func layers(cloud *ec2.Cloud, settings Settings) (primal, carnivore *bake.Image, err error) {
	primal = &bake.Image{
		Name: "shop-primal",
		Builder: ec2.Builder{
			Cloud:  cloud,
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Provisioners: []bake.Provisioner{
			provision.Script{FS: files, Path: "primal/install.sh", Sudo: true, Env: map[string]string{"NODE_VERSION": settings.NodeVersion}},
			provision.File{FS: files, Source: "primal/nginx.conf", Dest: "/etc/nginx/sites-enabled/default", Sudo: true},
		},
	}
	inputs, err := bake.InputsOf(primal.Provisioners...)
	if err != nil {
		return nil, nil, err
	}
	primal.Fingerprint = inputs.Sum()

	carnivore = &bake.Image{
		Name:    "shop-" + settings.Environment,
		From:    primal,
		Builder: ec2.Builder{Cloud: cloud},
		Provisioners: []bake.Provisioner{
			provision.Dir{FS: settings.App, Dest: "/srv/shop", Owner: "www-data", Group: "www-data", Sudo: true, Exclude: []string{"*.map"}},
			provision.Script{FS: files, Path: "activate.sh", Sudo: true, Env: map[string]string{
				"ENVIRONMENT": settings.Environment,
				"WORKERS":     strconv.Itoa(settings.Workers),
			}},
		},
		Checks: []bake.Check{check.All(
			check.File{Path: "/srv/shop/server.js", Owner: "www-data"},
			check.Service{Name: "shop", Enabled: true},
			check.Service{Name: "nginx", Enabled: true},
		).Within(time.Minute)},
		Tags: map[string]string{"application": "shop", "environment": settings.Environment},
	}
	return primal, carnivore, nil
}

// deploy bakes the images of a deployment.
func deploy(ctx context.Context, cloud *ec2.Cloud, options *bake.Options, settings Settings) ([]*bake.Result, error) {
	primal, carnivore, err := layers(cloud, settings)
	if err != nil {
		return nil, err
	}
	return bake.Bake(ctx, options, primal, carnivore)
}

func main() { demo.Main("layers", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("layers", flag.ContinueOnError)
	environment := flags.String("environment", "staging", "`name` of the environment to deploy to")
	nodeVersion := flags.String("node", "18", "`version` of Node.js")
	workers := flags.Int("workers", 4, "`number` of worker processes")
	env, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer env.Close()
	app, err := fs.Sub(sources, "app")
	if err != nil {
		return err
	}
	settings := Settings{Environment: *environment, NodeVersion: *nodeVersion, Workers: *workers, App: app}
	view := terminal.New(out, &terminal.Options{Images: 2, Clock: env.Clock})
	options := &bake.Options{Observe: view.Observe, Clock: env.Clock}
	results, err := deploy(ctx, env.Cloud, options, settings)
	return errors.Join(err, view.Close(results))
}
