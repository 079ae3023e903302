package ec2_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// onSpot returns the simple image, baked on a spot instance.
func onSpot(cloud *ec2.Cloud, c ec2.Capture) *bake.Image {
	img := simple(cloud)
	img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Spot: &ec2.Spot{}, Capture: c}
	return img
}

// TestSpotReclaimedAtEachStep reclaims the spot instance when each step begins.
// The build must restart, or continue if it no longer needs the instance. Once
// capturing has begun it may also fail.
func TestSpotReclaimedAtEachStep(t *testing.T) {
	for name, c := range map[string]ec2.Capture{
		"image":            {},
		"snapshots":        {FromSnapshots: true, CrashConsistent: true},
		"crash-consistent": {CrashConsistent: true},
	} {
		var steps []bake.StepResult
		synctest.Test(t, func(t *testing.T) {
			server, _ := freezingServer(t, ec2test.Options{})
			whole, err := bake.Bake(t.Context(), nil, onSpot(newCloud(server), c))
			if err != nil {
				t.Fatal(err)
			}
			steps = whole[0].Steps
		})
		launched, captured := false, false
		for _, step := range steps {
			launched = launched || step.Name == "wait for instance"
			captured = captured || step.Name == "wait for image" || step.Name == "wait for snapshots"
			if !launched {
				continue
			}
			mayFail := captured
			t.Run(name+" "+step.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server, _ := freezingServer(t, ec2test.Options{})
					options, instance, reclaimed := &bake.Options{}, "", false
					options.Observe = func(e bake.Event) {
						if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
							instance = e.Resource.ID
						}
						if e.Kind == bake.StepStarted && e.Step == step.Name && !reclaimed {
							reclaimed = true
							if err := server.Reclaim(instance); err != nil {
								t.Error(err)
							}
						}
					}
					results, err := bake.Bake(t.Context(), options, onSpot(newCloud(server), c))
					if !reclaimed {
						t.Errorf("step %q did not start, want the instance reclaimed there", step.Name)
					}
					if err != nil && !mayFail {
						t.Errorf("Bake() error = %v", err)
					}
					destroy(t, results[0].Artifact)
					wantNoLeftovers(t, server)
				})
			})
		}
	}
}

// TestSpotReclaimedAfterLostCreateImage loses the response of CreateImage and then
// reclaims the instance. The image must be removed, not taken for that of the
// next instance.
func TestSpotReclaimedAfterLostCreateImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		var instances []string
		options := &bake.Options{}
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
		o := cloudOptions(server)
		o.SettleTime = 500 * time.Millisecond // time for the goroutine to reclaim the instance
		img := configure(onSpot(ec2.NewCloud(server.Config(testRegion), o), ec2.Capture{}), func(b *ec2.Builder) { b.AMIName = "web" })
		results, err := bake.Bake(t.Context(), options, img)
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
				t.Errorf("%s has the tag %s, want it removed", r, ec2.TagExpires)
			}
		}
		if !slices.Equal(images, []string{results[0].Artifact.ID()}) || len(instances) != 2 {
			t.Errorf("images %v after instances %v, want only %s, of the second", images, instances, results[0].Artifact.ID())
		}
	})
}

// TestSpotReclaimed reclaims spot instances while they are provisioned.
func TestSpotReclaimed(t *testing.T) {
	for name, test := range map[string]struct {
		spot    ec2.Spot
		reclaim int // number of instances
		want    []string
		fails   bool
	}{
		"once":           {ec2.Spot{}, 1, []string{"spot t3.small a launched", "spot t3.small a launched"}, false},
		"twice":          {ec2.Spot{}, 2, []string{"spot t3.small a launched", "spot t3.small a launched", "t3.small a launched"}, false},
		"no restarts":    {ec2.Spot{Restarts: -1}, 1, []string{"spot t3.small a launched", "t3.small a launched"}, false},
		"spot only":      {ec2.Spot{Only: true}, 9, []string{"spot t3.small a launched", "spot t3.small a launched"}, true},
		"only, restarts": {ec2.Spot{Only: true, Restarts: 2}, 2, []string{"spot t3.small a launched", "spot t3.small a launched", "spot t3.small a launched"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				instances, left := []string{}, test.reclaim
				img := &bake.Image{
					Name: "spot", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), Network: ec2.Network{AvailabilityZone: "eu-west-1a"}, Spot: &test.spot, SSH: ec2.SSH{ConnectTimeout: 2 * time.Second}},
					Provisioners: []bake.Provisioner{
						provision.Shell("echo baked >>/etc/made").AsRoot(),
						bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
							if left--; left >= 0 {
								if err := server.Reclaim(instances[len(instances)-1]); err != nil {
									t.Error(err)
								}
							}
							return m.Run(ctx, bake.Sh("true"))
						}},
					},
				}
				results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
					if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
						instances = append(instances, e.Resource.ID)
					}
				}}, img)
				if (err != nil) != test.fails {
					t.Errorf("Bake() error = %v, want an error: %t", err, test.fails)
				}
				if diff := cmp.Diff(test.want, launches(t, server, cloud)); diff != "" {
					t.Errorf("launches (-want +got):\n%s", diff)
				}
				if results[0].Artifact != nil {
					wantFile(t, server, results[0].Artifact.ID(), "/etc/made", "baked\n") // by one machine only
					destroy(t, results[0].Artifact)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestSpotProvisionerFailure checks that a failed provisioner is not taken for a reclaim.
func TestSpotProvisionerFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		img := failing(cloud)
		img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Spot: &ec2.Spot{Restarts: 5}}
		_, err := bake.Bake(t.Context(), nil, img)
		if _, ok := errors.AsType[*bake.ExitError](err); !ok || len(launches(t, server, cloud)) != 1 {
			t.Errorf("Bake() error = %v after launches %v, want an ExitError after one launch", err, launches(t, server, cloud))
		}
		wantNoLeftovers(t, server)
	})
}

// TestSpotFromSnapshots captures a spot instance, which cannot be stopped.
func TestSpotFromSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _ := freezingServer(t, ec2test.Options{})
		cloud := newCloud(server)
		img := simple(cloud)
		img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), Spot: &ec2.Spot{Only: true}, Capture: ec2.Capture{FromSnapshots: true, CrashConsistent: true}}
		var steps []string
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.StepStarted {
				steps = append(steps, e.Step)
			}
		}}, img)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(steps, "stop instance") || !slices.Contains(steps, "snapshot volumes") || server.CallCount("StopInstances") != 0 {
			t.Errorf("steps = %q, want snapshots and no stop", steps)
		}
		wantFile(t, server, results[0].Artifact.ID(), "/etc/made", "made with care\n")
	})
}
