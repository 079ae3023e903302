// Command salted bakes images from a tree of Salt states, without a Salt master: a
// base from the newest Ubuntu with the states of all machines, and rails-base on
// top of it. The states of an image are chosen by its minion id. Its tags contain
// the git commit of its definition.
//
//	go run ./examples/salted          # rails-base, from the newest base
//	go run ./examples/salted -all     # base, then rails-base from it
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

//go:embed salt
var tree embed.FS

// Settings are the parameters of a bake.
type Settings struct {
	Commit   string    // of the definition
	Spot     *ec2.Spot // nil means on-demand instances
	SaltCall string    // path of salt-call; empty means where its package installs it
}

// image defines an image whose minion id and host name are name. If source is nil,
// the caller sets From.
func image(cloud *ec2.Cloud, settings Settings, name string, source ec2.Source) *bake.Image {
	return &bake.Image{
		Name:    name,
		Builder: ec2.Builder{Cloud: cloud, Source: source, Spot: settings.Spot},
		Provisioners: []bake.Provisioner{
			provision.Hostname{Name: name},
			provision.Salt{
				FS: tree, States: "salt/states", Pillar: "salt/pillar", ID: name, Program: settings.SaltCall,
				Grains:  map[string]string{"commit": settings.Commit},
				Install: provision.Packages{Install: []string{"salt-minion"}},
				Remove:  provision.Packages{Remove: []string{"salt-minion"}, Purge: true},
			},
		},
		Tags: map[string]string{"commit": settings.Commit},
	}
}

// base defines the image that all others start from.
func base(cloud *ec2.Cloud, settings Settings) *bake.Image {
	return image(cloud, settings, "base", ec2.Newest{
		Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
	})
}

// rails defines rails-base, from the newest base in the account.
func rails(cloud *ec2.Cloud, settings Settings) *bake.Image {
	return image(cloud, settings, "rails-base", ec2.Newest{
		Owners: []string{ec2.Self}, Name: "base *", Filters: ec2.Filters{"tag-key": {"commit"}},
	})
}

// all defines all images, each from the one before it.
func all(cloud *ec2.Cloud, settings Settings) []*bake.Image {
	rails := image(cloud, settings, "rails-base", nil)
	rails.From = base(cloud, settings)
	return []*bake.Image{rails.From, rails}
}

func main() { demo.Main("salted", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("salted", flag.ContinueOnError)
	everything := flags.Bool("all", false, "bake base first, and rails-base from it")
	spot := flags.Bool("spot", false, "bake on spot instances")
	env, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer env.Close()
	settings := Settings{Commit: commit(ctx)}
	if *spot {
		settings.Spot = &ec2.Spot{}
	}
	images := []*bake.Image{rails(env.Cloud, settings)}
	if *everything {
		images = all(env.Cloud, settings)
	} else if env.Server != nil {
		fmt.Fprintln(out, "The embedded EC2 has no base yet: baking it first.")
		if err := bakeAll(ctx, env, out, base(env.Cloud, settings)); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	return bakeAll(ctx, env, out, images...)
}

// bakeAll bakes images and shows it on out.
func bakeAll(ctx context.Context, env *demo.Demo, out io.Writer, images ...*bake.Image) error {
	view := terminal.New(out, &terminal.Options{Images: len(images), Clock: env.Clock})
	results, err := bake.Bake(ctx, &bake.Options{Observe: view.Observe, Clock: env.Clock}, images...)
	return errors.Join(err, view.Close(results))
}

// commit returns the abbreviated git commit of the working directory.
func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	var missing *exec.Error
	switch {
	case errors.As(err, &missing):
		return "unknown: git is not installed"
	case err != nil:
		return "unknown: no commit"
	}
	return strings.TrimSpace(string(id))
}
