package ec2_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const readBucket = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::packages/*"}]}`

func TestInstanceProfile(t *testing.T) {
	const arn = "arn:aws:iam::123456789012:instance-profile/baker"
	server := newServer(t, nil)
	server.AddInstanceProfile("baker")
	cloud := newCloud(server)
	for _, profile := range []string{"baker", arn} {
		var seen ec2types.Instance
		b := ec2.Builder{Cloud: cloud, Source: ubuntu(), InstanceProfile: profile}
		if _, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "profiled", Builder: b, Steps: []bake.Step{describeMachine(cloud, &seen)}}); err != nil {
			t.Fatal(err)
		}
		if seen.IamInstanceProfile == nil || *seen.IamInstanceProfile.Arn != arn {
			t.Errorf("%s: the instance has %+v", profile, seen.IamInstanceProfile)
		}
	}
	// The launch finds it out when nothing else may.
	server.Fail(ec2test.Fault{Action: "GetInstanceProfile", Code: "AccessDenied", Times: -1})
	b := ec2.Builder{Cloud: cloud, Source: ubuntu(), InstanceProfile: "nobody"}
	_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "profiled", Builder: b})
	wantError(t, "Bake", err, "Invalid IAM Instance Profile name")
}

// profiled is an image that needs a temporary profile.
func profiled(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{Name: "simple", Tags: map[string]string{"team": "web"}, Builder: ec2.Builder{
		Cloud: cloud, Source: ubuntu(), InstanceProfilePolicy: readBucket,
	}}
}

// TestTemporaryProfile bakes where IAM's changes take some seconds to be known.
func TestTemporaryProfile(t *testing.T) {
	clock := clock.Scaled(30)
	server := newServer(t, &ec2test.Options{Clock: clock, Consistency: 3 * time.Second})
	cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{
		Dial: server.Dial, SourceAddress: server.SourceAddress, Clock: clock, CallTimeout: time.Hour, MaxRetryDelay: time.Millisecond,
	})
	img := profiled(cloud)
	var during []ec2test.Resource
	var seen ec2types.Instance
	img.Steps = []bake.Step{describeMachine(cloud, &seen)}
	results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock, Observe: func(e bake.Event) {
		if e.Kind == bake.StepStarted && e.Step == "connect" {
			during = server.Resources(func(r ec2test.Resource) bool { return r.Type == "role" || r.Type == "instance-profile" })
		}
	}}, img)
	if err != nil {
		t.Fatal(err)
	}
	if len(during) != 2 || seen.IamInstanceProfile == nil || !strings.HasSuffix(*seen.IamInstanceProfile.Arn, "/bakestone-"+results[0].Build) {
		t.Errorf("while it baked there was %v, and the instance had %+v", during, seen.IamInstanceProfile)
	}
	for _, r := range during {
		if r.Tags["team"] != "web" || r.Tags[ec2.TagExpires] == "" || r.Tags[ec2.TagBuild] != results[0].Build {
			t.Errorf("tags of %s: %v", r, r.Tags)
		}
	}
	if policy := paramsOf(t, server, "PutRolePolicy").Get("PolicyDocument"); policy != readBucket {
		t.Errorf("the policy is %s", policy)
	}
	destroy(t, results[0].Artifact)
	wantNoLeftovers(t, server)
}

// TestUndoTemporaryProfileFromRecord wants the profile gone in another process,
// also when no more was recorded than that its step had begun.
func TestUndoTemporaryProfileFromRecord(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	store := &crashingStore{Store: bake.DirStore(t.TempDir()), step: "create instance profile"}
	options := &bake.Options{Store: store, OnFailure: bake.KeepMachine}
	img := profiled(cloud)
	img.Provisioners = failing(cloud).Provisioners
	results, err := bake.Bake(t.Context(), options, img)
	if err == nil || results[0].Kept == nil {
		t.Fatalf("no machine was kept: %v", err)
	}
	if err := server.TerminateInstance(results[0].Kept.Machine); err != nil { // which was not launched yet
		t.Fatal(err)
	}
	if err := bake.Undo(t.Context(), nil, img, store.begun); err != nil {
		t.Fatal(err)
	}
	if left := server.Resources(func(r ec2test.Resource) bool { return r.Type == "role" || r.Type == "instance-profile" }); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A crashingStore remembers the record of the moment at which a step had begun.
type crashingStore struct {
	bake.Store

	step  string
	begun *bake.Record
}

func (s *crashingStore) Save(ctx context.Context, r *bake.Record) error {
	if last := r.Steps[len(r.Steps)-1]; s.begun == nil && last.Name == s.step && last.State == bake.StepBegun {
		taken := *r
		taken.Steps = slices.Clone(r.Steps)
		taken.Session = slices.Clone(r.Session)
		s.begun = &taken
	}
	return s.Store.Save(ctx, r)
}

// TestTemporaryProfileWithEachCallFailing breaks each call of the temporary profile: nothing
// of it is left.
func TestTemporaryProfileWithEachCallFailing(t *testing.T) {
	for _, action := range []string{
		"CreateRole", "PutRolePolicy", "CreateInstanceProfile", "AddRoleToInstanceProfile",
		"RemoveRoleFromInstanceProfile", "DeleteInstanceProfile", "DeleteRolePolicy", "DeleteRole",
	} {
		for name, fault := range map[string]ec2test.Fault{
			"refused":  {Code: "AccessDenied"},
			"lost":     {When: ec2test.After, Times: attempts},
			"lost one": {When: ec2test.After},
		} {
			t.Run(fmt.Sprintf("%s %s", action, name), func(t *testing.T) {
				t.Parallel()
				server := newServer(t, nil)
				fault.Action = action
				server.Fail(fault)
				o := cloudOptions(server)
				o.CallTimeout = 200 * time.Millisecond
				results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock.Scaled(60)}, profiled(ec2.NewCloud(server.Config(testRegion), o)))
				server.Mend()
				if err != nil && !strings.Contains(err.Error(), "image simple: ") {
					t.Errorf("the error names no image: %v", err)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		}
	}
}
