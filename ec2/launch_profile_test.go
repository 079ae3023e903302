package ec2_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const readBucket = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::packages/*"}]}`

func TestInstanceProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
				t.Errorf("instance profile of %q = %+v, want %s", profile, seen.IamInstanceProfile, arn)
			}
		}
		// If the preflight check is denied, the launch fails.
		server.Fail(ec2test.Fault{Action: "GetInstanceProfile", Code: "AccessDenied", Times: -1})
		b := ec2.Builder{Cloud: cloud, Source: ubuntu(), InstanceProfile: "nobody"}
		_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "profiled", Builder: b})
		wantError(t, "Bake", err, "Invalid IAM Instance Profile name")
	})
}

// profiled returns an image that needs a temporary profile.
func profiled(cloud *ec2.Cloud) *bake.Image {
	return &bake.Image{Name: "simple", Tags: map[string]string{"team": "web"}, Builder: ec2.Builder{
		Cloud: cloud, Source: ubuntu(), InstanceProfilePolicy: readBucket,
	}}
}

// TestTemporaryProfile bakes where IAM's changes take effect after three seconds.
func TestTemporaryProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, &ec2test.Options{Consistency: 3 * time.Second})
		cloud := newCloud(server)
		img := profiled(cloud)
		var during []ec2test.Resource
		var seen ec2types.Instance
		img.Steps = []bake.Step{describeMachine(cloud, &seen)}
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.StepStarted && e.Step == "connect" {
				during = resourcesOf(server, "role", "instance-profile")
			}
		}}, img)
		if err != nil {
			t.Fatal(err)
		}
		if len(during) != 2 || seen.IamInstanceProfile == nil || !strings.HasSuffix(*seen.IamInstanceProfile.Arn, "/bakestone-"+results[0].Build) {
			t.Errorf("resources during the bake = %v, profile of the instance = %+v, want a role and the build's profile", during, seen.IamInstanceProfile)
		}
		for _, r := range during {
			if r.Tags["team"] != "web" || r.Tags[ec2.TagExpires] == "" || r.Tags[ec2.TagBuild] != results[0].Build {
				t.Errorf("tags of %s = %v, want the image's and the build's", r, r.Tags)
			}
		}
		if policy := paramsOf(t, server, "PutRolePolicy").Get("PolicyDocument"); policy != readBucket {
			t.Errorf("PutRolePolicy PolicyDocument = %s, want %s", policy, readBucket)
		}
		destroy(t, results[0].Artifact)
		wantNoLeftovers(t, server)
	})
}

// TestUndoTemporaryProfileFromRecord undoes the profile in another process, with
// a record from before the step was done.
func TestUndoTemporaryProfileFromRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		store := &frozenStore{Store: bake.DirStore(t.TempDir()), begun: "create instance profile"}
		options := &bake.Options{Store: store, OnFailure: bake.KeepMachine}
		img := profiled(cloud)
		img.Provisioners = failing(cloud).Provisioners
		results, err := bake.Bake(t.Context(), options, img)
		if err == nil || results[0].Kept == nil {
			t.Fatalf("Bake() = %v, want a kept machine", err)
		}
		if err := server.TerminateInstance(results[0].Kept.Machine); err != nil { // not recorded yet
			t.Fatal(err)
		}
		if err := bake.Undo(t.Context(), nil, img, store.load(t)); err != nil {
			t.Fatal(err)
		}
		if left := resourcesOf(server, "role", "instance-profile"); len(left) > 0 {
			t.Errorf("resources left by Undo() = %v, want none", left)
		}
	})
}

// TestTemporaryProfileWithEachCallFailing breaks each call of the temporary
// profile.
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
				synctest.Test(t, func(t *testing.T) {
					server := newServer(t, nil)
					fault.Action = action
					server.Fail(fault)
					o := cloudOptions(server)
					o.CallTimeout = 200 * time.Millisecond
					results, err := bake.Bake(t.Context(), nil, profiled(ec2.NewCloud(server.Config(testRegion), o)))
					server.Mend()
					if err != nil {
						wantError(t, "Bake", err, "image simple: ")
					}
					destroy(t, results[0].Artifact)
					wantNoLeftovers(t, server)
				})
			})
		}
	}
}
