package ec2_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// reclaimable is the simple image, baked on spot.
func reclaimable(cloud *ec2.Cloud, c ec2.Capture) *bake.Image {
	img := simple(cloud)
	img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Spot: &ec2.Spot{}, Capture: c}
	return img
}

// TestReclaimedAtEveryStep takes the spot instance away as each step begins: the
// build begins again, or, when it needs the instance no more, goes on, or fails.
// Nothing is left in any case.
func TestReclaimedAtEveryStep(t *testing.T) {
	for name, c := range map[string]ec2.Capture{
		"image":            {},
		"snapshots":        {FromSnapshots: true, CrashConsistent: true},
		"crash-consistent": {CrashConsistent: true},
	} {
		server, _ := freezingServer(t, ec2test.Options{})
		whole, err := bake.Bake(t.Context(), fast(), reclaimable(newCloud(server), c))
		if err != nil {
			t.Fatal(err)
		}
		launched, captured := false, false
		for _, step := range whole[0].Steps {
			launched = launched || step.Name == "wait for instance"
			captured = captured || step.Name == "wait for image" || step.Name == "wait for snapshots"
			if !launched {
				continue
			}
			mayFail := captured
			t.Run(name+" "+step.Name, func(t *testing.T) {
				t.Parallel()
				server, _ := freezingServer(t, ec2test.Options{})
				options, instance, done := fast(), "", false
				options.Observe = func(e bake.Event) {
					if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
						instance = e.Resource.ID
					}
					if e.Kind == bake.StepStarted && e.Step == step.Name && !done {
						done = true
						if err := server.Reclaim(instance); err != nil {
							t.Error(err)
						}
					}
				}
				results, err := bake.Bake(t.Context(), options, reclaimable(newCloud(server), c))
				if err != nil && !mayFail {
					t.Error(err)
				}
				if results[0].Artifact != nil {
					if err := results[0].Artifact.Destroy(t.Context()); err != nil {
						t.Error(err)
					}
				}
				wantNothing(t, server)
			})
		}
	}
}

// The image that EC2 began to make of the instance that it then reclaimed, without
// saying so, goes, and is not taken for the one of the next instance.
func TestReclaimedAfterLostImage(t *testing.T) {
	server := newServer(t, nil)
	var instances []string
	options := fast()
	options.Observe = func(e bake.Event) {
		if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
			instances = append(instances, e.Resource.ID)
		}
	}
	imaged, reclaimed := make(chan bool, attempts), make(chan bool)
	go func() {
		<-imaged
		if err := server.Reclaim(instances[0]); err != nil {
			t.Error(err)
		}
		close(reclaimed)
	}()
	server.Fail(ec2test.Fault{Action: "CreateImage", When: ec2test.After, Times: attempts, Match: func(url.Values) bool {
		imaged <- true
		return true
	}})
	o := quick(server)
	o.SettleTime = 500 * time.Millisecond // enough for the goroutine
	results, err := bake.Bake(t.Context(), options, reclaimable(ec2.NewCloud(server.Config(testRegion), o), ec2.Capture{}))
	<-reclaimed
	if err != nil {
		t.Fatal(err)
	}
	var images []string
	for _, r := range server.Resources(nil) {
		if r.Type == "image" {
			images = append(images, r.ID)
		}
		if r.Tags[ec2.TagExpires] != "" {
			t.Errorf("not finished: %s", r)
		}
	}
	if !slices.Equal(images, []string{results[0].Artifact.ID()}) || len(instances) != 2 {
		t.Errorf("images %v of instances %v, want %s of the second", images, instances, results[0].Artifact.ID())
	}
}
