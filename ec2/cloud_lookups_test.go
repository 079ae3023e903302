package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// cachingCloud returns a cloud that shares each lookup for an hour of its clock.
// Waits still end at once, because nothing takes time on the server.
func cachingCloud(server *ec2test.Server) (*ec2.Cloud, *shiftedClock) {
	clock := &shiftedClock{Clock: clock.System()}
	o := cloudOptions(server)
	o.Clock, o.PollInterval = clock, time.Hour
	return ec2.NewCloud(server.Config(testRegion), o), clock
}

// A shiftedClock shows the real time plus an offset.
type shiftedClock struct {
	clock.Clock

	by atomic.Int64
}

func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.by.Load())) }

// readsOf counts the reads by action, without those that wait for an instance or
// an image.
func readsOf(server *ec2test.Server) map[string]int {
	count := map[string]int{}
	for _, c := range server.Calls() {
		waits := c.Action == "DescribeInstances" || strings.Contains(c.Params.Encode(), "image-id")
		if reads(c) && !waits {
			count[c.Action]++
		}
	}
	return count
}

func TestLookupsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud, clock := cachingCloud(server)
		bakeImages := func(n int) {
			t.Helper()
			images := make([]*bake.Image, 0, n)
			for i := range n {
				images = append(images, &bake.Image{Name: fmt.Sprintf("node%d", i), Builder: ec2.Builder{
					Cloud:   cloud,
					Source:  ec2.ParameterName("/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
					Network: ec2.Network{VPC: ec2.ByFilter(ec2.Filters{"is-default": {"true"}}), SecurityGroups: []string{"default"}},
				}})
			}
			if _, err := bake.Bake(t.Context(), nil, images...); err != nil {
				t.Fatal(err)
			}
		}
		openDefaultGroup(t, cloud)
		bakeImages(20)
		want := map[string]int{"GetParameter": 1, "DescribeVpcs": 1, "DescribeSubnets": 1, "DescribeSecurityGroups": 2}
		for action, count := range readsOf(server) {
			if count != want[action] {
				t.Errorf("calls of %s by 20 bakes = %d, want %d", action, count, want[action])
			}
		}
		clock.by.Add(int64(time.Hour))
		bakeImages(1)
		if again := readsOf(server)["DescribeSubnets"]; again != 2 {
			t.Errorf("calls of DescribeSubnets after the first lookup expired = %d, want 2", again)
		}
	})
}

// TestNewestSeesOwnImages bakes from the newest own image repeatedly while no
// lookup expires. Each bake must see the image baked last.
func TestNewestSeesOwnImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud, _ := cachingCloud(server)
		next := &bake.Image{Name: "next", Builder: ec2.Builder{
			Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Self}, Filters: ec2.Filters{"tag:" + ec2.TagImage: {"simple"}}},
		}}
		if _, err := bake.Bake(t.Context(), nil, next); !errors.Is(err, ec2.ErrNoSource) {
			t.Fatalf("Bake() before there is an image: error = %v, want %v", err, ec2.ErrNoSource)
		}
		for range 2 {
			base, err := bake.Bake(t.Context(), nil, simple(cloud))
			if err != nil {
				t.Fatal(err)
			}
			layer, err := bake.Bake(t.Context(), nil, next)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := amiOf(t, layer[0]).Source.ID, base[0].Artifact.ID(); got != want {
				t.Errorf("source = %s, want %s, which was baked last", got, want)
			}
			if err := base[0].Artifact.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestLookupAfterCancel cancels the bake that makes a shared lookup. Another bake
// that waits for it must repeat it.
func TestLookupAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud, _ := cachingCloud(server)
		server.Fail(ec2test.Fault{Action: "DescribeSubnets", When: ec2test.Hang})
		canceled, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := make(chan error, 1)
		go func() {
			_, err := bake.Bake(canceled, nil, simple(cloud))
			first <- err
		}()
		for server.CallCount("DescribeSubnets") == 0 {
			time.Sleep(time.Millisecond)
		}
		waiting := make(chan struct{}, 1)
		second := make(chan error, 1)
		go func() {
			_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
				if e.Kind == bake.StepStarted && e.Step == "choose network" {
					waiting <- struct{}{}
				}
			}}, simple(cloud))
			second <- err
		}()
		<-waiting
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("Bake() that was canceled: error = %v, want %v", err, context.Canceled)
		}
		if err := <-second; err != nil {
			t.Errorf("Bake() that waits: error = %v", err)
		}
		if n := server.CallCount("DescribeSubnets"); n != 2 {
			t.Errorf("calls of DescribeSubnets = %d, want 2", n)
		}
	})
}
