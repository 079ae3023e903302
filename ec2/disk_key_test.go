package ec2_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// keyOf returns the key that encrypts the snapshot of an AMI, or "".
func keyOf(t *testing.T, cloud *ec2.Cloud, id string) string {
	t.Helper()
	snapshot := describeImage(t, cloud, id).BlockDeviceMappings[0].Ebs.SnapshotId
	out, err := cloud.Client("").DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{aws.ToString(snapshot)}})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Snapshots[0].KmsKeyId)
}

// TestDiskKeys encrypts with keys of this account and another one.
func TestDiskKeys(t *testing.T) {
	const other = "210987654321"
	path := writeDisk(t, randomDisk(16*mib))
	for _, test := range []struct {
		name                            string
		account                         string
		shared, disabled, disabledLater bool
		defaultKey                      bool // of the account, instead of Disk.KMSKey
		want                            string
	}{
		{name: "own", account: "123456789012"},
		{name: "shared", account: other, shared: true},
		{name: "not shared", account: other, want: "Disk.KMSKey: EBS cannot use arn:"},
		{name: "disabled", account: other, shared: true, disabled: true, want: "Disk.KMSKey"},
		{name: "disabled during the upload", account: other, shared: true, disabledLater: true, want: "disabled"},
		{name: "default", account: other, shared: true, defaultKey: true},
		{name: "default not shared", account: other, defaultKey: true, want: "default key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				key := server.AddKeyFor(test.account, testRegion, "alias/disks")
				if test.shared {
					if err := server.ShareKey(key, "123456789012"); err != nil {
						t.Fatal(err)
					}
				}
				disable := func() {
					if err := server.DisableKey(key); err != nil {
						t.Error(err)
					}
				}
				if test.disabled {
					disable()
				}
				var once sync.Once
				cloud, sent := watchedCloud(server, func(req *http.Request) error {
					if isPut(req) && test.disabledLater {
						once.Do(disable)
					}
					return nil
				})
				disk := ec2.Disk{File: path, KMSKey: key}
				if test.defaultKey {
					disk.KMSKey = ""
					encryptByDefault(t, server, testRegion, key)
				}
				results, err := bake.Bake(t.Context(), nil, diskImage(cloud, disk))
				if test.want != "" {
					if err == nil || !strings.Contains(err.Error(), test.want) {
						t.Errorf("Bake = %v, want an error with %q", err, test.want)
					}
					if n := sent.puts.Load(); n > 0 || len(server.Leftovers()) > 0 {
						t.Errorf("%d blocks were sent, and %q are left", n, server.Leftovers())
					}
					return
				}
				if err != nil {
					t.Fatalf("Bake: %v", err)
				}
				if got := keyOf(t, cloud, results[0].Artifact.ID()); got != key {
					t.Errorf("the snapshot is encrypted with %q, want %q", got, key)
				}
			})
		})
	}
}

// TestDiskEncryptedByDefault turns encryption by default on between two versions: the
// second one is sent whole, since its parent is not encrypted, and the third as a change.
func TestDiskEncryptedByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud, sent := watchedCloud(server, nil)
		in := ec2.Disk{File: writeDisk(t, randomDisk(16*mib)), BlockSums: t.TempDir()}
		key := server.AddKey(testRegion, "alias/disks")
		for _, version := range []struct {
			key   string
			whole bool
		}{{"", true}, {key, true}, {key, false}} {
			if version.key != "" {
				encryptByDefault(t, server, testRegion, key)
			}
			before := sent.puts.Load()
			results, err := bake.Bake(t.Context(), nil, diskImage(cloud, in))
			if err != nil {
				t.Fatalf("Bake: %v", err)
			}
			if got := keyOf(t, cloud, results[0].Artifact.ID()); got != version.key {
				t.Errorf("the snapshot is encrypted with %q, want %q", got, version.key)
			}
			if n := sent.puts.Load() - before; (n > 0) != version.whole {
				t.Errorf("%d blocks were sent, want all: %t", n, version.whole)
			}
		}
		in.Encrypted = ec2.Disabled
		before := sent.puts.Load()
		_, err := bake.Bake(t.Context(), nil, diskImage(cloud, in))
		wantError(t, "Bake with Encrypted: Disabled", err, "Disk.Encrypted: is Disabled")
		if n := sent.puts.Load() - before; n > 0 {
			t.Errorf("%d blocks were sent", n)
		}
	})
}

// TestDiskKeyShared bakes encrypted disks for other accounts, which cannot use the AWS
// managed key.
func TestDiskKeyShared(t *testing.T) {
	path := writeDisk(t, randomDisk(16*mib))
	for name, test := range map[string]struct {
		encrypted ec2.Setting
		withKey   bool
		byDefault bool
		want      string
	}{
		"managed key":            {encrypted: ec2.Enabled, want: "Disk.KMSKey: the AMI would be encrypted with EBS's AWS managed key"},
		"managed key by default": {byDefault: true, want: "Disk.KMSKey: the AMI would be encrypted with EBS's AWS managed key"},
		"key":                    {withKey: true},
		"key, others by default": {withKey: true, byDefault: true},
		"not encrypted":          {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud, sent := watchedCloud(server, nil)
				disk := ec2.Disk{File: path, Encrypted: test.encrypted}
				if test.withKey {
					disk.KMSKey = server.AddKey(testRegion, "alias/disks")
				}
				if test.byDefault {
					encryptByDefault(t, server, testRegion, "")
				}
				img := configure(diskImage(cloud, disk), func(b *ec2.Builder) { b.Distribute.LaunchPermissions.Accounts = []string{friend} })
				_, err := bake.Bake(t.Context(), nil, img)
				if test.want == "" {
					if err != nil {
						t.Errorf("Bake: %v", err)
					}
					return
				}
				wantError(t, "Bake", err, test.want)
				if n := sent.puts.Load(); n > 0 {
					t.Errorf("%d blocks were sent", n)
				}
			})
		})
	}
}
