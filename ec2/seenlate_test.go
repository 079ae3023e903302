package ec2_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// lateServer is an EC2 that shows what was made and changed only after some
// seconds, and takes its time for everything, with a cloud that knows of it.
func lateServer(t *testing.T) (*ec2test.Server, *ec2.Cloud, *bake.Options) {
	t.Helper()
	clock := clock.Scaled(300)
	server := roleServer(t, &ec2test.Options{Clock: clock, Consistency: 5 * time.Second, Latency: ec2test.Realistic()})
	o := &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress, NoCallLimits: true, Clock: clock, CallTimeout: time.Hour}
	return server, ec2.NewCloud(server.Config(testRegion), o), &bake.Options{Clock: clock, UndoTimeout: time.Hour}
}

// TestReplacementSeenLate replaces an AMI twice, and takes a replacement back,
// where nothing is seen at once.
func TestReplacementSeenLate(t *testing.T) {
	t.Parallel()
	server, cloud, options := lateServer(t)
	for _, version := range []string{"v1", "v2"} {
		if _, err := bake.Bake(t.Context(), options, fixed(cloud, version)); err != nil {
			t.Fatal(err)
		}
		wantWeb(t, server, version)
	}
	late := fixed(cloud, "v3")
	late.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error { return errors.New("too late") }}}
	if _, err := bake.Bake(t.Context(), options, late); err == nil {
		t.Error("no error")
	}
	wantWeb(t, server, "v2")
}

// TestCancelSeenLate cancels a bake as each of its steps begins or ends, where
// nothing is seen at once, and snapshots of an image begin after it.
func TestCancelSeenLate(t *testing.T) {
	for _, step := range []string{"launch instance", "create image", "wait for image", "promote image"} {
		for _, when := range []bake.EventKind{bake.ResourceCreated, bake.StepFinished} {
			t.Run(step+" "+string(when), func(t *testing.T) {
				t.Parallel()
				server, cloud, options := lateServer(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				options.Observe = func(e bake.Event) {
					if e.Step == step && e.Kind == when {
						cancel()
					}
				}
				img := change(spread(cloud), func(d *ec2.Distribution) { d.Protection = ec2.Protected })
				results, err := bake.Bake(ctx, options, img)
				if results[0].Artifact != nil {
					if err := results[0].Artifact.Destroy(t.Context()); err != nil {
						t.Error(err)
					}
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				wantNothing(t, server)
			})
		}
	}
}
