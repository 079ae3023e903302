// Command salted bakes images from a tree of Salt states, without a master: a
// base from the newest Ubuntu with what the house wants everywhere, and
// rails-base on top of it. Every image has its own minion id, by which the
// states are chosen, and the git commit it was made from in its tags.
//
//	go run ./examples/salted          # rails-base, on top of the newest base that there is
//	go run ./examples/salted -all     # all of them, in the right order
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
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

//go:embed salt
var tree embed.FS

// Settings are what a caller may want different.
type Settings struct {
	Commit  string // of the definition
	Spot    bool   // bake on spot instances
	SaltBin string // salt-call; empty is where its packages put it
}

const ubuntu = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"

// image is one of the house, from source or from another image.
func image(cloud *ec2.Cloud, set Settings, name string, source ec2.Source, from *bake.Image) *bake.Image {
	img := &bake.Image{
		Name: name,
		From: from,
		Provisioners: []bake.Provisioner{
			provision.Hostname{Name: name},
			provision.Salt{
				FS: tree, States: "salt/states", Pillar: "salt/pillar", ID: name, Program: set.SaltBin,
				Grains:  map[string]string{"commit": set.Commit},
				Install: provision.Packages{Install: []string{"salt-minion"}},
				Remove:  provision.Packages{Remove: []string{"salt-minion"}, Purge: true},
			},
		},
		Tags: map[string]string{"commit": set.Commit},
	}
	builder := ec2.Builder{Cloud: cloud, Source: source}
	if set.Spot {
		builder.Spot = &ec2.Spot{}
	}
	img.Builder = builder
	return img
}

// all is every image of the house.
func all(cloud *ec2.Cloud, set Settings) []*bake.Image {
	base := image(cloud, set, "base", ec2.Newest{Owners: []string{ec2.Canonical}, Name: ubuntu}, nil)
	return []*bake.Image{base, image(cloud, set, "rails-base", nil, base)}
}

// rails is rails-base alone, on top of the newest base of our own.
func rails(cloud *ec2.Cloud, set Settings) *bake.Image {
	own := ec2.Newest{Owners: []string{ec2.Self}, Name: "base *", Filters: ec2.Filters{"tag-key": {"commit"}}}
	return image(cloud, set, "rails-base", own, nil)
}

func main() { demo.Main("salted", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("salted", flag.ContinueOnError)
	everything := flags.Bool("all", false, "bake the base, too")
	spot := flags.Bool("spot", false, "bake on spot instances")
	where, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer where.Close()
	set := Settings{Commit: commit(ctx), Spot: *spot}
	if *everything {
		return bakeAll(ctx, where, out, all(where.Cloud, set)...)
	}
	if where.Server != nil {
		// The embedded EC2 is new, and has no base yet.
		if err := bakeAll(ctx, where, io.Discard, all(where.Cloud, set)[0]); err != nil {
			return err
		}
	}
	return bakeAll(ctx, where, out, rails(where.Cloud, set))
}

func bakeAll(ctx context.Context, where *demo.Demo, out io.Writer, images ...*bake.Image) error {
	results, err := bake.Bake(ctx, &bake.Options{Observe: bake.Progress(out), Clock: where.Clock}, images...)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintf(out, "%s: %s %v\n", r.Image.Name, r.Status, r.Artifact)
	}
	return nil
}

// commit is what git says of the working directory.
func commit(ctx context.Context) string {
	said, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	var missing *exec.Error
	switch {
	case errors.As(err, &missing):
		return "without git"
	case err != nil:
		return "uncommitted"
	}
	return strings.TrimSpace(string(said))
}
