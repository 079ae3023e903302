package ec2_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func TestValidateDistribution(t *testing.T) {
	cloud := ec2.NewCloud(aws.Config{Region: testRegion}, nil)
	prod := cloud.Assume(ec2.Role{ARN: prodRole})
	tests := map[string]struct {
		d    ec2.Distribution
		want string
	}{
		"copy without region":     {ec2.Distribution{Copies: []ec2.Copy{{}}}, "Builder.Distribute.Copies[0].Region: is required"},
		"key of home":             {ec2.Distribution{Copies: []ec2.Copy{{Region: testRegion, KMSKey: "k"}}}, "Builder.Distribute.Copies[0]: the AMI is baked in eu-west-1 and not copied there: set Encrypted and KMSKey in Builder.BlockDevices"},
		"encryption of home":      {ec2.Distribution{Copies: []ec2.Copy{{Region: "us-east-1"}, {Region: testRegion, Cloud: cloud, Encrypted: ec2.Enabled}}}, "Builder.Distribute.Copies[1]: the AMI is baked in eu-west-1"},
		"home twice":              {ec2.Distribution{Copies: []ec2.Copy{{Region: testRegion}, {Region: testRegion, Cloud: cloud}}}, "Builder.Distribute.Copies[1]: copy in eu-west-1 is given twice"},
		"only home":               {ec2.Distribution{OnlyCopies: true, Copies: ec2.CopyTo(testRegion)}, "Builder.Distribute.OnlyCopies: needs Copies in other regions"},
		"only copies and home":    {ec2.Distribution{OnlyCopies: true, Copies: ec2.CopyTo("us-east-1", testRegion)}, "Builder.Distribute.OnlyCopies: would remove the AMI in eu-west-1, which Copies names"},
		"copy twice":              {ec2.Distribution{Copies: []ec2.Copy{{Region: "us-east-1"}, {Region: "us-east-1", Cloud: cloud}}}, "Builder.Distribute.Copies[1]: copy in us-east-1 is given twice"},
		"key, unencrypted":        {ec2.Distribution{Copies: []ec2.Copy{{Region: "us-east-1", KMSKey: "k", Encrypted: ec2.Disabled}}}, "Copies[0].KMSKey: cannot be set when Encrypted is Disabled"},
		"no copies":               {ec2.Distribution{OnlyCopies: true}, "Builder.Distribute.OnlyCopies: needs Copies"},
		"account":                 {ec2.Distribution{LaunchPermissions: ec2.Permissions{Accounts: []string{"prod"}}}, `Builder.Distribute.LaunchPermissions.Accounts: invalid account id "prod"`},
		"organization":            {ec2.Distribution{LaunchPermissions: ec2.Permissions{Organizations: []string{unitARN}}}, "LaunchPermissions.Organizations"},
		"unit":                    {ec2.Distribution{LaunchPermissions: ec2.Permissions{OrganizationalUnits: []string{orgARN}}}, "LaunchPermissions.OrganizationalUnits"},
		"snapshots, organization": {ec2.Distribution{SnapshotPermissions: ec2.Permissions{Organizations: []string{orgARN}}}, "Builder.Distribute.SnapshotPermissions: snapshots cannot be shared with organizations"},
		"two deprecations":        {ec2.Distribution{DeprecateAfter: time.Hour, DeprecateAt: time.Now().Add(time.Hour)}, "Builder.Distribute.DeprecateAt: cannot be set together"},
		"past":                    {ec2.Distribution{DeprecateAt: time.Now().Add(-time.Hour)}, "is in the past"},
		"too far":                 {ec2.Distribution{DeprecateAfter: 11 * 365 * 24 * time.Hour}, "Builder.Distribute.DeprecateAfter: 96360h0m0s is not between"},
		"protection":              {ec2.Distribution{Protection: 7}, "Builder.Distribute.Protection: unknown value 7"},
		"negative":                {ec2.Distribution{Attempts: -1}, "must not be negative"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := bake.Validate(nil, &bake.Image{Name: "valid", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), Distribute: test.d}})
			wantError(t, "Validate", err, test.want)
		})
	}
	valid := ec2.Distribution{Copies: []ec2.Copy{{Region: testRegion, Cloud: prod}, {Region: "us-east-1", Cloud: prod}, {Region: "us-east-1"}}}
	if err := bake.Validate(nil, &bake.Image{Name: "valid", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), Distribute: valid}}); err != nil {
		t.Errorf("Validate() of a valid Distribution: error = %v", err)
	}
}

func TestPublicPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		allowPublic(t, server, testRegion)
		cloud := newCloud(server)
		public := func(d *ec2.Distribution) {
			*d = ec2.Distribution{LaunchPermissions: ec2.Permissions{Public: true}, SnapshotPermissions: ec2.Permissions{Public: true}}
		}
		results, err := bake.Bake(t.Context(), nil, setDistribution(multiRegion(cloud), public))
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		if got := launchPermissions(t, cloud, testRegion, ami.ImageID); !slices.Equal(got, []string{"all"}) {
			t.Errorf("launch permissions = %v, want all", got)
		}
		if got := volumePermissions(t, cloud, testRegion, ami.Snapshots[0]); !slices.Equal(got, []string{"all"}) {
			t.Errorf("snapshot permissions = %v, want all", got)
		}
		destroy(t, ami)
		wantNoLeftovers(t, server)
	})
}

// TestPublicCopies checks that preflight reads the block of public access only
// where the AMI becomes public. If it may not read it, EC2 refuses the change.
func TestPublicCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		allowPublic(t, server, "us-east-1")
		cloud := newCloud(server)
		public := ec2.Distribution{Copies: ec2.CopyTo("us-east-1"), OnlyCopies: true, LaunchPermissions: ec2.Permissions{Public: true}}
		results, err := bake.Bake(t.Context(), nil, setDistribution(multiRegion(cloud), func(d *ec2.Distribution) { *d = public }))
		if err != nil {
			t.Fatal(err)
		}
		if got := launchPermissions(t, cloud, "us-east-1", amiOf(t, results[0]).IDs()["us-east-1"]); !slices.Equal(got, []string{"all"}) {
			t.Errorf("launch permissions of the copy = %v, want all", got)
		}
		if err := amiOf(t, results[0]).Destroy(t.Context()); err != nil {
			t.Error(err)
		}
		server.Fail(ec2test.Fault{Action: "GetImageBlockPublicAccessState", Code: "UnauthorizedOperation", Times: -1})
		public.Copies, public.Attempts = ec2.CopyTo("us-west-2"), 1
		_, err = bake.Bake(t.Context(), nil, setDistribution(multiRegion(cloud), func(d *ec2.Distribution) { *d = public }))
		wantError(t, "Bake", err, "OperationNotPermitted")
		if n := server.CallCount("RunInstances"); n != 2 {
			t.Errorf("calls of RunInstances = %d, want 2", n)
		}
	})
}

func TestEncryptedCopyAndCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		at := time.Now().Add(48 * time.Hour).Truncate(time.Minute)
		img := setDistribution(multiRegion(cloud), func(d *ec2.Distribution) {
			*d = ec2.Distribution{
				Copies: []ec2.Copy{{Region: "us-east-1", Encrypted: ec2.Enabled}}, DeprecateAt: at, Protection: ec2.ProtectedWithCooldown,
			}
		})
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		for region, id := range ami.IDs() {
			image := describe(t, cloud, region, id)
			if got := aws.ToBool(image.BlockDeviceMappings[0].Ebs.Encrypted); got != (region == "us-east-1") {
				t.Errorf("%s: encrypted = %t, want %t", region, got, !got)
			}
			if got, err := time.Parse(time.RFC3339, aws.ToString(image.DeprecationTime)); err != nil || !got.Equal(at) {
				t.Errorf("%s: deprecation time = %s, want %s", region, aws.ToString(image.DeprecationTime), at)
			}
		}
		err = ami.Destroy(t.Context())
		var failed *ec2.CopyError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "deregistration protection") || len(server.Leftovers()) != 4 {
			t.Errorf("Destroy() error = %v, leftovers %v, want a CopyError and both AMIs protected by the cooldown", err, server.Leftovers())
		}
	})
}
