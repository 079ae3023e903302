package ec2_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestCopyTimeout checks that a copy that times out does not affect the others.
func TestCopyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		o := cloudOptions(server)
		o.CallTimeout = time.Hour
		img := setDistribution(multiRegion(ec2.NewCloud(server.Config(testRegion), o)), func(d *ec2.Distribution) {
			d.Copies, d.Timeout, d.Attempts, d.Protection = ec2.CopyTo("us-east-1", "us-west-2"), 10*time.Minute, 2, ec2.Unprotected
		})
		img.Steps = []bake.Step{{Name: "slow", At: bake.AfterCapture, Do: func(context.Context) error {
			server.Fail(ec2test.Fault{Action: "CopyImage", Region: "us-west-2", Times: -1, When: ec2test.Hang})
			return nil
		}}}
		results, err := bake.Bake(t.Context(), nil, img)
		var failed *ec2.DistributionError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || !strings.Contains(err.Error(), "us-west-2: copy not complete after 10m0s: ") {
			t.Fatalf("Bake() error = %v, want a timeout of us-west-2", err)
		}
		if results[0].Artifact == nil {
			t.Fatal("Bake() returned no artifact, want the AMI with its other copy")
		}
		if got := placesOf(results[0].Artifact); !slices.Equal(got, []string{testRegion, "us-east-1"}) {
			t.Errorf("places of the AMI = %v, want %s and us-east-1", got, testRegion)
		}
		for _, r := range server.Resources(nil) {
			if r.Tags[ec2.TagExpires] != "" {
				t.Errorf("%s has the tag %s, want it removed", r, ec2.TagExpires)
			}
		}
	})
}

// TestCancelBetweenCopyAttempts checks that irreversible changes wait for the
// last attempt. A canceled bake leaves nothing, although AMIs that are protected
// with a cooldown could not be removed for a day.
func TestCancelBetweenCopyAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, only := range []bool{false, true} {
			server := roleServer(t, nil)
			server.Fail(ec2test.Fault{Action: "CopyImage", Region: "us-west-2", Code: "IncorrectState"})
			img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.Protection, d.OnlyCopies = ec2.ProtectedWithCooldown, only })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			options := &bake.Options{}
			options.Observe = func(e bake.Event) {
				if e.Kind == bake.StepRetried {
					cancel()
				}
			}
			results, err := bake.Bake(ctx, options, img)
			if !errors.Is(err, context.Canceled) || results[0].Status != bake.StatusCanceled {
				t.Errorf("OnlyCopies %t: Bake() = %s, %v, want %s, %v", only, results[0].Status, err, bake.StatusCanceled, context.Canceled)
			}
			wantNoLeftovers(t, server)
		}
	})
}

// TestOnlyCopiesKeepsOldAMI retries a copy. The old AMI in the region of the bake,
// where no new one stays, must not be replaced.
func TestOnlyCopiesKeepsOldAMI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []ec2test.Fault{
			{Code: "IncorrectState"},
			{When: ec2test.After, Times: attempts}, // the copy starts, but all responses are lost
		} {
			server := newServer(t, nil)
			old := server.Publish(ec2test.Image{Name: "web", Private: true})
			fault.Action, fault.Region = "CopyImage", "us-east-1"
			server.Fail(fault)
			img := setDistribution(fixedName(newCloud(server), "v1"), func(d *ec2.Distribution) { d.OnlyCopies, d.Attempts, d.Protection = true, 2, ec2.ProtectedWithCooldown })
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(t, newCloud(server), testRegion, old[testRegion]); got.State != "available" {
				t.Errorf("state of the old AMI = %s, want available", got.State)
			}
			var left []string
			for _, r := range resourcesOf(server, "image") {
				left = append(left, r.Region+" "+r.ID)
			}
			if want := []string{"us-east-1 " + results[0].Artifact.ID()}; !slices.Equal(left, want) {
				t.Errorf("images = %v, want %v", left, want)
			}
		}
	})
}
