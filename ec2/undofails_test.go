package ec2_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestUndoFailsOnce fails every call with which a bad AMI and its copies are
// removed, so long that one attempt at the undo is lost: the next one does it.
func TestUndoFailsOnce(t *testing.T) {
	for _, action := range []string{
		"TerminateInstances", "DeleteSecurityGroup", "DeregisterImage", "DisableImageDeregistrationProtection", "DeleteSnapshot",
		"DescribeImages", "DescribeSnapshots", "DescribeInstances", "DeleteRole", "DeleteInstanceProfile", "AssumeRole",
	} {
		for name, fault := range map[string]ec2test.Fault{
			"failing":   {Code: "InternalError"},
			"throttled": {Code: "RequestLimitExceeded"},
			"lost":      {When: ec2test.After},
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				t.Parallel()
				server := roleServer(t, nil)
				img := spread(newCloud(server))
				b, _ := img.Builder.(ec2.Builder)
				b.InstanceProfilePolicy = readBucket
				img.Builder = b
				fault.Action, fault.Times = action, attempts
				if !strings.Contains(action, "Role") && !strings.Contains(action, "Profile") { // which are of no region
					fault.Account, fault.Region = "123456789012", testRegion
				}
				img.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error {
					server.Fail(fault)
					return errors.New("too late")
				}}}
				_, err := bake.Bake(t.Context(), fast(), img)
				if err == nil || !strings.Contains(err.Error(), "late: too late") {
					t.Errorf("error %v", err)
				}
				wantNothing(t, server)
			})
		}
	}
}

// TestOneCloudManyBakes has several Bakes at once share a Cloud; one of them is
// cancelled, and one fails: the others do not notice.
func TestOneCloudManyBakes(t *testing.T) {
	server := roleServer(t, nil)
	cloud := newCloud(server)
	canceled, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			ctx, want := t.Context(), bake.StatusBaked
			images := fleet(cloud, 5)
			for _, img := range images {
				step := bake.Step{Name: "now", At: bake.BeforeCapture, Do: func(context.Context) error { return nil }}
				switch i {
				case 0:
					step.Do = func(context.Context) error { cancel(); return nil }
				case 1:
					step.Do = func(context.Context) error { return errors.New("planted") }
				}
				img.Steps = []bake.Step{step}
			}
			switch i {
			case 0:
				ctx, want = canceled, bake.StatusCanceled
			case 1:
				want = bake.StatusFailed
			}
			results, err := bake.Bake(ctx, fast(), images...)
			for _, r := range results {
				if r.Status != want {
					t.Errorf("%s is %s, want %s: %v", r.Image.Name, r.Status, want, err)
				}
				if r.Artifact != nil {
					if err := r.Artifact.Destroy(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	wantNothing(t, server)
}
