package bake_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A base image and a web server on top of it. A real program has the Builder of a
// platform, such as ec2.Builder, in place of the in-memory one.
func ExampleBake() {
	memory := baketest.NewBuilder(nil)
	base := &bake.Image{
		Name:    "base",
		Builder: memory,
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{
			Name: "install updates",
			Do: func(ctx context.Context, m bake.Machine) error {
				return m.Run(ctx, &bake.Cmd{Line: "apt-get update && apt-get -y upgrade", Sudo: true})
			},
		}},
	}
	web := &bake.Image{
		Name:    "web",
		Builder: memory,
		From:    base,
		Checks: []bake.Check{bake.CheckFunc{
			Name: "nginx runs",
			Do: func(ctx context.Context, m bake.Machine) error {
				return m.Run(ctx, bake.Command("systemctl", "is-active", "nginx"))
			},
		}},
	}

	results, err := bake.Bake(context.Background(), nil, base, web)
	for _, r := range results {
		fmt.Println(r.Image.Name, r.Status)
	}
	fmt.Println(err)
	// Output:
	// base baked
	// web baked
	// <nil>
}

// interrupted bakes web in a process that dies in the second provisioner. It returns the
// store with the record that the process leaves, whose lease has ended.
func interrupted(dir string, memory *baketest.Builder) bake.Store {
	ctx, store := context.Background(), bake.DirStore(dir)
	opts := &bake.Options{Store: &frozenStore{Store: store}}
	results, _ := bake.Bake(ctx, opts, web(undying{memory}, failing)) // fails like a killed process
	rec, err := store.Load(ctx, results[0].Build)
	if err == nil {
		rec.Lease.Length = time.Millisecond
		rec.Revision++
		err = store.Save(ctx, rec)
	}
	if err != nil {
		fmt.Println(err)
	}
	return store
}

// A frozenStore stops saving when the step of the second provisioner has started.
type frozenStore struct {
	bake.Store

	frozen bool
}

func (s *frozenStore) Save(ctx context.Context, r *bake.Record) error {
	if s.frozen {
		return nil
	}
	s.frozen = len(r.Steps) > 0 && r.Steps[len(r.Steps)-1].Name == "provision 2: install"
	return s.Store.Save(ctx, r)
}

func web(b bake.Builder, install func(context.Context, bake.Machine) error) *bake.Image {
	return &bake.Image{
		Name:    "web",
		Builder: b,
		Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Name: "update", Do: nothingOn},
			bake.ProvisionFunc{Name: "install", Do: install},
		},
	}
}

// When it starts, a service continues the builds that its predecessor did not finish.
func ExampleOptions_resume() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "records-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	memory := baketest.NewBuilder(nil)
	store := interrupted(dir, memory)

	definitions := map[string]*bake.Image{"web": web(memory, nothingOn)}
	opts := &bake.Options{Store: store, Observe: func(e bake.Event) {
		switch e.Kind {
		case bake.BuildResumed:
			fmt.Printf("%s: %s\n", e.Kind, e.Step)
		case bake.BuildFinished:
			fmt.Printf("%s: %s\n", e.Kind, e.Status)
		}
	}}
	var images []*bake.Image
	builds, err := store.List(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, build := range builds {
		rec, err := store.Load(ctx, build)
		if err != nil {
			fmt.Println(err)
			return
		}
		opts.Resume, images = append(opts.Resume, rec), append(images, definitions[rec.Image])
	}
	_, err = bake.Bake(ctx, opts, images...)
	fmt.Println(err)
	// Output:
	// build resumed: provision 2: install
	// build finished: baked
	// <nil>
}

// Undo removes what a dead process left behind, using only the record.
func ExampleUndo() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "records-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	memory := baketest.NewBuilder(nil)
	store := interrupted(dir, memory)

	builds, err := store.List(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, build := range builds {
		rec, err := store.Load(ctx, build)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(rec.Image, "stopped in", rec.Steps[len(rec.Steps)-1].Name)
		if err := bake.Undo(ctx, nil, web(memory, nothingOn), rec); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("existing resources:", memory.Existing(), store.Delete(ctx, build))
	}
	// Output:
	// web stopped in provision 2: install
	// existing resources: [] <nil>
}

// A step of the caller's own registers the machine at a server while it is baked. Undo
// runs in every case: after success, failure and cancellation.
func ExampleStep() {
	registered := map[string]bool{}
	img := &bake.Image{
		Name:    "web",
		Builder: baketest.NewBuilder(nil),
		Steps: []bake.Step{{
			Name: "register machine",
			At:   bake.BeforeProvision,
			Do: func(context.Context) error {
				registered["web"] = true
				return nil
			},
			Undo: func(context.Context, bake.Outcome) error {
				delete(registered, "web")
				return nil
			},
			Retry: bake.Retry{Attempts: 3},
		}},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{
			Name: "use registration",
			Do: func(context.Context, bake.Machine) error {
				fmt.Println("registered:", registered["web"])
				return nil
			},
		}},
	}
	_, err := bake.Bake(context.Background(), &bake.Options{Clock: clock.System()}, img)
	fmt.Println("registered:", registered["web"], err)
	// Output:
	// registered: true
	// registered: false <nil>
}
