package ec2_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestResumeInstanceGone resumes a build whose instance has ended since its process
// died. It fails within a minute, and leaves nothing, rather than dialing until
// SSH.ConnectTimeout.
func TestResumeInstanceGone(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(t *testing.T, server *ec2test.Server, cloud *ec2.Cloud, id string)
		want string
	}{
		"terminated": {func(t *testing.T, _ *ec2test.Server, cloud *ec2.Cloud, id string) {
			t.Helper()
			if _, err := cloud.Client("").TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}, "is terminated"},
		"ended by a fault of EC2": {func(t *testing.T, server *ec2test.Server, _ *ec2.Cloud, id string) {
			t.Helper()
			if err := server.TerminateInstance(id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}, "died"}, // launched again
		"stopped": {func(t *testing.T, _ *ec2test.Server, cloud *ec2.Cloud, id string) {
			t.Helper()
			if _, err := cloud.Client("").StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}, "is stopped"},
		"forgotten by EC2": {func(t *testing.T, server *ec2test.Server, _ *ec2.Cloud, id string) {
			t.Helper()
			if err := server.TerminateInstance(id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Hour)
		}, "is terminated: EC2 has not shown it"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, cloud := realistic(ec2test.Options{})
				defer server.Close()
				store := &frozenStore{begun: "provision 1: dies"}
				img := &bake.Image{Name: "gone", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu()}, Provisioners: []bake.Provisioner{
					bake.ProvisionFunc{Name: "dies", Do: func(context.Context, bake.Machine) error { return errors.New("died") }},
				}}
				results, err := bake.Bake(t.Context(), &bake.Options{Store: store, OnFailure: bake.KeepMachine}, img)
				if err == nil || results[0].Kept == nil {
					t.Fatalf("Bake() = %v, want a kept machine", err)
				}
				test.end(t, server, cloud, results[0].Kept.Machine)
				began := time.Now()
				var connected time.Time // or failed to, for the first time
				_, err = bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{store.load(t)}, Observe: func(e bake.Event) {
					if e.Kind == bake.StepFinished && e.Step == "connect" && connected.IsZero() {
						connected = e.Time
					}
				}}, img)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("Bake() resumed = %v, want an error that says %q", err, test.want)
				}
				if took := connected.Sub(began); took < 0 || took > time.Minute {
					t.Errorf("connect failed after %v, want at most a minute", took)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}
