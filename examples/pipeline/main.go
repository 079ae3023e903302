// Command pipeline is the way of a release to its servers: two layers are baked, the
// image is checked, a canary group gets it, then all groups, and old images are retired.
//
//	go run ./examples/pipeline
//
// On the embedded EC2 it releases version 1.0, and then version 2.0, which passes the
// check of its image but is not healthy on a server: the canary gets version 1.0 back,
// and the other groups never see 2.0. The jobs in ci run it in Jenkins and GitHub Actions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// layers defines the base, which is seldom baked, and the application on top.
func layers(cloud *ec2.Cloud, version string) (base, app *bake.Image, err error) {
	base = &bake.Image{
		Name: "shop-base",
		Builder: ec2.Builder{
			Cloud:  cloud,
			Source: ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
		},
		Provisioners: []bake.Provisioner{provision.Packages{Install: []string{"nginx"}}},
	}
	inputs, err := bake.InputsOf(base.Provisioners...)
	if err != nil {
		return nil, nil, err
	}
	base.Fingerprint = inputs.Sum()
	app = &bake.Image{
		Name:    "shop",
		From:    base,
		Builder: ec2.Builder{Cloud: cloud},
		Provisioners: []bake.Provisioner{
			provision.File{Content: version + "\n", Dest: "/srv/shop/version", Sudo: true},
			provision.File{Content: health, Dest: "/srv/shop/health", Mode: 0o755, Sudo: true},
		},
		Checks: []bake.Check{check.All(check.File{Path: "/srv/shop/version"}, check.Service{Name: "nginx", Enabled: true}).Within(time.Minute)},
		Tags:   map[string]string{"application": "shop", "release": version},
	}
	app.Publishers = []bake.Publisher{rollout(), retire(cloud)}
	return base, app, nil
}

// health is what the release says about itself on a server.
const health = `#!/bin/sh
if grep -q '^2' /srv/shop/version; then
	echo "no connection to the database" >&2
	exit 1
fi
`

// rollout gives a release to the canary group, and then to all groups of the shop.
func rollout() ec2.InstanceRefresh {
	healthy := []ec2.GroupCheck{ec2.SSMCheck{Script: "/srv/shop/health"}}
	return ec2.InstanceRefresh{
		Waves: []ec2.Wave{
			{Groups: []string{"shop-canary"}, Checks: healthy},
			{Tags: map[string]string{"service": "shop"}, Checks: healthy},
		},
		Preferences: ec2.RefreshPreferences{Warmup: time.Minute},
	}
}

// retire keeps the newest five images, and whatever a group runs or could go back to.
func retire(cloud *ec2.Cloud) bake.Publisher {
	return amicleanup.AfterBake(amicleanup.Cleaner{
		Targets: []amicleanup.Target{{Config: cloud.Config("")}},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Tags: map[string]string{"application": "shop"}, Except: map[string]string{ec2.TagExpires: "*"}},
			Group:  amicleanup.ByTag("application"),
			Keep:   []amicleanup.Rule{amicleanup.Newest(5), amicleanup.InUse(inuse.Standard()...)},
		},
	})
}

// release bakes and rolls out a version.
func release(ctx context.Context, cloud *ec2.Cloud, options *bake.Options, version string) ([]*bake.Result, error) {
	base, app, err := layers(cloud, version)
	if err != nil {
		return nil, err
	}
	return bake.Bake(ctx, options, base, app)
}

func main() { demo.Main("pipeline", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("pipeline", flag.ContinueOnError)
	version := flags.String("release", "", "`version` to release (default: 1.0, and then 2.0, which is bad)")
	back := flags.Bool("rollback", false, "put back the release before the present one")
	env, err := demo.Open(ctx, flags, args, nil)
	if err != nil {
		return err
	}
	defer env.Close()
	if err := prepare(ctx, env); err != nil {
		return err
	}
	if *back {
		groups, err := rollout().RollBack(ctx, env.Cloud)
		for _, g := range groups {
			fmt.Fprintln(out, g)
		}
		return err
	}
	versions := []string{*version}
	if *version == "" {
		versions = []string{"1.0", "2.0"}
	}
	for _, v := range versions {
		view := terminal.New(out, &terminal.Options{Images: 2, Clock: env.Clock})
		results, err := release(ctx, env.Cloud, &bake.Options{Observe: view.Observe, Clock: env.Clock}, v)
		err = errors.Join(err, view.Close(results))
		failed, rolledBack := errors.AsType[*ec2.RolloutError](err)
		if rolledBack {
			for _, g := range failed.Groups {
				fmt.Fprintln(out, g)
			}
		}
		if err != nil && (*version != "" || !rolledBack) {
			return err
		}
	}
	return nil
}
