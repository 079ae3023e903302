package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// patient returns a cloud that asks again after an hour only, so that every
// answer stays young for the whole test unless its clock is moved. Waits end at
// once all the same, because nothing takes time on the server.
func cachingCloud(server *ec2test.Server) (*ec2.Cloud, *shiftedClock) {
	clock := &shiftedClock{Clock: clock.System()}
	o := cloudOptions(server)
	o.Clock, o.PollInterval = clock, time.Hour
	return ec2.NewCloud(server.Config(testRegion), o), clock
}

// A shiftedClock is the real time and what it was moved by.
type shiftedClock struct {
	clock.Clock

	by atomic.Int64
}

func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.by.Load())) }

// readsOf counts the calls that only look, by action, without those that wait
// for an instance or an image.
func readsOf(server *ec2test.Server) map[string]int {
	reads := map[string]int{}
	for _, c := range server.Calls() {
		waits := c.Action == "DescribeInstances" || strings.Contains(c.Params.Encode(), "image-id")
		if !waits && (strings.HasPrefix(c.Action, "Describe") || strings.HasPrefix(c.Action, "Get")) {
			reads[c.Action]++
		}
	}
	return reads
}

func TestLookupsShared(t *testing.T) {
	server := newServer(t, nil)
	cloud, clock := cachingCloud(server)
	bakeSome := func(n int) {
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
	group, err := cloud.Client("").DescribeSecurityGroups(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = cloud.Client("").AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group.SecurityGroups[0].GroupId, IpProtocol: aws.String("-1"), CidrIp: aws.String("0.0.0.0/0"),
	})
	if err != nil {
		t.Fatal(err)
	}
	bakeSome(20)
	want := map[string]int{"GetParameter": 1, "DescribeVpcs": 1, "DescribeSubnets": 1, "DescribeSecurityGroups": 2}
	for action, count := range readsOf(server) {
		if count != want[action] {
			t.Errorf("20 bakes made %d calls of %s, want %d", count, action, want[action])
		}
	}
	clock.by.Add(int64(time.Hour))
	bakeSome(1)
	if again := readsOf(server)["DescribeSubnets"]; again != 2 {
		t.Errorf("%d calls of DescribeSubnets after the first answer is old, want 2", again)
	}
}

// TestNewestSeesOwnImages bakes from the newest of a family again and again
// while no time passes: nobody may be told what was true before.
func TestNewestSeesOwnImages(t *testing.T) {
	server := newServer(t, nil)
	cloud, _ := cachingCloud(server)
	next := &bake.Image{Name: "next", Builder: ec2.Builder{
		Cloud: cloud, Source: ec2.Newest{Owners: []string{ec2.Self}, Filters: ec2.Filters{"tag:" + ec2.TagImage: {"simple"}}},
	}}
	if _, err := bake.Bake(t.Context(), nil, next); !errors.Is(err, ec2.ErrNoSource) {
		t.Fatalf("error %v, want that there is none", err)
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
			t.Errorf("the source is %s, want the image %s that was just baked", got, want)
		}
		if err := base[0].Artifact.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLookupAfterCancel cancels the bake that asks for all: another one
// asks again.
func TestLookupAfterCancel(t *testing.T) {
	server := newServer(t, nil)
	cloud, _ := cachingCloud(server)
	server.Fail(ec2test.Fault{Action: "DescribeSubnets", When: ec2test.Hang})
	asker, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := bake.Bake(asker, nil, simple(cloud))
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
		t.Errorf("the cancelled bake: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the other bake: %v", err)
	}
}
