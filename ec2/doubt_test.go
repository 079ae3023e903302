package ec2_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// What is refused after an attempt whose answer was lost may have been done: by
// then the credentials had expired, say.
func TestLostThenRefused(t *testing.T) {
	profiled := func(cloud *ec2.Cloud) *bake.Image {
		img := spread(cloud)
		b, _ := img.Builder.(ec2.Builder)
		b.InstanceProfilePolicy = readBucket
		img.Builder = b
		return img
	}
	snaps := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, ec2.Capture{FromSnapshots: true}) }
	for action, define := range map[string]func(*ec2.Cloud) *bake.Image{
		"RunInstances": simple, "CreateImage": simple, "CreateSecurityGroup": simple, "CopyImage": profiled,
		"CreateRole": profiled, "CreateInstanceProfile": profiled, "CreateSnapshots": snaps, "RegisterImage": snaps,
	} {
		t.Run(action, func(t *testing.T) {
			server := roleServer(t, nil)
			server.Fail(ec2test.Fault{Action: action, When: ec2test.After})
			server.Fail(ec2test.Fault{Action: action, Code: "UnauthorizedOperation", Times: -1})
			wantCleanEndOf(t.Context(), t, server, quick(server), define)
		})
	}
}
