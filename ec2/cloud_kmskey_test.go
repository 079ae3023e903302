package ec2_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// encrypted is the image of spread, encrypted with a key of the account.
func encrypted(cloud *ec2.Cloud) *bake.Image {
	img := multiRegion(cloud)
	b, _ := img.Builder.(ec2.Builder)
	b.BlockDevices = []ec2.BlockDevice{{KMSKey: "alias/images"}}
	for i, key := range []string{"alias/east", "alias/west", "alias/prod"} {
		b.Distribute.Copies[i].KMSKey = key
	}
	img.Builder = b
	return img
}

// denyDescribeKey is a fault for credentials that may not look at keys, so that a
// bake finds out only when EC2 uses them.
func denyDescribeKey() ec2test.Fault {
	return ec2test.Fault{Action: "DescribeKey", Code: "AccessDeniedException", Times: -1}
}

// A key that cannot be used fails the copy that needs it and not the others,
// and the error names the place and the key.
func TestCopyWithUnusableKey(t *testing.T) {
	const west, prod = "us-west-2", prodAccount + "/" + testRegion
	for name, test := range map[string]struct {
		spoil func(t *testing.T, server *ec2test.Server, d *ec2.Distribution, images string)
		place string
		want  []string // in the error, beside the place
	}{
		"unknown": {
			func(_ *testing.T, _ *ec2test.Server, d *ec2.Distribution, _ string) {
				d.Copies[1].KMSKey = "alias/none"
			},
			west, []string{"Given key ID is not accessible", "alias/none"},
		},
		"of another region": {
			func(_ *testing.T, _ *ec2test.Server, d *ec2.Distribution, images string) { d.Copies[1].KMSKey = images },
			west, []string{"Given key ID is not accessible"},
		},
		"disabled": {
			func(t *testing.T, server *ec2test.Server, d *ec2.Distribution, _ string) {
				t.Helper()
				d.Copies[1].KMSKey = server.AddKey(west, "alias/disabled")
				if err := server.DisableKey(d.Copies[1].KMSKey); err != nil {
					t.Fatal(err)
				}
			},
			west, []string{" is disabled"},
		},
		"of another account": {
			func(_ *testing.T, _ *ec2test.Server, d *ec2.Distribution, _ string) {
				d.Copies[2].KMSKey = "alias/images"
			},
			prod, []string{"Given key ID is not accessible", "alias/images"},
		},
		"of the AMI, not shared": {
			func(*testing.T, *ec2test.Server, *ec2.Distribution, string) {},
			prod, []string{"Given key ID is not accessible", "alias/prod"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, nil)
			server.Fail(denyDescribeKey())
			images := server.AddKey(testRegion, "alias/images")
			server.AddKey("us-east-1", "alias/east")
			server.AddKey(west, "alias/west")
			server.AddKeyFor(prodAccount, testRegion, "alias/prod")
			server.AddRole(ec2test.Role{ARN: prodRole})
			if !strings.HasPrefix(name, "of the AMI") {
				if err := server.ShareKey(images, prodAccount); err != nil {
					t.Fatal(err)
				}
			}
			cloud := newCloud(server)
			img := setDistribution(encrypted(cloud), func(d *ec2.Distribution) { test.spoil(t, server, d, images) })
			results, err := bake.Bake(t.Context(), fastOptions(), img)
			var failed *ec2.DistributionError
			if !errors.As(err, &failed) || len(failed.Failed) != 1 {
				t.Fatalf("error %v, want one place that failed", err)
			}
			for _, want := range append(test.want, test.place+": ", images) {
				if !strings.Contains(failed.Failed[0].Error(), want) {
					t.Errorf("error %v, want %q in it", failed.Failed[0], want)
				}
			}
			good := map[string]bool{testRegion: true, "us-east-1": true, west: true, prod: true}
			delete(good, test.place)
			if got, want := slices.Sorted(maps.Keys(results[0].Artifact.IDs())), slices.Sorted(maps.Keys(good)); !slices.Equal(got, want) {
				t.Errorf("places %v, want %v", got, want)
			}
			if err := results[0].Artifact.Destroy(t.Context()); err != nil {
				t.Error(err)
			}
			wantNoLeftovers(t, server)
		})
	}
}

// What is encrypted with AWS's own key cannot be given to another account.
func TestCopyWithManagedKey(t *testing.T) {
	server := roleServer(t, nil)
	server.AddKey("us-east-1", "alias/east")
	img := encrypted(newCloud(server))
	b, _ := img.Builder.(ec2.Builder)
	b.BlockDevices = []ec2.BlockDevice{{Encrypted: ec2.Enabled}}
	b.Distribute.LaunchPermissions, b.Distribute.SnapshotPermissions = ec2.Permissions{}, ec2.Permissions{}
	img.Builder = b
	results, err := bake.Bake(t.Context(), fastOptions(), img)
	var failed *ec2.DistributionError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || !strings.Contains(err.Error(), prodAccount+"/"+testRegion+": ") ||
		!strings.Contains(err.Error(), "AWS Managed CMK can't be shared") {
		t.Fatalf("error %v, want that the snapshots cannot be shared", err)
	}
	if err := results[0].Artifact.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	wantNoLeftovers(t, server)
}

// The launch names the keys of its volumes when it cannot use one.
func TestLaunchWithUnknownKey(t *testing.T) {
	server := newServer(t, nil)
	server.Fail(denyDescribeKey())
	img := simple(newCloud(server))
	img.Builder = ec2.Builder{Cloud: newCloud(server), Source: ubuntu(), BlockDevices: []ec2.BlockDevice{{KMSKey: "alias/none"}}}
	_, err := bake.Bake(t.Context(), fastOptions(), img)
	if err == nil || !strings.Contains(err.Error(), "Client error on launch; it needs the KMS key alias/none") {
		t.Errorf("error %v, want that the key is named", err)
	}
	wantNoLeftovers(t, server)
}

// An account that fetches a copy reads what the AMI is encrypted with.
func TestPolicyOfCopyNeedsSourceKey(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	img := encrypted(cloud)
	b, _ := img.Builder.(ec2.Builder)
	b.BlockDevices[0].KMSKey = "arn:aws:kms:eu-west-1:123456789012:key/source"
	img.Builder = b
	doc := ec2.Policy(b.Distribute.Copies[2].Cloud, img)
	if !slices.ContainsFunc(doc.Statement, func(s iampolicy.Statement) bool {
		return slices.Contains(s.Action, "kms:ReEncryptFrom") && slices.Contains(s.Resource, b.BlockDevices[0].KMSKey)
	}) {
		t.Errorf("the policy has no right to the key of the AMI:\n%s", doc)
	}
}
