// Command nodes bakes an image for every node of a YAML file: from the newest
// Ubuntu, in the node's security group, provisioned by Puppet under the node's
// name. It keeps the newest five images of each node.
//
//	go run ./examples/nodes
//
// A failed node does not stop the others. If any failed, the exit status is not 0; see
// docs/ci.md. With -json it prints the results for a CI job, one JSON object per node,
// with -report FILE and -junit FILE it writes an HTML page and JUnit's XML about the
// run, and with -logs DIR the log of each image. In GitHub Actions it also writes
// annotations, a summary and the ids of the images as an output.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/buildlog"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/bake/report"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
	"github.com/bakestone-go/bakestone/provision"
)

//go:embed nodes.yaml
var files embed.FS

// Attributes are the attributes of a node in nodes.yaml.
type Attributes struct {
	Group string `yaml:"group"` // security group
	Size  string `yaml:"size"`  // instance type
	Role  string `yaml:"role"`
	Owner string `yaml:"owner"`
}

// SetDefaults sets the attributes that a node need not have.
func (a *Attributes) SetDefaults() { a.Size, a.Role = "t3.small", "general" }

// Validate reports a missing group.
func (a *Attributes) Validate() error {
	if a.Group == "" {
		return errors.New("group is required")
	}
	return nil
}

const puppetServer = "puppet.internal"

// nodeImage defines the image of one node. EC2 shows it as "web 1700000000": the
// node's name and the Unix time.
func nodeImage(cloud *ec2.Cloud, node nodes.Node[Attributes], retire bake.Publisher) *bake.Image {
	return &bake.Image{
		Name: node.Name,
		Builder: ec2.Builder{
			Cloud:         cloud,
			Source:        ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"},
			InstanceTypes: []string{node.Attrs.Size},
			Network:       ec2.Network{SecurityGroups: []string{node.Attrs.Group}},
			SSH:           ec2.SSH{User: "ubuntu"},
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

// keepNewestFive removes all but the newest five images of a node.
func keepNewestFive(cloud *ec2.Cloud, clock clock.Clock) bake.Publisher {
	return amicleanup.AfterBake(amicleanup.Cleaner{
		Targets: []amicleanup.Target{{Config: cloud.Config("")}},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}", Except: map[string]string{ec2.TagExpires: "*"}},
			Keep:   []amicleanup.Rule{amicleanup.Newest(5)},
		},
		Clock: clock,
	})
}

// bakeFleet bakes an image for each node.
func bakeFleet(ctx context.Context, cloud *ec2.Cloud, options *bake.Options, fleet []nodes.Node[Attributes]) ([]*bake.Result, error) {
	retire := keepNewestFive(cloud, options.Clock)
	images, err := nodes.Images(fleet, func(n nodes.Node[Attributes]) (*bake.Image, error) {
		return nodeImage(cloud, n, retire), nil
	})
	if err != nil {
		return nil, err
	}
	return bake.Bake(ctx, options, images...)
}

func main() { demo.Main("nodes", run) }

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("nodes", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print only the results, as JSON")
	page := flags.String("report", "", "also write an HTML report to this `file`")
	junit := flags.String("junit", "", "also write JUnit's XML to this `file`, for GitLab and Jenkins")
	logDir := flags.String("logs", "", "also write a log of each image to this `directory`")
	env, err := demo.Open(ctx, flags, args, commands())
	if err != nil {
		return err
	}
	defer env.Close()
	if env.Server != nil {
		if err := createSecurityGroups(ctx, env.Cloud, "front", "back"); err != nil {
			return err
		}
	}
	fleet, err := nodes.LoadFS[Attributes](files, "nodes.yaml")
	if err != nil {
		return err
	}
	shown := out
	if *asJSON {
		shown = io.Discard
	}
	inGitHub := os.Getenv("GITHUB_ACTIONS") == "true"
	view, recorder := terminal.New(shown, &terminal.Options{Images: len(fleet), Groups: inGitHub, Clock: env.Clock}), &report.Recorder{}
	options := &bake.Options{Clock: env.Clock, Observe: func(e bake.Event) {
		view.Observe(e)
		recorder.Observe(e)
	}}
	if *logDir != "" {
		logs, openErr := buildlog.Open(*logDir, nil)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, logs.Close()) }()
		options.Log = slog.New(logs)
	}
	results, err := bakeFleet(ctx, env.Cloud, options, fleet)
	err = errors.Join(err, view.Close(results))
	made := recorder.Report(results)
	err = errors.Join(err, writeFile(*page, made.WriteHTML), writeFile(*junit, made.WriteJUnit), made.WriteGitHub(shown, os.Getenv))
	if *asJSON {
		err = errors.Join(err, writeJSON(out, results))
	}
	return err
}

// writeFile writes a file, unless its name is empty.
func writeFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// writeJSON writes a JSON object for each node.
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
