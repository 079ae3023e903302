package ec2_test

import (
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// encryptByDefault makes the owner of a place of AMI.IDs encrypt all new volumes there
// with a key. An empty key means the AWS managed one.
func encryptByDefault(t *testing.T, server *ec2test.Server, place, key string) {
	t.Helper()
	client := awsec2.NewFromConfig(owner(server, place))
	if _, err := client.EnableEbsEncryptionByDefault(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if key == "" {
		return
	}
	if _, err := client.ModifyEbsDefaultKmsKeyId(t.Context(), &awsec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: aws.String(key)}); err != nil {
		t.Fatal(err)
	}
}

// TestEncryptionPreventsSharing bakes and plans images whose encryption prevents
// sharing them as they are to be, and some that may be shared.
func TestEncryptionPreventsSharing(t *testing.T) {
	const (
		managed  = "the AMI would be encrypted with EBS's AWS managed key"
		rootKey  = "Builder.BlockDevices[].KMSKey: " + managed
		home     = testRegion + ": "
		prod     = prodAccount + "/" + testRegion
		noPublic = ", and encrypted images cannot be public"
	)
	encrypted := []ec2.BlockDevice{{Encrypted: ec2.Enabled}}
	accounts := ec2.Distribution{LaunchPermissions: ec2.Permissions{Accounts: []string{friend}}}
	copied := func(copies ...ec2.Copy) ec2.Distribution {
		d := accounts
		d.Copies = copies
		return d
	}
	for name, test := range map[string]struct {
		prepare func(*testing.T, *ec2test.Server)
		disks   []ec2.BlockDevice
		share   ec2.Distribution
		want    []string // none if the AMI is baked
	}{
		"accounts":          {disks: encrypted, share: accounts, want: []string{home + rootKey}},
		"organization":      {disks: encrypted, share: ec2.Distribution{LaunchPermissions: ec2.Permissions{Organizations: []string{orgARN}}}, want: []string{home + rootKey}},
		"unit":              {disks: encrypted, share: ec2.Distribution{LaunchPermissions: ec2.Permissions{OrganizationalUnits: []string{unitARN}}}, want: []string{home + rootKey}},
		"snapshots":         {disks: encrypted, share: ec2.Distribution{SnapshotPermissions: ec2.Permissions{Accounts: []string{friend}}}, want: []string{home + rootKey}},
		"public":            {disks: encrypted, share: ec2.Distribution{LaunchPermissions: ec2.Permissions{Public: true}}, want: []string{home + "Builder.Distribute.LaunchPermissions.Public: the AMI would be encrypted" + noPublic}},
		"public snapshots":  {disks: encrypted, share: ec2.Distribution{SnapshotPermissions: ec2.Permissions{Public: true}}, want: []string{home + "Builder.Distribute.SnapshotPermissions.Public: the AMI would be encrypted" + noPublic}},
		"public with a key": {disks: []ec2.BlockDevice{{KMSKey: "alias/images"}}, share: ec2.Distribution{LaunchPermissions: ec2.Permissions{Public: true}}, want: []string{home + "Builder.Distribute.LaunchPermissions.Public: the AMI would be encrypted" + noPublic}},
		"managed alias":     {disks: []ec2.BlockDevice{{KMSKey: "alias/aws/ebs"}}, share: accounts, want: []string{home + rootKey}},
		"second volume": {
			disks: []ec2.BlockDevice{{KMSKey: "alias/images"}, {Device: "/dev/sdf", SizeGiB: 1, Encrypted: ec2.Enabled}, {Device: "/dev/sdg", SizeGiB: 1, KMSKey: "alias/aws/ebs"}}, share: accounts,
			want: []string{home + "Builder.BlockDevices[/dev/sdf].KMSKey: " + managed, home + "Builder.BlockDevices[/dev/sdg].KMSKey: " + managed},
		},
		"by default": {
			prepare: func(t *testing.T, s *ec2test.Server) { t.Helper(); encryptByDefault(t, s, testRegion, "") },
			share:   accounts, want: []string{home + rootKey},
		},
		"by default, of one volume": {
			prepare: func(t *testing.T, s *ec2test.Server) { t.Helper(); encryptByDefault(t, s, testRegion, "") },
			disks:   []ec2.BlockDevice{{KMSKey: "alias/images"}, {Device: "/dev/sdf", SizeGiB: 1, Encrypted: ec2.Disabled}},
			share:   accounts, want: []string{home + "Builder.BlockDevices[/dev/sdf].KMSKey: " + managed},
		},
		"by default with a key": {
			prepare: func(t *testing.T, s *ec2test.Server) { t.Helper(); encryptByDefault(t, s, testRegion, "alias/images") },
			share:   accounts,
		},
		"key":                   {disks: []ec2.BlockDevice{{KMSKey: "alias/images"}}, share: accounts},
		"encrypted, not shared": {disks: encrypted, share: ec2.Distribution{Copies: ec2.CopyTo("us-east-1")}},
		"copy":                  {share: copied(ec2.Copy{Region: "us-west-2"}, ec2.Copy{Region: "us-east-1", Encrypted: ec2.Enabled}), want: []string{"us-east-1: Builder.Distribute.Copies[1].KMSKey: " + managed}},
		"copy with managed key": {share: copied(ec2.Copy{Region: "us-east-1", KMSKey: "alias/aws/ebs"}), want: []string{"us-east-1: Builder.Distribute.Copies[0].KMSKey: " + managed}},
		"copy of encrypted":     {disks: []ec2.BlockDevice{{KMSKey: "alias/images"}}, share: copied(ec2.Copy{Region: "us-east-1"}), want: []string{"us-east-1: Builder.Distribute.Copies[0].KMSKey: " + managed}},
		"copies with keys":      {disks: []ec2.BlockDevice{{KMSKey: "alias/images"}}, share: copied(ec2.Copy{Region: "us-west-2", KMSKey: "alias/west"})},
		"copy by default": {
			prepare: func(t *testing.T, s *ec2test.Server) { t.Helper(); encryptByDefault(t, s, "us-east-1", "") },
			share:   copied(ec2.Copy{Region: testRegion}, ec2.Copy{Region: "us-east-1"}), want: []string{"us-east-1: Builder.Distribute.Copies[1].KMSKey: " + managed},
		},
		"only copies": {
			disks: encrypted, share: ec2.Distribution{LaunchPermissions: accounts.LaunchPermissions, OnlyCopies: true, Copies: []ec2.Copy{{Region: "us-west-2", KMSKey: "alias/west"}}},
		},
		"copied by another account": {disks: encrypted, share: ec2.Distribution{Copies: []ec2.Copy{{Region: testRegion}}}, want: []string{home + rootKey}}, // see below
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := roleServer(t, nil)
				if test.prepare != nil {
					test.prepare(t, server)
				}
				allowPublic(t, server, testRegion)
				cloud := newCloud(server)
				img := configure(simple(cloud), func(b *ec2.Builder) { b.BlockDevices, b.Distribute = test.disks, test.share })
				if name == "copied by another account" {
					setDistribution(img, func(d *ec2.Distribution) { d.Copies[0].Cloud = cloud.Assume(ec2.Role{ARN: prodRole}) })
				}
				_, planErr := ec2.Plan(t.Context(), img)
				results, err := bake.Bake(t.Context(), nil, img)
				if len(test.want) == 0 {
					if err != nil || planErr != nil {
						t.Fatalf("Bake() error = %v, Plan() error = %v, want none", err, planErr)
					}
					destroy(t, results[0].Artifact)
				}
				for _, want := range test.want {
					wantError(t, "Bake", err, "check destinations: ", want)
					wantError(t, "Plan", planErr, want)
				}
				if len(test.want) > 0 && server.CallCount("CreateSecurityGroup") > 1 { // the dry run of Plan
					t.Errorf("calls of CreateSecurityGroup = %d, want at most 1", server.CallCount("CreateSecurityGroup"))
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}

// TestEncryptedSourcePreventsSharing bakes from the account's own encrypted AMI, whose
// key encrypts the volumes of its instances.
func TestEncryptedSourcePreventsSharing(t *testing.T) {
	for name, test := range map[string]struct {
		source, disk ec2.BlockDevice
		want         string
	}{
		"managed key":       {ec2.BlockDevice{Encrypted: ec2.Enabled}, ec2.BlockDevice{}, "Builder.BlockDevices[].KMSKey: the AMI would be encrypted with EBS's AWS managed key"},
		"size only":         {ec2.BlockDevice{Encrypted: ec2.Enabled}, ec2.BlockDevice{SizeGiB: 20}, "Builder.BlockDevices[].KMSKey: the AMI would be encrypted with EBS's AWS managed key"},
		"key":               {ec2.BlockDevice{KMSKey: "alias/images"}, ec2.BlockDevice{}, ""},
		"key, and encrypt":  {ec2.BlockDevice{KMSKey: "alias/images"}, ec2.BlockDevice{Encrypted: ec2.Enabled}, ""},
		"encrypt by a key":  {ec2.BlockDevice{Encrypted: ec2.Enabled}, ec2.BlockDevice{KMSKey: "alias/images"}, ""},
		"not encrypted yet": {ec2.BlockDevice{}, ec2.BlockDevice{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := roleServer(t, nil)
				cloud := newCloud(server)
				base := configure(simple(cloud), func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{test.source} })
				base.Name = "base"
				results, err := bake.Bake(t.Context(), nil, base)
				if err != nil {
					t.Fatal(err)
				}
				img := configure(simple(cloud), func(b *ec2.Builder) {
					b.Source = ec2.ImageID(results[0].Artifact.ID())
					b.Distribute.LaunchPermissions.Accounts = []string{friend}
					if test.disk != (ec2.BlockDevice{}) {
						b.BlockDevices = []ec2.BlockDevice{test.disk}
					}
				})
				_, planErr := ec2.Plan(t.Context(), img)
				_, err = bake.Bake(t.Context(), nil, img)
				if test.want == "" {
					if err != nil || planErr != nil {
						t.Errorf("Bake() error = %v, Plan() error = %v, want none", err, planErr)
					}
					return
				}
				wantError(t, "Bake", err, "check destinations: "+testRegion+": "+test.want)
				wantError(t, "Plan", planErr, test.want)
			})
		})
	}
}

// TestEncryptionUnknown checks that a bake that may not look up the account's
// encryption goes on.
func TestEncryptionUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		for _, action := range []string{"GetEbsEncryptionByDefault", "GetEbsDefaultKmsKeyId", "DescribeKey"} {
			server.Fail(ec2test.Fault{Action: action, Code: "AccessDeniedException", Times: -1})
		}
		if _, err := bake.Bake(t.Context(), nil, multiRegion(newCloud(server))); err != nil {
			t.Errorf("Bake() without permission to look up encryption: error = %v", err)
		}
	})
}
