package ec2_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// encrypted returns the image of multiRegion, encrypted with keys of the accounts.
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

// denyDescribeKey returns a fault that hides keys from preflight checks, so that
// a bake fails only where EC2 uses a key.
func denyDescribeKey() ec2test.Fault {
	return ec2test.Fault{Action: "DescribeKey", Code: "AccessDeniedException", Times: -1}
}

// TestCopyWithUnusableKey checks that an unusable key fails only the copy that
// needs it, with an error that names the place and the key.
func TestCopyWithUnusableKey(t *testing.T) {
	const west, prod = "us-west-2", prodAccount + "/" + testRegion
	for name, test := range map[string]struct {
		spoil func(t *testing.T, server *ec2test.Server, d *ec2.Distribution, images string)
		place string
		want  []string // in the error, besides the place
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
			synctest.Test(t, func(t *testing.T) {
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
				results, err := bake.Bake(t.Context(), nil, img)
				var failed *ec2.DistributionError
				if !errors.As(err, &failed) || len(failed.Failed) != 1 {
					t.Fatalf("Bake() error = %v, want a DistributionError with one place", err)
				}
				for _, want := range append(test.want, test.place+": ", images) {
					if !strings.Contains(failed.Failed[0].Error(), want) {
						t.Errorf("Failed[0] = %v, want one that contains %q", failed.Failed[0], want)
					}
				}
				good := map[string]bool{testRegion: true, "us-east-1": true, west: true, prod: true}
				delete(good, test.place)
				if got, want := placesOf(results[0].Artifact), slices.Sorted(maps.Keys(good)); !slices.Equal(got, want) {
					t.Errorf("places of the AMI = %v, want %v", got, want)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestCopyWithManagedKey encrypts with AWS's managed key, which other accounts cannot
// use. The preflight checks may not look it up.
func TestCopyWithManagedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		server.Fail(ec2test.Fault{Action: "GetEbsDefaultKmsKeyId", Code: "UnauthorizedOperation", Times: -1})
		server.AddKey("us-east-1", "alias/east")
		img := encrypted(newCloud(server))
		configure(img, func(b *ec2.Builder) {
			b.BlockDevices = []ec2.BlockDevice{{Encrypted: ec2.Enabled}}
			b.Distribute.LaunchPermissions, b.Distribute.SnapshotPermissions = ec2.Permissions{}, ec2.Permissions{}
		})
		results, err := bake.Bake(t.Context(), nil, img)
		var failed *ec2.DistributionError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || !strings.Contains(err.Error(), prodAccount+"/"+testRegion+": ") ||
			!strings.Contains(err.Error(), "AWS Managed CMK can't be shared") {
			t.Fatalf("Bake() error = %v, want one that the managed key cannot be shared", err)
		}
		destroy(t, results[0].Artifact)
		wantNoLeftovers(t, server)
	})
}

// TestLaunchWithUnknownKey checks that a launch error names the keys of the volumes.
func TestLaunchWithUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		server.Fail(denyDescribeKey())
		img := simple(newCloud(server))
		img.Builder = ec2.Builder{Cloud: newCloud(server), Source: ubuntu(), BlockDevices: []ec2.BlockDevice{{KMSKey: "alias/none"}}}
		_, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, "Client error on launch; requires KMS key alias/none")
		wantNoLeftovers(t, server)
	})
}

// TestPolicyOfCopyNeedsSourceKey checks that the account of a copy may use the key that encrypts the AMI.
func TestPolicyOfCopyNeedsSourceKey(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	img := encrypted(cloud)
	const key = "arn:aws:kms:eu-west-1:123456789012:key/source"
	configure(img, func(b *ec2.Builder) { b.BlockDevices[0].KMSKey = key })
	doc := ec2.Policy(cloudsOf(cloud, img)[prodAccount], img)
	if !slices.ContainsFunc(doc.Statement, func(s iampolicy.Statement) bool {
		return slices.Contains(s.Action, "kms:ReEncryptFrom") && slices.Contains(s.Resource, key)
	}) {
		t.Errorf("Policy() does not allow kms:ReEncryptFrom on %s:\n%s", key, doc)
	}
}
