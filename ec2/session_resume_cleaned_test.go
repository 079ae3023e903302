package ec2_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestResumeAfterGuestCleanup resumes builds whose process ended when it had cleaned
// the guest, which accepts no more logins, and before it stopped or captured the
// instance. Another instance must be launched within a minute.
func TestResumeAfterGuestCleanup(t *testing.T) {
	for name, test := range map[string]struct {
		step    string // which cleans
		call    string // the one that the process did not make
		builder ec2.Builder
	}{
		"stopped":          {"clean guest", "StopInstances", ec2.Builder{}},
		"spot":             {"create image", "CreateImage", ec2.Builder{Spot: &ec2.Spot{}}},
		"crash-consistent": {"create image", "CreateImage", ec2.Builder{Capture: ec2.Capture{CrashConsistent: true}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server, _ := freezingServer(t, ec2test.Options{})
				cloud := newCloud(server)
				define := func() *bake.Image {
					img := simple(cloud)
					img.Builder = test.builder
					return configure(img, func(b *ec2.Builder) { b.Cloud, b.Source = cloud, ubuntu() })
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				store := &frozenStore{begun: test.step}
				server.Fail(ec2test.Fault{Action: test.call, Times: -1, Code: "UnauthorizedOperation"})
				// The process ends: its undo is never made.
				server.Fail(ec2test.Fault{Action: "TerminateInstances", Times: -1, Code: "UnauthorizedOperation"})
				server.Fail(ec2test.Fault{Action: "DeleteSecurityGroup", Times: -1, Code: "UnauthorizedOperation"})
				if _, err := bake.Bake(ctx, &bake.Options{Store: store}, define()); err == nil {
					t.Fatal("Bake() error = nil, want that of " + test.call)
				}
				server.Mend()

				began := time.Now()
				restarted := false
				results, err := bake.Bake(t.Context(), &bake.Options{
					Store: store.Store, Resume: []*bake.Record{store.load(t)},
					Observe: func(e bake.Event) { restarted = restarted || e.Kind == bake.BuildRestarted },
				}, define())
				if took := time.Since(began); err != nil || took > 3*time.Minute || !restarted {
					t.Errorf("Bake() error = %v after %v, restarted %t, want nil after at most 3m, true", err, took, restarted)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		})
	}
}
