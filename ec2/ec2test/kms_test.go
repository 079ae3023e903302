package ec2test_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const inaccessible = "Given key ID is not accessible"

// withKey encrypts the root volume of a launch with a key.
func withKey(key string) func(*awsec2.RunInstancesInput) {
	return disk("/dev/sda1", &ec2types.EbsBlockDevice{Encrypted: aws.Bool(true), KmsKeyId: aws.String(key)})
}

// encrypted creates an image that is encrypted with a key.
func encrypted(t *testing.T, c *awsec2.Client, key string) ec2types.Image {
	t.Helper()
	inst := run(t, c, *ubuntu(t, c).ImageId, withKey(key))
	out := must(c.CreateImage(t.Context(), &awsec2.CreateImageInput{InstanceId: inst.InstanceId, Name: aws.String("encrypted")}))(t)
	return image(t, c, *out.ImageId)
}

func snapshotOf(img ec2types.Image) *string { return img.BlockDeviceMappings[0].Ebs.SnapshotId }

func snapshot(t *testing.T, c *awsec2.Client, id *string) ec2types.Snapshot {
	t.Helper()
	return must(c.DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{SnapshotIds: []string{*id}}))(t).Snapshots[0]
}

// copies copies an image and its snapshot and returns both copies.
func copies(t *testing.T, c *awsec2.Client, img ec2types.Image, name string, key *string) (ec2types.Image, ec2types.Snapshot) {
	t.Helper()
	var on *bool
	if key != nil {
		on = aws.Bool(true)
	}
	i := must(c.CopyImage(t.Context(), &awsec2.CopyImageInput{
		Name: aws.String(name), SourceImageId: img.ImageId, SourceRegion: aws.String(region), Encrypted: on, KmsKeyId: key,
	}))(t)
	s := must(c.CopySnapshot(t.Context(), &awsec2.CopySnapshotInput{
		SourceSnapshotId: snapshotOf(img), SourceRegion: aws.String(region), Encrypted: on, KmsKeyId: key,
	}))(t)
	return image(t, c, *i.ImageId), snapshot(t, c, s.SnapshotId)
}

// shareWithSnapshot allows another account to launch and copy an image.
func shareWithSnapshot(t *testing.T, c *awsec2.Client, img ec2types.Image, account string) {
	t.Helper()
	shareImage(t, c, *img.ImageId, account)
	must(c.ModifySnapshotAttribute(t.Context(), &awsec2.ModifySnapshotAttributeInput{
		SnapshotId: snapshotOf(img), OperationType: "add", Attribute: "createVolumePermission", UserIds: []string{account},
	}))(t)
}

// A call with an unusable key succeeds; the resource it creates fails later.
func TestUnusableKeys(t *testing.T) {
	srv, c := start(t, nil)
	disabled, deleted := srv.AddKey(region, "alias/disabled"), srv.AddKey(region, "alias/deleted")
	if err := srv.DisableKey(disabled); err != nil {
		t.Fatal(err)
	}
	if err := srv.DeleteKey(deleted); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ key, reason, text string }{
		"unknown":                  {"alias/none", "Client.InternalError", inaccessible},
		"another region":           {srv.AddKey("us-west-2", "alias/west"), "Client.InternalError", inaccessible},
		"alias in another region":  {"arn:aws:kms:us-west-2:" + account + ":alias/west", "Client.InternalError", inaccessible},
		"another account":          {srv.AddKeyFor(otherAccount, region, "alias/prod"), "Client.InternalError", inaccessible},
		"AWS's in another account": {"arn:aws:kms:" + region + ":" + otherAccount + ":alias/aws/ebs", "Client.InternalError", inaccessible},
		"AWS's in another region":  {"arn:aws:kms:us-west-2:" + account + ":alias/aws/ebs", "Client.InternalError", inaccessible},
		"not a key":                {"arn:aws:iam::" + account + ":role/images", "Client.InternalError", inaccessible},
		"deleted":                  {deleted, "Client.InternalError", inaccessible},
		"deleted by alias":         {"alias/deleted", "Client.InternalError", inaccessible},
		"disabled":                 {disabled, "Client.InvalidKMSKey.InvalidState", disabled + " is disabled"},
		"disabled by alias":        {"alias/disabled", "Client.InvalidKMSKey.InvalidState", disabled + " is disabled"},
		"disabled by alias ARN":    {"arn:aws:kms:" + region + ":" + account + ":alias/disabled", "Client.InvalidKMSKey.InvalidState", disabled + " is disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, withKey(test.key)).InstanceId)
			if inst.State.Name != "terminated" || *inst.StateReason.Code != test.reason {
				t.Errorf("instance is %s: %+v, want it terminated for %s", inst.State.Name, inst.StateReason, test.reason)
			}

			in := &awsec2.CreateVolumeInput{
				AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1), Encrypted: aws.Bool(true), KmsKeyId: aws.String(test.key),
				ClientToken: aws.String(name),
			}
			vol := must(c.CreateVolume(t.Context(), in))(t)
			_, err := c.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{VolumeIds: []string{*vol.VolumeId}})
			if vol.State != "creating" || code(err) != "InvalidVolume.NotFound" {
				t.Errorf("volume is %s, then DescribeVolumes = %v, want creating, then InvalidVolume.NotFound", vol.State, err)
			}
			if _, err := c.CreateVolume(t.Context(), in); code(err) != "IdempotentParameterMismatch" {
				t.Errorf("CreateVolume with the same token = %v, want IdempotentParameterMismatch", err)
			}

			i, s := copies(t, c, ubuntu(t, c), name, aws.String(test.key))
			if i.State != "failed" || !strings.Contains(*i.StateReason.Message, test.text) {
				t.Errorf("image is %s: %+v, want failed with %q", i.State, i.StateReason, test.text)
			}
			if s.State != "error" || aws.ToString(s.StateMessage) != test.text || s.CompletionTime != nil {
				t.Errorf("snapshot is %s: %+v, want error with %q", s.State, s, test.text)
			}
			if of := snapshot(t, c, snapshotOf(i)); of.State != "error" {
				t.Errorf("the image's snapshot is %s, want error", of.State)
			}
			_, err = c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), SnapshotId: s.SnapshotId})
			if code(err) != "IncorrectState" {
				t.Errorf("CreateVolume from a failed snapshot = %v, want IncorrectState", err)
			}
			must(c.DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: i.ImageId, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
			must(c.DeleteSnapshot(t.Context(), &awsec2.DeleteSnapshotInput{SnapshotId: s.SnapshotId}))(t)
		})
	}
	for _, left := range srv.Leftovers() {
		t.Errorf("leftover: %v", left)
	}
}

// To copy or launch an encrypted image of another account, an account needs
// access to its key.
func TestKeyOfAnotherAccount(t *testing.T) {
	srv, c := start(t, nil)
	key := srv.AddKey(region, "alias/images")
	img := encrypted(t, c, "alias/images")
	shareWithSnapshot(t, c, img, otherAccount)
	there, west := client(srv.ConfigFor(otherAccount, region)), client(srv.ConfigFor(otherAccount, "us-west-2"))
	own := srv.AddKeyFor(otherAccount, "us-west-2", "alias/prod")

	if i, s := copies(t, west, img, "without", aws.String("alias/prod")); i.State != "failed" || s.State != "error" || *s.StateMessage != inaccessible {
		t.Errorf("copies without access to the key are %s and %s, want failed and error", i.State, s.State)
	}
	inst := describe(t, there, *run(t, there, *img.ImageId, nil).InstanceId)
	if inst.State.Name != "terminated" || *inst.StateReason.Code != "Client.InternalError" {
		t.Errorf("instance without access to the key is %s, want terminated", inst.State.Name)
	}

	if err := srv.ShareKey(key, otherAccount); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key  *string
		want string // part of the ARN
	}{
		"own":     {aws.String("alias/prod"), own},
		"default": {nil, "arn:aws:kms:us-west-2:" + otherAccount},
	} {
		if i, s := copies(t, west, img, name, test.key); i.State != "available" || s.State != "completed" || !strings.HasPrefix(*s.KmsKeyId, test.want) {
			t.Errorf("%s key: copies are %s and %s with key %s, want available and completed with %s", name, i.State, s.State, aws.ToString(s.KmsKeyId), test.want)
		}
	}
	if _, s := copies(t, there, img, "its", aws.String(key)); s.State != "completed" || *s.KmsKeyId != key {
		t.Errorf("copy with the shared key is %s with key %s, want completed with %s", s.State, aws.ToString(s.KmsKeyId), key)
	}
	if _, s := copies(t, there, img, "name", aws.String("alias/images")); s.State != "error" {
		t.Errorf("copy with the alias of another account's key is %s, want error", s.State)
	}
	inst = describe(t, there, *run(t, there, *img.ImageId, nil).InstanceId)
	vol := must(there.DescribeVolumes(t.Context(), nil))(t).Volumes[0]
	if inst.State.Name != "running" || !strings.Contains(*vol.KmsKeyId, otherAccount) {
		t.Errorf("instance is %s on a volume with key %s, want running with a key of %s", inst.State.Name, *vol.KmsKeyId, otherAccount)
	}
	if err := srv.ShareKey("arn:aws:kms:us-east-1:"+otherAccount+":alias/aws/ebs", account); err == nil {
		t.Error("ShareKey of AWS's key succeeded, want an error")
	}
}

func TestDefaultKey(t *testing.T) {
	srv, c := start(t, nil)
	key := srv.AddKey(region, "alias/images")
	set := func(name string) string {
		return *must(c.ModifyEbsDefaultKmsKeyId(t.Context(), &awsec2.ModifyEbsDefaultKmsKeyIdInput{KmsKeyId: aws.String(name)}))(t).KmsKeyId
	}
	managed := *must(c.GetEbsDefaultKmsKeyId(t.Context(), nil))(t).KmsKeyId
	if got := set("alias/images"); got != key {
		t.Errorf("ModifyEbsDefaultKmsKeyId = %s, want %s", got, key)
	}
	must(c.EnableEbsEncryptionByDefault(t.Context(), nil))(t)
	if _, s := copies(t, c, ubuntu(t, c), "plain", nil); aws.ToString(s.KmsKeyId) != key || s.State != "completed" {
		t.Errorf("copy is %s with key %s, want completed with %s", s.State, aws.ToString(s.KmsKeyId), key)
	}
	if err := srv.DisableKey(key); err != nil {
		t.Fatal(err)
	}
	if inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId); inst.State.Name != "terminated" {
		t.Errorf("instance with a disabled default key is %s, want terminated", inst.State.Name)
	}
	set("alias/none") // accepted, as by AWS
	if inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId); inst.State.Name != "terminated" {
		t.Errorf("instance with an unknown default key is %s, want terminated", inst.State.Name)
	}
	if got := *must(c.ResetEbsDefaultKmsKeyId(t.Context(), nil))(t).KmsKeyId; got != managed {
		t.Errorf("ResetEbsDefaultKmsKeyId = %s, want %s", got, managed)
	}
	if inst := describe(t, c, *run(t, c, *ubuntu(t, c).ImageId, nil).InstanceId); inst.State.Name != "running" {
		t.Errorf("instance with AWS's key is %s, want running", inst.State.Name)
	}
}

// Disabling a key affects the resources encrypted with it.
func TestDisabledKey(t *testing.T) {
	srv, c := start(t, nil)
	key := srv.AddKey(region, "alias/images")
	img := encrypted(t, c, key)
	inst := run(t, c, *img.ImageId, nil)
	ids := []string{*inst.InstanceId}
	must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: ids}))(t)
	if err := srv.DisableKey(key); err != nil {
		t.Fatal(err)
	}
	must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: ids}))(t)
	if got := describe(t, c, ids[0]); got.State.Name != "stopped" || *got.StateReason.Code != "Client.InvalidKMSKey.InvalidState" {
		t.Errorf("started instance is %s: %+v, want stopped for Client.InvalidKMSKey.InvalidState", got.State.Name, got.StateReason)
	}
	if got := describe(t, c, *run(t, c, *img.ImageId, nil).InstanceId); got.State.Name != "terminated" {
		t.Errorf("launched instance is %s, want terminated", got.State.Name)
	}
	if i, s := copies(t, c, img, "again", aws.String("alias/aws/ebs")); i.State != "failed" || s.State != "error" {
		t.Errorf("copies are %s and %s, want failed and error", i.State, s.State)
	}
	if err := srv.DisableKey("arn:aws:kms:us-east-1:" + account + ":key/none"); err == nil {
		t.Error("DisableKey of an unknown key succeeded, want an error")
	}
}

func TestCopyOfEncryptedImage(t *testing.T) {
	srv, c := start(t, nil)
	img := encrypted(t, c, srv.AddKey(region, "alias/images"))
	_, err := c.CopyImage(t.Context(), &awsec2.CopyImageInput{
		Name: aws.String("plain"), SourceImageId: img.ImageId, SourceRegion: aws.String(region), Encrypted: aws.Bool(false),
	})
	if code(err) != "InvalidRequest" {
		t.Errorf("CopyImage without encryption = %v, want InvalidRequest", err)
	}
	_, err = c.CopySnapshot(t.Context(), &awsec2.CopySnapshotInput{SourceSnapshotId: snapshotOf(img), SourceRegion: aws.String(region), Encrypted: aws.Bool(false)})
	if code(err) != "InvalidRequest" {
		t.Errorf("CopySnapshot without encryption = %v, want InvalidRequest", err)
	}
	_, err = c.CopySnapshot(t.Context(), &awsec2.CopySnapshotInput{
		SourceSnapshotId: snapshotOf(ubuntu(t, c)), SourceRegion: aws.String(region), KmsKeyId: aws.String("alias/images"),
	})
	if code(err) != "InvalidParameterDependency" {
		t.Errorf("CopySnapshot with a key but without encryption = %v, want InvalidParameterDependency", err)
	}
}

// A copy fails only when it would have completed.
func TestFailedCopyLatency(t *testing.T) {
	clock := clock.NewVirtual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	srv, c := start(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Image: time.Minute, Snapshot: time.Minute}})
	other, _ := copies(t, c, ubuntu(t, c), "other", nil)
	if err := srv.FailImage(*other.ImageId, "no reason"); err != nil {
		t.Fatal(err)
	}
	if got := image(t, c, *other.ImageId); got.State != "failed" || *got.StateReason.Message != "no reason" {
		t.Errorf("image after FailImage is %s, want failed for no reason", got.State)
	}
	i, s := copies(t, c, ubuntu(t, c), "copy", aws.String("alias/none"))
	if i.State != "pending" || i.StateReason != nil || s.State != "pending" || s.StateMessage != nil {
		t.Errorf("new copies are %s and %s, want pending", i.State, s.State)
	}
	clock.Advance(time.Hour)
	if i, s := image(t, c, *i.ImageId), snapshot(t, c, s.SnapshotId); i.State != "failed" || s.State != "error" {
		t.Errorf("copies after an hour are %s and %s, want failed and error", i.State, s.State)
	}
	ends := map[string]string{}
	for _, change := range srv.Changes() {
		ends[change.ID] = change.State
	}
	if ends[*i.ImageId] != "failed" || ends[*other.ImageId] != "failed" || ends[*s.SnapshotId] != "error" {
		t.Errorf("last states in Changes = %v, want failed images and a snapshot with an error", ends)
	}
}

// DescribeKey describes a key only to accounts with access to it.
func TestDescribeKey(t *testing.T) {
	srv, _ := start(t, nil)
	mine, theirs := srv.AddKey(region, "alias/images"), srv.AddKeyFor(otherAccount, region, "alias/prod")
	keys := kms.NewFromConfig(srv.Config(region))
	describeKey := func(name string) (state, failure string) {
		out, err := keys.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String(name)})
		if err != nil {
			return "", code(err)
		}
		return string(out.KeyMetadata.KeyState), ""
	}
	for _, test := range []struct{ name, state, code string }{
		{"alias/images", "Enabled", ""}, {mine, "Enabled", ""}, {"alias/aws/ebs", "Enabled", ""},
		{"alias/none", "", "NotFoundException"}, {"alias/prod", "", "NotFoundException"},
		{strings.Replace(mine, region, "us-west-2", 1), "", "NotFoundException"},
		{"arn:aws:kms:" + region + ":" + account + ":key/none", "", "NotFoundException"},
		{theirs, "", "AccessDeniedException"},
	} {
		if state, code := describeKey(test.name); state != test.state || code != test.code {
			t.Errorf("DescribeKey(%s) = %q, error code %q, want %q, %q", test.name, state, code, test.state, test.code)
		}
	}
	if err := errors.Join(srv.ShareKey(theirs, account), srv.DisableKey(mine)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{theirs: "Enabled", mine: "Disabled"} {
		if state, code := describeKey(name); state != want {
			t.Errorf("DescribeKey(%s) = %q, error code %q, want %s", name, state, code, want)
		}
	}
}
