package ec2_test

import (
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

const deadBuild = "20260101t000000-aaaaaaaa"

// leaveDisks leaves a volume and a network interface of a terminated instance.
func leaveDisks(t *testing.T, server *ec2test.Server, cloud *ec2.Cloud) {
	t.Helper()
	tags := []ec2types.Tag{
		{Key: aws.String(ec2.TagBuild), Value: aws.String(deadBuild)},
		{Key: aws.String(ec2.TagExpires), Value: aws.String(time.Now().UTC().Format(time.RFC3339))},
	}
	ami := server.Publish(ec2test.Image{Name: "disks"})[testRegion]
	out, err := cloud.Client("").RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(ami), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.EbsBlockDevice{
			VolumeSize: aws.Int32(1), DeleteOnTermination: aws.Bool(false),
		}}},
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), DeleteOnTermination: aws.Bool(false)}},
		TagSpecifications: []ec2types.TagSpecification{
			{ResourceType: "volume", Tags: tags}, {ResourceType: "network-interface", Tags: tags},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.TerminateInstance(aws.ToString(out.Instances[0].InstanceId)); err != nil {
		t.Fatal(err)
	}
}

// reapCalls are the calls that remove something.
func reapCalls() []string { return append(removals(), "DeleteVolume", "DeleteNetworkInterface") }

// TestReapWithEachCallFailing makes each removal fail: refused, it is named and the rest
// goes; in use or throttled for a while, it is repeated. The next run removes what is
// left.
func TestReapWithEachCallFailing(t *testing.T) {
	inUse := map[string]string{
		"DeleteSecurityGroup": "DependencyViolation", "DeleteVolume": "VolumeInUse", "DeleteNetworkInterface": "InvalidNetworkInterface.InUse",
		"DeleteSnapshot": "InvalidSnapshot.InUse", "DeleteRole": "DeleteConflict", "DeleteInstanceProfile": "DeleteConflict",
	}
	for i, action := range reapCalls() {
		faults := map[string]ec2test.Fault{
			"refused":   {Code: "UnauthorizedOperation", Times: -1},
			"throttled": {Code: "RequestLimitExceeded", Times: 3},
			"in use":    {Code: inUse[action], Times: 2},
			"lost":      {When: ec2test.After},
		}
		for j, name := range slices.Sorted(maps.Keys(faults)) {
			fault := faults[name]
			if name == "in use" && fault.Code == "" || !chosen(i+j, 2) {
				continue
			}
			t.Run(action+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server, advance := reapServer(t)
					cloud := newCloud(server)
					abandon(t, server, failingCheck(cloud), profiled2(cloud))
					leaveDisks(t, server, cloud)
					advance(24 * time.Hour)
					fault.Action = action
					server.Fail(fault)
					r := &ec2.Reaper{Clouds: []*ec2.Cloud{newCloud(server)}}
					result, err := r.Reap(t.Context())
					if name != "refused" {
						if err != nil || len(result.Removed) == 0 {
							t.Errorf("Reap() = %v, %v, want success", result, err)
						}
						wantNoLeftovers(t, server)
						return
					}
					reapErr, ok := errors.AsType[*ec2.ReapError](err)
					if !ok || awsapi.Code(err) != "UnauthorizedOperation" || !strings.Contains(err.Error(), action) || !strings.Contains(err.Error(), reapErr.Leftover.ID) {
						t.Errorf("Reap() error = %v, want a ReapError that names the resource and %s", err, action)
					}
					if len(result.Removed) == 0 {
						t.Error("Reap() removed nothing, want all others to be removed")
					}
					server.Mend()
					if _, err := r.Reap(t.Context()); err != nil {
						t.Errorf("second Reap() error = %v", err)
					}
					wantNoLeftovers(t, server)
				})
			})
		}
	}
}

// TestReapUnreadPlaces plans while one region and one account cannot be read.
func TestReapUnreadPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, advance := reapServer(t)
		cloud := newCloud(server)
		deadBuilds(t, server, cloud)
		advance(24 * time.Hour)
		server.Fail(ec2test.Fault{Action: "DescribeTags", Region: "us-east-1", Account: mainAccount, Code: "UnauthorizedOperation", Times: -1})
		server.Fail(ec2test.Fault{Action: "AssumeRole", Code: "AccessDenied", Times: -1})
		r := reaper(cloud)
		result, err := r.Reap(t.Context())
		wantError(t, "Reap", err, mainAccount+"/us-east-1: ", "Reaper.Clouds[1]: identify the account")
		if len(result.Removed) == 0 {
			t.Error("Reap() removed nothing, want the other places to be cleaned")
		}
		server.Mend()
		if _, err := r.Reap(t.Context()); err != nil {
			t.Errorf("Reap() error = %v", err)
		}
		wantNoLeftovers(t, server)
		for name, r := range map[string]*ec2.Reaper{
			"Reaper.Clouds": {}, "Reaper.Regions": {Clouds: r.Clouds, Regions: []string{""}}, "Reaper.Grace": {Clouds: r.Clouds, Grace: -1},
		} {
			_, err := r.Plan(t.Context())
			wantError(t, "Plan", err, name)
		}
	})
}

// TestReapPolicy compares the policies with the calls of a plan and of its application.
func TestReapPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, advance := reapServer(t)
		cloud := newCloud(server)
		abandon(t, server, failingCheck(cloud), profiled2(cloud))
		leaveDisks(t, server, cloud)
		advance(24 * time.Hour)
		r := &ec2.Reaper{Clouds: []*ec2.Cloud{cloud}}
		decodes := func(action string) bool { return action == "sts:DecodeAuthorizationMessage" } // only if a call is denied
		check := func(call string, before int, policy []string) {
			t.Helper()
			want := actionsOf(server.Calls()[before:], mainAccount)
			if diff := cmp.Diff(want, slices.DeleteFunc(policy, decodes)); diff != "" {
				t.Errorf("%s (-calls +policy):\n%s", call, diff)
			}
		}
		before := len(server.Calls())
		plan, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		check("Plan", before, r.PlanPolicy().Actions())
		if _, err := r.Apply(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		check("Plan and Apply", before, r.IAMPolicy().Actions())
		wantNoLeftovers(t, server)
		for _, s := range r.IAMPolicy().Statement {
			for _, action := range s.Action {
				removes := strings.HasPrefix(action, "ec2:D") && !strings.HasPrefix(action, "ec2:Describe") || action == "ec2:TerminateInstances"
				if got := s.Condition["StringLike"]["aws:ResourceTag/"+ec2.TagExpires] != nil; got != removes {
					t.Errorf("%s requires the expiry tag: %t, want %t", action, got, removes)
				}
			}
		}
	})
}

// TestReapAfterKill kills a process that bakes, loses its records, and reaps.
func TestReapAfterKill(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("machines have separate addresses on Linux only")
	}
	for _, at := range []string{"provision", "check"} {
		t.Run(at, func(t *testing.T) {
			by := new(atomic.Int64)
			server := newServer(t, &ec2test.Options{Clock: offsetClock{clock.System(), by}, Listen: true, Port: killedPort})
			killWhenReady(t, at, killedEndpoint+"="+server.URL(), killedStore+"="+t.TempDir(), killedAt+"="+at)
			if len(server.Leftovers()) == 0 {
				t.Fatal("Leftovers() = none, want those of the killed process")
			}
			by.Add(int64(24 * time.Hour))
			r := &ec2.Reaper{Clouds: []*ec2.Cloud{newCloud(server)}}
			result, err := r.Reap(t.Context())
			if err != nil || len(result.Kept) > 0 {
				t.Errorf("Reap() = %v, %v, want everything removed", result, err)
			}
			wantNoLeftovers(t, server)
		})
	}
}
