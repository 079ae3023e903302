package imagetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// Options configures an Env. Nil options mean the zero value.
type Options struct {
	// Region is the region of Env.Cloud. Empty means "eu-west-1".
	Region string

	// Server configures the embedded EC2. Its Clock is that of all bakes.
	Server ec2test.Options

	// Bake configures the bakes of [Env.Bake]. Its Clock is that of the server.
	Bake bake.Options
}

// An Env is an embedded EC2 for one test. Its methods end the test on failure.
type Env struct {
	Server *ec2test.Server
	Cloud  *ec2.Cloud // for definitions: ec2.Builder.Cloud
	Clock  clock.Clock

	t       testing.TB
	options bake.Options
}

// Start starts an embedded EC2, which ends with the test. If the test succeeds,
// Start's clean-up checks that bakes left nothing behind but images.
func Start(t testing.TB, o *Options) *Env {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	region := o.Region
	if region == "" {
		region = "eu-west-1"
	}
	options := o.Server
	options.Clock = clock.OrSystem(options.Clock)
	server := ec2test.New(&options)
	env := &Env{
		Server: server, Clock: options.Clock, t: t, options: o.Bake,
		Cloud: ec2.NewCloud(server.Config(region), &ec2.CloudOptions{
			Dial: server.Dial, SourceAddress: server.SourceAddress, Clock: options.Clock, NoCallLimits: true,
		}),
	}
	env.options.Clock = options.Clock
	t.Cleanup(func() {
		t.Helper()
		if left := env.Leftovers(); len(left) > 0 && !t.Failed() {
			t.Errorf("bakes left behind:\n\t%s", strings.Join(left, "\n\t"))
		}
		server.Close()
	})
	return env
}

// BakeOptions returns the options for programs that call bake.Bake themselves.
func (e *Env) BakeOptions() *bake.Options {
	options := e.options
	return &options
}

// Bake bakes an image and those it is made from, and returns it.
func (e *Env) Bake(img *bake.Image) *Image {
	e.t.Helper()
	return e.BakeAll(img)[0]
}

// BakeAll bakes images and returns them in the same order.
func (e *Env) BakeAll(images ...*bake.Image) []*Image {
	e.t.Helper()
	results, err := bake.Bake(e.t.Context(), e.BakeOptions(), images...)
	if err != nil {
		e.t.Fatalf("%v%s", err, e.consoles())
	}
	baked := make([]*Image, 0, len(images))
	for _, img := range images {
		i := slices.IndexFunc(results, func(r *bake.Result) bool { return r.Image == img })
		baked = append(baked, e.Baked(results[i]))
	}
	return baked
}

// BakeError bakes images, which must fail, and returns the error.
func (e *Env) BakeError(images ...*bake.Image) error {
	e.t.Helper()
	results, err := bake.Bake(e.t.Context(), e.BakeOptions(), images...)
	if err == nil {
		e.t.Fatalf("Bake() = %v, want an error", results)
	}
	return err
}

// Baked returns the image of a result of bake.Bake.
func (e *Env) Baked(r *bake.Result) *Image {
	e.t.Helper()
	if r.Artifact == nil {
		e.t.Fatalf("%s was not baked: %v", r.Image.Name, r.Err)
	}
	i := e.Image(r.Artifact.ID())
	i.Artifact, i.label = r.Artifact, r.Image.Name
	return i
}

// Image returns the AMI with an id, which another program may have made.
func (e *Env) Image(id string) *Image {
	e.t.Helper()
	ami, err := e.Server.AMI(id)
	if err != nil {
		e.t.Fatal(err)
	}
	return &Image{ID: id, env: e, label: ami.Name}
}

// Leftovers describes what bakes have left behind: their resources except images
// and the snapshots of images.
func (e *Env) Leftovers() []string {
	var snapshots []string
	all := e.Server.Resources(func(r ec2test.Resource) bool { return r.Tags[ec2.TagBuild] != "" })
	for _, r := range all {
		if ami, err := e.Server.AMI(r.ID); err == nil {
			snapshots = append(snapshots, ami.Snapshots...)
		}
	}
	var left []string
	for _, r := range all {
		if r.Type != "image" && !slices.Contains(snapshots, r.ID) {
			left = append(left, r.String())
		}
	}
	return left
}

// consoles returns what the machines say about the simulation, which may explain a
// failure.
func (e *Env) consoles() string {
	var notes strings.Builder
	seen := map[string]bool{}
	for _, run := range e.Server.CommandRuns("") {
		if seen[run.Instance] {
			continue
		}
		seen[run.Instance] = true
		for line := range strings.Lines(e.Server.Console(run.Instance)) {
			if strings.HasPrefix(line, "test machine: ") && !seen[line] {
				seen[line] = true
				notes.WriteString("\n" + strings.TrimSpace(line))
			}
		}
	}
	return notes.String()
}
