// Command nodes bakes an image for every node of a YAML file: from the newest
// Ubuntu, in the node's security group, configured by Puppet under the node's
// name. Of each node the newest five images are kept.
//
//	go run ./examples/nodes
//
// It ends with status 1 if any node failed; the others are baked all the same.
// With -json it prints the results for a CI job.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

//go:embed nodes.yaml
var files embed.FS

// Attributes are what nodes.yaml says of a node.
type Attributes struct {
	Group string `yaml:"group"` // security group
	Size  string `yaml:"size"`  // instance type
	Role  string `yaml:"role"`
	Owner string `yaml:"owner"`
}

// SetDefaults is what a node has that says nothing else.
func (a *Attributes) SetDefaults() { a.Size, a.Role = "t3.small", "general" }

// Validate reports what a node must say.
func (a *Attributes) Validate() error {
	if a.Group == "" {
		return errors.New("group is required")
	}
	return nil
}

const puppetServer = "puppet.internal"

// image is the image of one node. Its name, with the time, is what the
// clean-up goes by.
func image(cloud *ec2.Cloud, node nodes.Node[Attributes], retire bake.Publisher) *bake.Image {
	return &bake.Image{
		Name: node.Name,
		Builder: ec2.Builder{
			Cloud:          cloud,
			Source:         ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
			InstanceType:   node.Attrs.Size,
			SecurityGroups: []string{node.Attrs.Group},
			User:           "ubuntu",
		},
		Provisioners: []bake.Provisioner{
			provision.PuppetAgent{
				Server: puppetServer, CertName: node.Name,
				Install: provision.Packages{Install: []string{"puppet-agent"}},
			},
		},
		Publishers: []bake.Publisher{retire},
		Tags:       map[string]string{"role": node.Attrs.Role, "owner": node.Attrs.Owner},
	}
}

// newestFive keeps that many images of each node.
func newestFive(where *demo.Demo) bake.Publisher {
	return amicleanup.AfterBake(amicleanup.Cleaner{
		Targets: []amicleanup.Target{{Config: where.Cloud.Config("")}},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}", Except: map[string]string{ec2.TagExpires: "*"}},
			Keep:   []amicleanup.Rule{amicleanup.Newest(5)},
		},
		Clock: where.Clock,
	})
}

func main() { demo.Main("nodes", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("nodes", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print the results as JSON, nothing else")
	where, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer where.Close()
	if where.Server != nil {
		if err := makeGroups(ctx, where.Cloud, "front", "back"); err != nil {
			return err
		}
	}
	fleet, err := nodes.LoadFS[Attributes](files, "nodes.yaml")
	if err != nil {
		return err
	}
	options := &bake.Options{Clock: where.Clock, Observe: bake.Progress(out)}
	if *asJSON {
		options.Observe = nil
	}
	results, err := bakeFleet(ctx, where, options, fleet)
	if *asJSON {
		return errors.Join(err, writeJSON(out, results))
	}
	fmt.Fprintln(out)
	for _, r := range results {
		fmt.Fprintf(out, "%-8s %s %v\n", r.Image.Name, r.Status, r.Artifact)
	}
	return err
}

// bakeFleet bakes one image per node.
func bakeFleet(ctx context.Context, where *demo.Demo, options *bake.Options, fleet []nodes.Node[Attributes]) ([]*bake.Result, error) {
	retire := newestFive(where)
	images, err := nodes.Images(fleet, func(n nodes.Node[Attributes]) (*bake.Image, error) {
		return image(where.Cloud, n, retire), nil
	})
	if err != nil {
		return nil, err
	}
	return bake.Bake(ctx, options, images...)
}

// writeJSON prints one object per node.
func writeJSON(out io.Writer, results []*bake.Result) error {
	type line struct {
		Node   string        `json:"node"`
		Status bake.Status   `json:"status"`
		AMI    bake.Artifact `json:"ami,omitempty"`
		Error  string        `json:"error,omitempty"`
	}
	encoder := json.NewEncoder(out)
	for _, r := range results {
		l := line{Node: r.Image.Name, Status: r.Status, AMI: r.Artifact}
		if r.Err != nil {
			l.Error = r.Err.Error()
		}
		if err := encoder.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
